"""The extraction of one shard, as a job for any executor."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reeldex.extractors.file_hashes import FileIdentity, known_hashes, remember_hashes
from reeldex.flows.config.pipeline import PipelineConfig

if TYPE_CHECKING:
    from reeldex.flows.execution.jobs import OnEvent
    from reeldex.storage.inspection import Inspection
    from reeldex.storage.store import FeatureStore


@dataclass(frozen=True)
class ShardJob:
    """A shard to process, with its feature spaces and settings.

    - `videos` is the number of videos of the shard.
    - `retry`: videos that failed for one of these reasons are retried; `redo`: those at these positions are extracted
      in any case.
    - `inspection` is what the plan saw of the shard on disk; None if it saw nothing.
    - `file_hashes` are known hashes of weights files, so that a worker does not compute them again.
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

    @property
    def number(self) -> int:
        """The shard's number."""
        return self.shard

    def __call__(self, device: str, on_event: OnEvent) -> dict[str, Any]:
        """Extract the shard's missing features on a device; return the fields of its ShardReport as JSON values."""
        from reeldex.flows.extraction.networks import extractor_record, feature_space, load_networks
        from reeldex.flows.extraction.shard_work import run_shard
        from reeldex.flows.extraction.store_faults import require_space, store_faults

        remember_hashes(self.file_hashes)
        compute = self.config.compute.model_copy(update={"device": device})
        for space in self.spaces:
            extractor_record(space)
        store = _store(self.store)
        with store_faults(store.path):
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
