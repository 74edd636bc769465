"""All checks and the plan of a run, once and in order. No network is loaded."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reeldex.errors import UsageError
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.extraction import sources
from reeldex.flows.extraction.choice import NOTHING_CHOSEN, Choice, chosen
from reeldex.flows.extraction.decoding import require_planned_decoding, with_recorded_decoding
from reeldex.flows.extraction.known_stores import remember_store, require_not_vanished
from reeldex.flows.extraction.networks import requested_spaces
from reeldex.flows.extraction.plan import ShardTask, plan, published_spaces, tasks_for, unfinished
from reeldex.flows.extraction.requirements import (
    require_device,
    require_engine,
    require_fitting_store,
    warn_of_another_ffmpeg,
    weights_hashes,
)
from reeldex.flows.extraction.run_report import RunReport, count_found, present_outcomes, sum_up
from reeldex.flows.extraction.search_record import log_notes, record_search, source_key
from reeldex.flows.extraction.video_ids import known_ids
from reeldex.flows.fetching.services import Services
from reeldex.storage.location import store_path
from reeldex.storage.removed import read_removed
from reeldex.storage.store import FeatureStore

if TYPE_CHECKING:
    from reeldex.extractors.options import DecodeOptions
    from reeldex.flows.extraction.sources import FoundVideos
    from reeldex.storage.growth import Growth
    from reeldex.storage.manifest import ShardManifest
    from reeldex.storage.schema import VideoEntry

log = logging.getLogger(__name__)

_STAMPED = ("manifest", "outcomes", "staging", "features", "damage")


@dataclass(frozen=True)
class PreparedRun:
    """A run that is ready to start: the videos of its source, the incomplete shards of its store, and its settings.

    - `source` are the sources as they were given; none for a rerun.
    - `found` and `growth` are the videos of the source and what they add to the store; None for a rerun.
    - `tasks` are the store's incomplete shards; the shards of `growth` are additional.
    - `choice` is what a rerun extracts again, complete or not; empty for all incomplete shards.
    - `stamp` is compared to detect later changes of the store.
    - `source_key` names the source in the store's record of searches; None for a rerun or a single video.
    """

    source: tuple[str, ...]
    store_folder: Path
    config: PipelineConfig
    spaces: tuple[str, ...]
    found: FoundVideos | None
    growth: Growth | None
    tasks: tuple[ShardTask, ...]
    retry: tuple[str, ...]
    stamp: tuple[object, ...]
    source_key: str | None = None
    choice: Choice = NOTHING_CHOSEN

    @cached_property
    def store(self) -> FeatureStore:
        """The store, created if it does not exist."""
        return FeatureStore(self.store_folder, create=self.found is not None)

    def answers(
        self,
        source: Sequence[str],
        store: str,
        config: PipelineConfig,
        retry: Sequence[str],
        choice: Choice = NOTHING_CHOSEN,
    ) -> bool:
        """Whether preparing a run with these arguments would return this one, unless files have changed since."""
        # A rerun extracts what the shards were planned for.
        used = (*(("extract",) if source else ()), "decode", "compute", "fetch", "execution", "weights")
        given = (tuple(source), store_path(store), tuple(retry), choice)
        return (self.source, self.store_folder, self.retry, self.choice) == given and all(
            getattr(self.config, name) == getattr(config, name) for name in used
        )

    def task_of(self, manifest: ShardManifest) -> ShardTask:
        """Return the task of a shard that is not one of `tasks`, such as one that an earlier attempt completed."""
        if self.found is not None:
            return ShardTask(manifest.shard, len(manifest.videos), self.spaces, self.retry)
        spaces = read_removed(self.store.path).wanted(
            manifest.shard, manifest.spaces, published_spaces(self.store, manifest.shard)
        )
        task = ShardTask(manifest.shard, len(manifest.videos), spaces, self.retry)
        return with_recorded_decoding(self.store, [task], self.config.decode)[0]

    @property
    def new_tasks(self) -> tuple[ShardTask, ...]:
        """The shards of the source's new and changed videos."""
        new = self.growth.new_shards if self.growth is not None else ()
        return tuple(ShardTask(each.shard, len(each.videos), self.spaces) for each in new)

    @property
    def all_tasks(self) -> tuple[ShardTask, ...]:
        """All shards to process."""
        return self.tasks + self.new_tasks

    @property
    def videos(self) -> list[VideoEntry] | None:
        """The videos of the run; None for all videos of the store."""
        return self.found.videos if self.found is not None else None

    @property
    def found_counts(self) -> dict[str, Any]:
        """The fields of RunReport that say what the source holds, as JSON values."""
        return count_found(self.growth, self.found) if self.growth is not None and self.found is not None else {}

    def report_if_nothing_to_do(self) -> RunReport | None:
        """Return the report of a run that has nothing to do; None if there is work."""
        if self.all_tasks:
            return None
        self._record_search(needs_lock=True)
        return sum_up(self.store, [], {}, present_outcomes(self.store, self.videos), self.found_counts)

    def renewed(self) -> PreparedRun:
        """Return this run, planned again if another run has changed the store since. Requires the lock of planning."""
        if _stamp(self.store_folder) == self.stamp:
            return self
        if self.found is None:
            return replace(
                self,
                stamp=_stamp(self.store_folder),
                tasks=_tasks_of_rerun(self.store, self.retry, self.choice, self.config.decode),
            )
        growth, tasks, stamp = _planned(self.store, self.found, self.spaces, self.config, Services(self.config.fetch))
        return replace(self, growth=growth, tasks=tasks, stamp=stamp)

    def file_new_shards(self) -> None:
        """Write the manifests of the new shards. Requires the lock of planning."""
        if self.growth is not None:
            # First: a store that has manifests without this record counts as one of an older release.
            self._record_search()
            self.store.add_shards(self.growth.new_shards)

    def _record_search(self, *, needs_lock: bool = False) -> None:
        if self.found is not None:
            record_search(self.store, self.source_key, self.found, needs_lock=needs_lock)


