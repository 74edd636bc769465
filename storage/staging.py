"""Finished videos of an unfinished shard, one file each: a killed run loses only the videos in progress."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import h5py

from reeldex.storage import layout
from reeldex.storage.atomic import publish, remove_file, remove_folder
from reeldex.storage.errors import FingerprintError, StoreDamagedError
from reeldex.storage.hdf5 import H5PY_ERRORS, create, open_to_read, raise_system_error
from reeldex.storage.json_codec import from_json, to_json
from reeldex.storage.manifest import ShardManifest
from reeldex.storage.presence import require_present
from reeldex.storage.row_datasets import read_rows, write_rows
from reeldex.storage.schema import FORMAT, FORMAT_VERSION, FeatureRows, FeatureSpace, VideoOutcome
from reeldex.storage.system_errors import list_folder, look_at

_REMEDY = "Run `reeldex rerun`, which extracts this video again."


class Staging:
    """The staged videos of one shard, by their positions in its manifest.

    Reading raises KeyError for a position that is not staged, StoreDamagedError for a staged file that is not what was
    written, and StoreUnreadableError where the system does not allow reading.
    """

    def __init__(self, store_root: Path, shard: int) -> None:
        self._root = store_root
        self._folder = layout.staging_folder(store_root, shard)

    def put(self, position: int, outcome: VideoOutcome, features: Mapping[FeatureSpace, FeatureRows]) -> None:
        """Stage one video, replacing what was staged for it.

        The outcome's `rows` must be empty or agree with `features`. Raises ValueError
        when they do not agree, and for an ok outcome without features; StoreVanishedError when the store is gone.
        """
        rows = {space.name: features[space].rows.shape[0] for space in features}
        if len(rows) != len(features):
            raise ValueError(f"The features of {outcome.video_id!r} contain one space twice: {sorted(rows)}.")
        if outcome.rows and dict(outcome.rows) != rows:
            raise ValueError(
                f"The outcome of {outcome.video_id!r} counts {dict(outcome.rows)}; given were {rows} rows."
            )
        if outcome.status == "ok" and not rows:
            raise ValueError(f"The outcome of {outcome.video_id!r} is ok, but no features were given.")
        outcome = replace(outcome, rows=rows)
        require_present(self._root)
        path = self._folder / layout.staged_name(position)
        with publish(path) as temporary, create(temporary) as file:
            file.attrs["format"] = FORMAT
            file.attrs["format_version"] = FORMAT_VERSION
            file.attrs["outcome"] = json.dumps(to_json(outcome))
            file.attrs["token"] = uuid.uuid4().hex
            spaces = file.create_group("spaces")
            for space, feature_rows in features.items():
                group = spaces.create_group(space.name)
                group.attrs["fingerprint"] = space.fingerprint_json()
                write_rows(group, "rows", feature_rows, position)

    def positions(self, *, without: Collection[str] = ()) -> tuple[int, ...]:
        """Return the positions with a staged video, in order, except those whose token is in `without`."""
        parsed = (layout.parse_staged_name(path.name) for path in list_folder(self._folder))
        found = sorted(position for position in parsed if position is not None)
        return tuple(at for at in found if not without or self.token(at) not in without)

    def outcome(self, position: int) -> VideoOutcome:
        """Read the outcome of a staged video."""
        with self._open(position) as file:
            try:
                return from_json(VideoOutcome, json.loads(file.attrs["outcome"]))
            except ValueError as error:
                raise StoreDamagedError(f"its outcome: {error}") from error

    def outcome_of(self, position: int, manifest: ShardManifest) -> VideoOutcome:
        """Return the outcome of a staged video; raises StoreDamagedError unless it is that video of the manifest."""
        outcome = self.outcome(position)
        if position >= len(manifest.videos) or manifest.videos[position].video_id != outcome.video_id:
            raise StoreDamagedError(
                f"{self._folder / layout.staged_name(position)} has {outcome.video_id!r} at a position where the "
                f"manifest has no such video. {_REMEDY}"
            )
        return outcome

    def discard_damaged(self, manifest: ShardManifest) -> list[str]:
        """Remove the staged videos that are not what was written; return what was wrong.

        Requires the shard's claim, or the store's lock. Reads all rows.
        """
        problems = []
        for position in self.positions():
            try:
                self.outcome_of(position, manifest)
                for space in self.spaces(position).values():
                    self.rows(position, space)
            except StoreDamagedError as error:
                problems.append(str(error))
                remove_file(self._folder / layout.staged_name(position))
        return problems

    def discard(self, positions: Collection[int]) -> None:
        """Remove the staged videos at these positions. Requires the store's lock."""
        for position in positions:
            remove_file(self._folder / layout.staged_name(position))

    def token(self, position: int) -> str:
        """Return the unique token of this staged file."""
        with self._open(position) as file:
            return str(file.attrs["token"])

    def spaces(self, position: int) -> dict[str, FeatureSpace]:
        """Return the spaces in which a staged video has features, by name."""
        with self._open(position) as file:
            spaces = file["spaces"]
            return {name: FeatureSpace(name, json.loads(spaces[name].attrs["fingerprint"])) for name in spaces}

    def rows(self, position: int, space: FeatureSpace) -> FeatureRows | None:
        """Return the features of a staged video in one space, None when it has none there.

        They are checked against their SHA-256. Raises FingerprintError when they were made with other
        settings.
        """
        with self._open(position) as file:
            if space.name not in file["spaces"]:
                return None
            group = file["spaces"][space.name]
            if group.attrs["fingerprint"] != space.fingerprint_json():
                staged = FeatureSpace(space.name, json.loads(group.attrs["fingerprint"]))
                raise fingerprint_error(self._folder / layout.staged_name(position), staged, space)
            return read_rows(group["rows"])

    def usage(self) -> tuple[int, int]:
        """Return the number of staged videos, and the size of their files in bytes."""
        sizes = [
            status.st_size
            for position in self.positions()
            if (status := look_at(self._folder / layout.staged_name(position))) is not None
        ]
        return len(sizes), sum(sizes)

    def row_bytes(self) -> int:
        """Return the size of all staged rows in bytes; damaged files count as empty."""
        total = 0
        for position in self.positions():
            with suppress(StoreDamagedError, KeyError), self._open(position) as file:
                total += sum(int(group["rows"].nbytes) for group in file["spaces"].values())
        return total

    def clear(self) -> None:
        """Remove everything that is staged for this shard."""
        remove_folder(self._folder)

    @contextmanager
    def _open(self, position: int) -> Iterator[h5py.File]:
        path = self._folder / layout.staged_name(position)
        if look_at(path) is None:
            raise KeyError(f"Nothing is staged at {path}.")
        try:
            with open_to_read(path) as file:
                _check_format(file)
                yield file
        except (StoreDamagedError, *H5PY_ERRORS) as error:
            if not isinstance(error, StoreDamagedError):
                try:
                    raise_system_error(path, error)
                except FileNotFoundError as gone:
                    raise KeyError(f"Nothing is staged at {path} any longer.") from gone
            raise StoreDamagedError(f"{path} is not an intact staged video: {error}. {_REMEDY}") from error


def _check_format(file: h5py.File) -> None:
    if file.attrs["format"] != FORMAT or file.attrs["format_version"] != FORMAT_VERSION:
        raise StoreDamagedError(f"it is not a {FORMAT} file of version {FORMAT_VERSION}")


def fingerprint_error(where: Path, held: FeatureSpace, wanted: FeatureSpace) -> FingerprintError:
    """Return the error for features with other settings, naming each setting that differs."""
    differing = [
        f"  {key}: the store has {json.dumps(held.fingerprint.get(key))}, "
        f"this run has {json.dumps(wanted.fingerprint.get(key))}"
        for key in sorted({*held.fingerprint, *wanted.fingerprint})
        if held.fingerprint.get(key) != wanted.fingerprint.get(key)
    ]
    return FingerprintError(
        f"{where} contains features of {wanted.name} that were made with other settings, and the two must not "
        "mix:\n" + "\n".join(differing) + "\nRun with the same settings as before, or select another folder "
        "with --store."
    )
