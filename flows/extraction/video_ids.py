"""The ids of found files: their names, or their paths where names are equal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reeldex.flows.config.extraction import VideoIdRule
from reeldex.flows.extraction.addresses import file_name, path_below_place, path_in
from reeldex.flows.extraction.file_names import composed, printable
from reeldex.flows.extraction.search_notes import NoteKind, SearchTally
from reeldex.remote_urls import is_url

if TYPE_CHECKING:
    from reeldex.flows.fetching.remote_file import RemoteFile
    from reeldex.storage.manifest import ShardManifest
    from reeldex.storage.schema import Span
    from reeldex.storage.store import FeatureStore

Place = tuple[str, "Span | None"]
_LEVELS = 4  # of candidates


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file or a clip of one, before it has an id.

    `path` is absolute; `relative` is the path within the source that it was found in, `source_name` the name of that
    source, and `given_id` the id in a list. `where` says for messages where a list names it, and `seconds` is the
    length of the file that a list states. The path of a file at a URL is the URL, and `remote` what its service says of
    it, as far as that is known.
    """

    path: str
    relative: str
    source_name: str
    is_listed: bool = False
    given_id: str | None = None
    span: Span | None = None
    where: str = ""
    seconds: float | None = None
    remote: RemoteFile | None = None

    @property
    def place(self) -> Place:
        """The file and the part of it."""
        return (self.path, self.span)

    def candidate(self, level: int) -> str:
        """Return an id that this file may have: from 0, the shortest, to 3, one that no other file has."""
        if level == 0:
            name = stem(self.path)
        elif level == 1:
            name = self._path_below_source
        else:
            is_elsewhere = level > 2 or (is_url(self.path) and self.relative == self._whole_path)
            name = self._whole_path if is_elsewhere else f"{self.source_name}/{self.relative}"
        clip = "" if self.span is None else f"_{self.span}"
        return composed(printable(name)) + clip

    @property
    def _path_below_source(self) -> str:
        """The path within the source; of a URL that is not below its list, the path within its host or bucket."""
        if is_url(self.path) and self.relative == self._whole_path:
            return path_below_place(self.path) or self.relative
        return self.relative

    @property
    def _whole_path(self) -> str:
        return path_in(self.path) if is_url(self.path) else self.path.strip("/")


@dataclass(frozen=True)
class KnownIds:
    """What a store knows: the id of each file and clip, the path that holds each id, and what `auto` means for it."""

    by_place: Mapping[Place, str] = field(default_factory=dict)
    holders: Mapping[str, Place] = field(default_factory=dict)
    equal_names_get_paths: bool = True

    def rule(self, rule: VideoIdRule) -> VideoIdRule:
        """Return the rule for this store: in an older one, `auto` means what was the default then."""
        return VideoIdRule.STEM if rule is VideoIdRule.AUTO and not self.equal_names_get_paths else rule


def known_ids(store: FeatureStore | None, files: Sequence[FoundFile]) -> KnownIds:
    """Return what a store knows of these files and of ids that they may have; None is a store that does not exist."""
    if store is None:
        return KnownIds()
    manifests: Sequence[ShardManifest] = ()
    if len(files) > store.video_count() // 4:
        manifests = store.manifests()
    else:
        ids = {file.candidate(level) for file in files for level in range(_LEVELS)}
        manifests = store.manifests_with(ids, {file.path for file in files})
    forgotten = store.forgotten().positions
    by_place: dict[Place, str] = {}
    holders: dict[str, Place] = {}
    for manifest in manifests:
        for position, entry in enumerate(manifest.videos):
            if (manifest.shard, position) in forgotten:
                continue
            by_place[entry.place] = entry.video_id
            if entry.duplicate_of is None:
                holders[composed(entry.video_id)] = entry.place
    searches = store.searches()
    newest = searches.equal_names_get_paths if searches is not None else not store.shard_count()
    return KnownIds(by_place, holders, newest)


def stem(path: str) -> str:
    """Return a file's name without its suffix. `..mp4` has the stem `.`, which is not a valid id: its whole name."""
    name = file_name(path) or path_in(path) if is_url(path) else path.rstrip("/").rpartition("/")[2]
    dot = name.rfind(".")
    shortened = name[:dot] if 0 < dot < len(name) - 1 else name
    return shortened if shortened.strip(".") else name


def assign_ids(
    files: Sequence[FoundFile], rule: VideoIdRule, known: KnownIds, exists: Callable[[str], bool], tally: SearchTally
) -> list[str]:
    """Return the id of each file, in order; `exists(path)` is asked about files that the store knows.

    An id of a list stays. By the rule `stem` the others get their names, by `path` those of folders their paths.
    By `auto`, a file that the store knows keeps its id; of the others, those whose name no other video has get
    it, and files with equal names their paths. Notes equal names in `tally`.
    """
    if known.rule(rule) is VideoIdRule.AUTO:
        return _automatic(files, known, exists, tally)
    by_path = rule is VideoIdRule.PATH
    ids = [file.given_id or file.candidate(int(by_path and not file.is_listed)) for file in files]
    _note_equal_ids(files, ids, tally)
    return ids


def _automatic(
    files: Sequence[FoundFile], known: KnownIds, exists: Callable[[str], bool], tally: SearchTally
) -> list[str]:
    ids: dict[Place, str] = {}
    fixed: dict[int, str] = {}
    waiting: dict[Place, FoundFile] = {}
    for at, file in enumerate(files):
        if file.given_id:
            fixed[at] = file.given_id
        elif file.place in known.by_place:
            ids[file.place] = known.by_place[file.place]
        else:
            waiting.setdefault(file.place, file)
    taken = {composed(each) for each in (*fixed.values(), *ids.values())}
    found_paths = {file.path for file in files}

    def is_free(video_id: str, place: Place) -> bool:
        holder = known.holders.get(video_id)
        if video_id in taken:
            return False
        # The id of a file that is gone is free: the file was moved or replaced.
        return holder is None or holder[0] == place[0] or not (holder[0] in found_paths or exists(holder[0]))

    for level in range(_LEVELS):
        groups: defaultdict[str, list[Place]] = defaultdict(list)
        for place, file in waiting.items():
            groups[file.candidate(level)].append(place)
        for video_id, places in groups.items():
            if len(places) == 1 and is_free(video_id, places[0]):
                if level:
                    tally.add(NoteKind.EQUAL_NAME, video_id)
                ids[places[0]] = video_id
                taken.add(video_id)
                del waiting[places[0]]
    # Only an id of a list can be equal to a whole path.
    ids |= {place: file.candidate(_LEVELS - 1) for place, file in waiting.items()}
    assigned = [fixed.get(at) or ids[file.place] for at, file in enumerate(files)]
    _note_equal_ids(files, assigned, tally)
    return assigned


def _note_equal_ids(files: Sequence[FoundFile], ids: Sequence[str], tally: SearchTally) -> None:
    holders: dict[str, Place] = {}
    for file, video_id in zip(files, ids, strict=True):
        if holders.setdefault(composed(video_id), file.place) != file.place:
            tally.add(NoteKind.EQUAL_ID, f"{video_id}: {printable(file.path)}")