def prepare(
    source: str | Sequence[str],
    store: str,
    config: PipelineConfig,
    *,
    only_estimate: bool = False,
    retried: bool = False,
) -> PreparedRun:
    """Return the run that extracts the features of `source`, one or several, missing in `store`.

    Checks, in this order: the source, the store, the extractors' names, the engine, the weights, the device, and that
    the store's features were made with the same settings. The store is created if absent. Weights may be missing if
    there is nothing to do. With `only_estimate`, weights and the engine may always be missing, and nothing is created.
    `retried` runs have had their store before.

    Raises UsageError, WeightsError, DeviceError, FingerprintError, StoreError, or StoreVanishedError, and
    InfrastructureError for a service of videos at URLs that does not work.
    """
    folder = store_path(store)
    if not config.extract.new_store:
        require_not_vanished(folder, expected=retried)

    @functools.cache
    def existing() -> FeatureStore | None:
        return FeatureStore(store, create=True) if folder.is_dir() and any(folder.iterdir()) else None

    services = Services(config.fetch)
    found = sources.find_videos(
        source,
        config.extract,
        lambda files: known_ids(existing(), files),
        services,
        ask_about_new=not only_estimate,
    )
    rule = config.extract.video_id
    log_notes(found.notes, rule, known_ids(existing(), ()).rule(rule))
    spaces = requested_spaces(config)
    growth, tasks, stamp = _planned(existing(), found, spaces, config, services)
    key = source_key(source, config.extract)
    prepared = PreparedRun(_as_tuple(source), folder, config, spaces, found, growth, tasks, (), stamp, key)
    if only_estimate:
        return prepared
    if prepared.all_tasks and (present := existing()) is not None:
        present.require_writable()
    if prepared.all_tasks:
        require_engine(config)
    hashes = weights_hashes(spaces, config) if prepared.all_tasks else {}
    require_device(config, ask_worker=bool(prepared.all_tasks))
    # The stamp of an absent store stays empty: another run may have created and filled it since the plan was made.
    require_fitting_store(prepared.store, config, spaces, hashes)
    remember_store(folder)
    if prepared.all_tasks:
        warn_of_another_ffmpeg(prepared.store)
    return prepared


def _as_tuple(source: str | Sequence[str]) -> tuple[str, ...]:
    return (source,) if isinstance(source, str) else tuple(source)


def prepare_rerun(
    store: str, config: PipelineConfig, retry: Sequence[str], choice: Choice = NOTHING_CHOSEN
) -> PreparedRun:
    """Return the run that completes `store` and retries videos that failed for a reason in `retry`.

    With a `choice` of shards and videos, it extracts these again instead, complete or not. Raises as `prepare` does,
    StoreError for a folder that is not a store, and UsageError for features that no registered extractor makes and for
    shards and videos that the store does not have.
    """
    if choice and retry:
        raise UsageError(
            "Chosen shards and videos are extracted again whatever their outcome: leave out the option to retry failed "
            "videos (--failed-videos), or the shards and videos."
        )
    folder = store_path(store)
    require_not_vanished(folder, expected=True)
    feature_store = FeatureStore(store)
    stamp = _stamp(folder)
    tasks = _tasks_of_rerun(feature_store, retry, choice, config.decode)
    spaces = tuple(sorted({name for task in tasks for name in task.spaces}))
    if tasks:
        feature_store.require_writable()
        require_engine(config)
        hashes = weights_hashes(spaces, config)
        require_device(config)
        # What was decoded how has been compared shard by shard.
        require_fitting_store(feature_store, config, spaces, hashes, decode=False)
        warn_of_another_ffmpeg(feature_store)
    return PreparedRun((), folder, config, spaces, None, None, tasks, tuple(retry), stamp, choice=choice)


def _tasks_of_rerun(
    store: FeatureStore, retry: Sequence[str], choice: Choice, decode: DecodeOptions
) -> tuple[ShardTask, ...]:
    return with_recorded_decoding(store, chosen(store, choice) if choice else unfinished(store, retry), decode)


def _planned(
    store: FeatureStore | None, found: FoundVideos, spaces: Sequence[str], config: PipelineConfig, services: Services
) -> tuple[Growth, tuple[ShardTask, ...], tuple[object, ...]]:
    """Return what the videos add to a store (None: an empty one), its incomplete shards, and its stamp."""
    stamp = _stamp(store.path) if store is not None else ()
    growth = plan(
        store,
        found.videos,
        spaces,
        config.extract.shard_videos,
        config.decode,
        settling=[entry.video_id for entry in found.unsettled],
        exists=lambda path: sources.exists(path, services),
    )
    tasks = tuple(tasks_for(store, found.videos, spaces)) if store is not None else ()
    if store is not None:
        require_planned_decoding(store, tasks, config.decode)
    return growth, tasks, stamp


def _stamp(store: Path) -> tuple[object, ...]:
    """Return a value that changes whenever a run publishes to a store: entries and times of its folders."""
    folders = [store / name for name in _STAMPED]
    folders += sorted((store / "features").iterdir()) if (store / "features").is_dir() else []
    return tuple(
        (folder.name, folder.stat().st_mtime_ns, len(list(folder.iterdir()))) for folder in folders if folder.is_dir()
    )
