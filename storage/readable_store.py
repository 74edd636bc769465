"""What a store holds, and its rows: by video and span, checked, in batches or mapped. Needs no lock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reeldex.storage import layout
from reeldex.storage.batch_reading import read_batch
from reeldex.storage.catalog import VIDEOS_KEPT, Catalog
from reeldex.storage.errors import StoreDamagedError, StoreError, UnknownSpaceError, UnknownVideoError
from reeldex.storage.fingerprints import published_space, recorded_space
from reeldex.storage.forgotten import Forgotten
from reeldex.storage.manifest import ShardManifest
from reeldex.storage.outcomes import ShardOutcomes
from reeldex.storage.reading import OpenShards, span_rows
from reeldex.storage.schema import JSON, FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.shard import RowTiming
from reeldex.storage.shard_summary import Summaries
from reeldex.storage.similar_names import nearest, nearest_of
from reeldex.storage.video_table import VideoTable, list_videos


class ReadableStore:
    """The part of `FeatureStore` that reads: videos, outcomes, feature spaces, rows."""

    def __init__(self, path: Path, videos_kept: int = VIDEOS_KEPT) -> None:
        self.path = path
        self._catalog = Catalog(path, videos_kept)
        self._open_shards = OpenShards()

    def __repr__(self) -> str:
        try:
            videos, shards = self._catalog.video_count(), self._catalog.shard_count()
            held = f"videos={videos}, shards={shards}, spaces={self.spaces()}"
        except StoreError as error:
            held = f"{type(error).__name__}: {error}"
        return f"FeatureStore({str(self.path)!r}, {held})"

    def close(self) -> None:
        """Close the feature files that are kept open; they are reopened when needed."""
        self._open_shards.close()

    def shard_count(self) -> int:
        """Return the number of shards."""
        return self._catalog.shard_count()

    def video_count(self) -> int:
        """Return the number of videos, each counted once whatever its versions; without forgotten ones."""
        return self._catalog.video_count()

    def manifest(self, shard: int) -> ShardManifest:
        """Return the manifest of one shard; raises ValueError when there is no such shard."""
        return self._catalog.manifest(shard)

    def planned_spaces(self, shard: int) -> tuple[str, ...]:
        """Return the feature spaces of a shard's manifest."""
        return self._catalog.index().shards[shard].spaces

    def manifests(self) -> tuple[ShardManifest, ...]:
        """Return the manifests of all shards in order. Of a million videos, this takes seconds, and memory."""
        return self._catalog.manifests()

    def manifests_with(self, ids: Iterable[str] = (), paths: Iterable[str] = ()) -> list[ShardManifest]:
        """Return the manifests of all shards with an entry of one of these ids or paths, in order.

        Maybe those of a few others, too. For a few videos of many, this is faster than `manifests`.
        """
        return self._catalog.manifests_with(ids, paths)

    def walk(self) -> Iterator[tuple[ShardManifest, ShardOutcomes | None]]:
        """Yield the manifest of each shard in order, and its outcomes, None if it has none yet.

        Keeps one shard in memory at a time, so that a store may have any size.
        """
        return self._catalog.walk()

    def forgotten(self) -> Forgotten:
        """Return the entries of manifests that no longer count."""
        return self._catalog.forgotten()

    def uncounted(self, shard: int) -> frozenset[int]:
        """Return the positions of a shard whose videos do not count: superseded and forgotten ones."""
        return self._catalog.uncounted(shard)

    def current_entries(self) -> list[VideoEntry]:
        """Return the latest entry of every video, and duplicates; without superseded and forgotten ones."""
        found = []
        for manifest in self.manifests():
            uncounted = self.uncounted(manifest.shard)
            found += [entry for position, entry in enumerate(manifest.videos) if position not in uncounted]
        return found

    def spaces(self) -> list[str]:
        """Return the names of the spaces with published features, sorted."""
        held: set[str] = set()
        summaries = Summaries(self._catalog)
        for shard in range(self.shard_count()):
            summary = summaries.files_of(shard)
            held.update(summary.files if summary else ())
        summaries.keep()
        return sorted(held)

    def fingerprint(self, space: str) -> dict[str, JSON]:
        """Return a space with its settings; raises UnknownSpaceError, StoreDamagedError if no file of it is intact."""
        found = published_space(self.path, space)
        if found is None and space in self.spaces():
            raise StoreDamagedError(
                f"All files of the feature space {space} of {self.path} are missing or damaged. Run `reeldex verify`, "
                "then `reeldex rerun` to extract them again, or restore them from a backup."
            )
        if found is None:
            raise self._unknown_space(space)
        return dict(found[1].fingerprint)

    def recorded_space(self, space: str) -> FeatureSpace | None:
        """Return a space with the settings of its published or staged features; None if it has none yet."""
        return recorded_space(self.path, space)

    def ids(self, space: str | None = None) -> list[str]:
        """Return the ids with features in this space, or in any; raises UnknownSpaceError."""
        self._require_spaces([] if space is None else [space])
        return [video_id for video_id, rows in self._rows_of_ids() if (rows if space is None else space in rows)]

    def ids_with(self, spaces: Collection[str]) -> Iterator[str]:
        """Return the ids with features in all of these spaces, in the order of `ids`, read one shard after the other.

        Raises UnknownSpaceError.
        """
        self._require_spaces(spaces)
        return (video_id for video_id, rows in self._rows_of_ids() if all(space in rows for space in spaces))

    def _rows_of_ids(self) -> Iterator[tuple[str, Mapping[str, int]]]:
        """Yield each id, in the order in which they first came, and the row counts of its latest version by space."""
        replaced: set[str] = set()
        for shard in range(self.shard_count()):
            uncounted, forgotten = self.uncounted(shard), self.forgotten().positions
            outcomes = self._catalog.outcomes(shard)
            for position, entry in enumerate(self.manifest(shard).videos):
                if entry.duplicate_of is not None or (shard, position) in forgotten or entry.video_id in replaced:
                    continue
                if position in uncounted:
                    replaced.add(entry.video_id)
                    outcome = self.outcome(entry.video_id)
                else:
                    outcome = outcomes.videos[position] if outcomes else None
                yield entry.video_id, outcome.rows if outcome else {}

    def __contains__(self, video_id: object) -> bool:
        outcome = self.outcome(video_id) if isinstance(video_id, str) else None
        return bool(outcome and outcome.rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids())

    def __len__(self) -> int:
        return len(self.ids())

    def videos(self) -> VideoTable:
        """Return all videos with path, duration, rows and outcome, also those without features; prints as a table."""
        return list_videos(self._catalog)

    def outcomes(self, shard: int) -> ShardOutcomes | None:
        """Return the outcomes of a shard's videos, or None while it is unfinished."""
        return self._catalog.outcomes(shard)

    def entry(self, video_id: str) -> VideoEntry | None:
        """Return the latest entry of a video: path, size and modification time; None when it is unknown."""
        found = self._catalog.find(video_id)
        return found[3] if found else None

    def place(self, video_id: str) -> tuple[int, int] | None:
        """Return the shard of a video's latest version and its position there; None when it is unknown."""
        found = self._catalog.find(video_id)
        return found[1:3] if found else None

    def outcome(self, video_id: str) -> VideoOutcome | None:
        """Return the outcome of the latest version of a video; None when it is unknown or not extracted yet."""
        found = self._catalog.find(video_id)
        if found is None:
            return None
        outcomes = self._catalog.outcomes(found[1])
        return outcomes.videos[found[2]] if outcomes else None

    def read(self, space: str, video_id: str) -> npt.NDArray[np.float16]:
        """Return all rows of a video as (R, D) float16; raises as `rows` does."""
        return self.rows(space, video_id).rows

    def rows(self, space: str, video_id: str) -> FeatureRows:
        """Return all rows of a video with their times, checked against their SHA-256.

        Raises UnknownSpaceError, and UnknownVideoError when the video is unknown, failed or not extracted
        yet.
        """
        path, stored_id = self._find(space, video_id)
        with self._open_shards.reader(path) as reader:
            return reader.read(stored_id)

    def read_span(self, space: str, video_id: str, start_seconds: float, end_seconds: float) -> npt.NDArray[np.float16]:
        """Return rows int(s * r) up to and including int(e * r) as (n, D) float16, r being the rows per second.

        Reads only those rows, unchecked. Clipped at the end of the video; n is 0 for a span beyond it. Raises
        ValueError for a negative, inverted or non-finite span, otherwise as `rows` does.
        """
        path, stored_id = self._find(space, video_id)
        with self._open_shards.reader(path) as reader:
            first, stop = span_rows(reader.timing(stored_id), start_seconds, end_seconds)
            return reader.read_rows(stored_id, first, stop)

    def read_many(
        self, space: str, video_ids: Sequence[str], spans: Sequence[tuple[float, float]] | None = None
    ) -> list[npt.NDArray[np.float16]]:
        """Return the rows of many videos as (R, D) float16 each, in the order given, opening each file once.

        With `spans`, (start, end) in seconds per video, only those rows, as `read_span` does. For training: call it in
        the `__getitems__` of a PyTorch data set. Raises as `read` and `read_span` do.
        """
        return read_batch(self._open_shards, lambda video_id: self._find(space, video_id), video_ids, spans)

    def rows_sha256(self, space: str, video_id: str) -> str:
        """Return the recorded SHA-256 of a video's rows (`hashing.rows_sha256`); raises as `rows` does."""
        path, stored_id = self._find(space, video_id)
        shard = layout.parse_shard_stem(path.stem)
        outcomes = self._catalog.outcomes(shard) if shard is not None else None
        if outcomes is None:
            raise self._unknown_space(space)
        return outcomes.files[space].extents[stored_id].sha256

    def provenance(self, space: str, video_id: str) -> dict[str, JSON]:
        """Return how a video's features were made, as far as it does not define them; raises as `rows` does."""
        with self._open_shards.reader(self.feature_file(space, video_id)) as reader:
            return dict(reader.provenance)

    def damaged_rows(self, space: str, video_id: str) -> tuple[tuple[int, int], ...] | None:
        """Return the ranges (first, stop) of a video's rows that may show damaged pictures, in order.

        Empty if there are none, None when unknown: the decoder reported errors that no row can be assigned to, or the
        features were imported or extracted before this was recorded. Raises as `rows` does.
        """
        path, stored_id = self._find(space, video_id)
        with self._open_shards.reader(path) as reader:
            return reader.damaged_rows(stored_id)

    def map_rows(self, space: str, video_id: str) -> tuple[RowTiming, npt.NDArray[np.float16]]:
        """Return the row times of a video and its rows as a read-only memory-mapped (R, D) float16 array.

        Pages are read when they are used, without a check. Raises as `rows` does.
        """
        path, stored_id = self._find(space, video_id)
        with self._open_shards.reader(path) as reader:
            return reader.map_rows(stored_id)

    def feature_file(self, space: str, video_id: str) -> Path:
        """Return the file with a video's features in a space; raises as `rows` does."""
        return self._find(space, video_id)[0]

    def _find(self, space: str, video_id: str) -> tuple[Path, str]:
        """Return the file with a video's rows, and the id under which it holds them."""
        found = self._catalog.find(video_id)
        if found is None:
            if space not in self.spaces():
                raise self._unknown_space(space)
            near = nearest_of(video_id, self.video_count(), self._catalog.latest)
            raise UnknownVideoError(
                f"{self.path} has no video {video_id!r}.{near} `reeldex status` shows what the store holds."
            )
        stored_id, shard, position, _ = found
        outcomes = self._catalog.outcomes(shard)
        outcome = outcomes.videos[position] if outcomes else None
        if outcome and space in outcome.rows:
            return layout.features_file(self.path, space, shard), stored_id
        if space not in self.spaces():
            raise self._unknown_space(space)
        if outcome is None or outcome.status == "ok":
            raise UnknownVideoError(
                f"The video {video_id!r} is planned but not extracted in {space} yet. Run `reeldex rerun {self.path}`."
            )
        raise UnknownVideoError(
            f"The video {video_id!r} has no features in {space}: its extraction failed as {outcome.reason} "
            f"({outcome.message}). `reeldex rerun {self.path} --failed-videos` tries it again."
        )

    def _require_spaces(self, spaces: Collection[str]) -> None:
        held = self.spaces() if spaces else []
        for space in spaces:
            if space not in held:
                raise self._unknown_space(space)

    def _unknown_space(self, space: str) -> UnknownSpaceError:
        held = self.spaces()
        return UnknownSpaceError(
            f"{self.path} has no feature space {space!r}.{nearest(space, held)} It has: "
            f"{', '.join(held) or 'none yet'}."
        )
