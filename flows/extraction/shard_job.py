"""The extraction of one shard, as a job for any executor."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reeldex.extractors.file_hashes import FileIdentity, known_hashes, remember_hashes
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.execution.jobs import NOTHING_DONE
from reeldex.flows.extraction.store_use import current_run
from reeldex.storage import layout
from reeldex.storage.errors import ClaimHeldError, ClaimLostError
from reeldex.storage.system_errors import look_at

if TYPE_CHECKING:
    from reeldex.flows.execution.jobs import OnEvent
    from reeldex.storage.claims import RunId
    from reeldex.storage.inspection import Inspection
    from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)

_CLAIMED_BY, _COMPLETED = "claimed_by", "completed_since_plan"


def was_completed(result: object) -> bool:
    """Whether the result of a job is that nothing was left to do in its shard when it started."""
    return isinstance(result, dict) and _COMPLETED in result


@dataclass(frozen=True)
class ShardJob:
    """A shard to process, with its feature spaces and settings.

    - `videos` is the number of videos of the shard.
    - `retry`: videos that failed for one of these reasons are retried; `redo`: those at these positions are extracted
      in any case.
    - `inspection` is what the plan saw of the shard on disk; None if it saw nothing.
    - `complete`: the plan found nothing missing. Then an earlier attempt of the run has a result for it, or others have
      completed it, or it has videos to `redo`.
    - `file_hashes` are known hashes of weights files, so that a worker does not compute them again.
    - `seen` is a video that the machine of the run sees, for a job that another machine does (empty if it sees none);
      None for a job of that machine.
    - `run` is the run that claims the shard; None outside of one.
    """

    store: str
    shard: int
    spaces: tuple[str, ...]
    config: PipelineConfig
    retry: tuple[str, ...] = ()
    videos: int = 0
    inspection: Inspection | None = None
    redo: tuple[int, ...] = ()
    file_hashes: Mapping[FileIdentity, str] = field(default_factory=known_hashes)
    seen: str | None = None
    run: RunId | None = field(default_factory=current_run)
    complete: bool = False

    @property
    def number(self) -> int:
        """The shard's number."""
        return self.shard

    def for_another_machine(self) -> ShardJob:
        """Return the job for a machine that numbers files otherwise, and may not see the same ones."""
        from reeldex.flows.extraction.same_files import absolute, video_seen_here

        weights = self.config.weights
        files = {name: Path(absolute(file)) for name, file in weights.files.items()}
        folder = None if weights.folder is None else Path(absolute(weights.folder))
        cache = None if self.config.fetch.cache_folder is None else Path(absolute(self.config.fetch.cache_folder))
        here = {
            "weights": weights.model_copy(update={"files": files, "folder": folder}),
            "fetch": self.config.fetch.model_copy(update={"cache_folder": cache}),
        }
        config, store = self.config.model_copy(update=here), absolute(self.store)
        seen = video_seen_here(_store(store), self.shard)
        return replace(self, store=store, config=config, file_hashes={}, seen=seen)

    def __call__(self, device: str, on_event: OnEvent) -> dict[str, Any]:
        """Extract the shard's missing features on a device; return the fields of its ShardReport as JSON values.

        The shard is claimed before anything expensive is done. If another process has the claim, or takes it over,
        nothing is changed, and the result says who (`claimed_by`) and that nothing was done (see `did_nothing`); and so
        if the shard was completed while this job waited for its device (see `was_completed`).
        """
        from reeldex.flows.extraction.networks import extractor_record
        from reeldex.flows.extraction.same_files import require_same_files, require_store_folder
        from reeldex.flows.extraction.store_faults import store_faults

        remember_hashes(self.file_hashes)
        for space in self.spaces:
            extractor_record(space)
        if self.seen is not None:
            require_store_folder(self.store)
        store = _store(self.store)
        if self.seen is not None:
            require_same_files(store, self.shard, self.videos, self.seen)
        lease_seconds = self.config.compute.lease_seconds
        try:
            with store_faults(store.path), store.claim(self.shard, run=self.run, lease_seconds=lease_seconds):
                if self._is_completed(store):
                    log.info("Shard %05d was completed since the plan was made", self.shard)
                    return {"shard": self.shard, _COMPLETED: True, NOTHING_DONE: True}
                return self._extract(store, device, on_event)
        except (ClaimHeldError, ClaimLostError) as error:
            log.info("%s", error)
            return {"shard": self.shard, _CLAIMED_BY: str(error), NOTHING_DONE: True}

    def _is_completed(self, store: FeatureStore) -> bool:
        """Whether nothing is left to do in a shard that is not to be extracted again. Requires its claim.

        The plan found something to do, or an earlier attempt of the run did, which left no result: so others have done
        it since.
        """
        from reeldex.flows.extraction.plan import stored_spaces

        if self.redo or look_at(layout.outcomes_file(store.path, self.shard)) is None:
            return False
        inspection = store.inspect(self.shard, stored_spaces(store, self.spaces), self.inspection)
        state = inspection.state()
        return state.done and not state.staged_positions and not inspection.pending(self.retry)

    def _extract(self, store: FeatureStore, device: str, on_event: OnEvent) -> dict[str, Any]:
        from reeldex.flows.extraction.networks import feature_space, load_networks
        from reeldex.flows.extraction.shard_work import run_shard
        from reeldex.flows.extraction.store_faults import require_space

        compute = self.config.compute.model_copy(update={"device": device})
        # Before anything expensive.
        require_space(store.path, store.staging(self.shard), self.videos)
        networks = load_networks(self.spaces, self.config.model_copy(update={"compute": compute}))
        decode = self.config.decode
        store.require_fingerprint(*(feature_space(network, decode) for network in networks))
        return run_shard(
            store,
            networks,
            shard=self.shard,
            compute=compute,
            decode=decode,
            fetch=self.config.fetch,
            on_event=on_event,
            retry=self.retry,
            redo=self.redo,
            known=self.inspection,
        ).to_json()


@functools.lru_cache(maxsize=1)
def _store(path: str) -> FeatureStore:
    """Return a store, cached between shards: it keeps what it has read, and detects changes."""
    from reeldex.storage.store import FeatureStore

    return FeatureStore(path)
