"""The registry of extractors by name. A new network is one record, here or in another installed package."""

from __future__ import annotations

import difflib
import functools
import hashlib
import inspect
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.extractors import resnet152, resnext101
from reeldex.extractors.errors import InvalidExtractorError, UnknownExtractorError
from reeldex.extractors.options import WeightsChoice
from reeldex.extractors.weights import PretrainedWeights, has_hash_in_name

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from torch import nn

    from reeldex.extractors.spec import ExtractorSpec

log = logging.getLogger(__name__)

# The weights tag of random weights, part of the name of every feature space made with them.
RANDOM_TAG = "random"
_NAME = re.compile(r"[a-z0-9_]+")

ENTRY_POINTS = "reeldex.extractors"
"""The group of entry points with which an installed package registers extractors; each is an `ExtractorRecord`."""


@dataclass(frozen=True)
class ExtractorRecord:
    """An extractor: its spec, network and weights.

    - `build` returns the network, with its classifier in the attribute `fc`; features are the input of `fc`.
    - `pretrained` is the source of its published weights.
    - `own_name` maps the published checkpoint's parameter names to the network's.
    - `branch_gain_suffixes` are the name suffixes of the gain of the last normalisation in a residual branch.
    - `code` identifies the code of `build` of another package; it is found when the record is loaded.

    Raises ValueError unless names and tags consist of lower-case letters, digits and underscores.
    """

    spec: ExtractorSpec
    build: Callable[[], nn.Module]
    pretrained: PretrainedWeights
    own_name: Callable[[str], str] = str
    branch_gain_suffixes: tuple[str, ...] = ()
    code: str = ""

    def __post_init__(self) -> None:
        for what, name in (("an extractor", self.spec.name), ("weights", self.pretrained.tag)):
            if not _NAME.fullmatch(name):
                raise ValueError(f"The name of {what} has lower-case letters, digits and underscores; got {name!r}.")
        if self.pretrained.tag == RANDOM_TAG:
            raise ValueError(
                f"{self.spec.name}: {RANDOM_TAG!r} is the name of untrained weights, not of published ones."
            )

    def space(self, weights: WeightsChoice) -> str:
        """Return the name of the feature space that the extractor makes with these weights."""
        tag = RANDOM_TAG if weights is WeightsChoice.RANDOM else self.pretrained.tag
        return f"{self.spec.name}.{tag}"


_RECORDS = (
    ExtractorRecord(
        spec=resnet152.SPEC,
        build=resnet152.build,
        pretrained=PretrainedWeights("imagenet1k_v1", resnet152.PRETRAINED_URL),
        branch_gain_suffixes=(".bn3.weight",),
    ),
    ExtractorRecord(
        spec=resnext101.SPEC,
        build=resnext101.build,
        pretrained=PretrainedWeights("kinetics400", resnext101.PRETRAINED_URL),
        own_name=resnext101.own_parameter_name,
        branch_gain_suffixes=(".norm_c.weight",),
    ),
)

HOWTO100M_EXTRACTORS = tuple(record.spec.name for record in _RECORDS)
"""The names of the extractors of the HowTo100M paper, which are used by default."""

EXTRACTORS: dict[str, ExtractorRecord] = {record.spec.name: record for record in _RECORDS}
"""The records of this package, and those of other packages that have been used; `extractor()` finds all."""


def extractor(name: str) -> ExtractorRecord:
    """Return the record of that name.

    Raises UnknownExtractorError with the nearest names, and InvalidExtractorError for one of another package that
    cannot be used.
    """
    if name in EXTRACTORS:
        return EXTRACTORS[name]
    if found := [entry for entry in _of_other_packages() if entry.name == name]:
        return EXTRACTORS.setdefault(name, _loaded(found))
    near = difflib.get_close_matches(name, names := extractor_names(), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UnknownExtractorError(
        f"There is no extractor {name!r}.{hint} Extractors are: {', '.join(names)}. If another package registers it, "
        "install that package on this machine."
    )


def extractor_names() -> tuple[str, ...]:
    """Return the names of all extractors: of this package, and of other installed packages without loading them."""
    others = {*EXTRACTORS, *(entry.name for entry in _of_other_packages())} - {*HOWTO100M_EXTRACTORS}
    return (*HOWTO100M_EXTRACTORS, *sorted(others))


def extractor_of_space(space: str) -> tuple[ExtractorRecord, WeightsChoice]:
    """Return the extractor and weights of a space named `<extractor>.<weights tag>`. Raises as `extractor` does."""
    name, _, tag = space.partition(".")
    record = extractor(name)
    for choice in WeightsChoice:
        if record.space(choice) == space:
            return record, choice
    raise UnknownExtractorError(
        f"The extractor {name!r} has no weights {tag!r}; available: {record.pretrained.tag!r} and {RANDOM_TAG!r}."
    )


def _of_other_packages() -> list[EntryPoint]:
    # Imported here: reading the metadata of all packages takes some 20 ms, and most commands need no other extractor.
    from importlib.metadata import entry_points

    found = entry_points(group=ENTRY_POINTS)
    for each in found:
        if each.name in HOWTO100M_EXTRACTORS:
            _warn_of_taken_name(each.name, _package(each))
    return [each for each in found if each.name not in HOWTO100M_EXTRACTORS]


@functools.cache
def _warn_of_taken_name(name: str, package: str) -> None:
    log.warning(
        "The package %s registers the extractor %r, a name of the HowTo100M paper: it is not used", package, name
    )


def _package(entry: EntryPoint) -> str:
    return (entry.dist.name if entry.dist is not None else None) or entry.value


def _loaded(entries: Sequence[EntryPoint]) -> ExtractorRecord:
    """Return the record of another package, from the entry points of its name. Raises InvalidExtractorError."""
    entry, package = entries[0], _package(entries[0])
    if len(entries) > 1:
        packages = ", ".join(sorted(map(_package, entries)))
        raise InvalidExtractorError(
            f"Several packages have an extractor {entry.name!r}: {packages}. Uninstall all but one."
        )
    try:
        record = entry.load()
        if isinstance(record, ExtractorRecord) and record.spec.name == entry.name:
            return replace(record, pretrained=_with_own_file(record), code=_code_of(record.build))
    except Exception as error:  # code of another package, which may raise anything
        raise InvalidExtractorError(
            f"The extractor {entry.name!r} of the package {package!r} cannot be loaded ({type(error).__name__}: "
            f"{error}). Correct or uninstall that package."
        ) from error
    found = f"a record named {record.spec.name!r}" if isinstance(record, ExtractorRecord) else type(record).__name__
    raise InvalidExtractorError(
        f"The extractor {entry.name!r} of the package {package!r} cannot be used: its entry point {entry.value!r} is "
        f"{found}, not an ExtractorRecord of that name. Correct that package."
    )


def _with_own_file(record: ExtractorRecord) -> PretrainedWeights:
    """Return the weights of a record with a file name that no other weights have in the cache.

    Files of different addresses may have one name, such as `model.pth`, if it contains no hash.
    """
    weights = record.pretrained
    if has_hash_in_name(weights.file_name):
        return weights
    address = hashlib.sha256(weights.url.encode()).hexdigest()[:8]
    return replace(weights, cached_as=f"{record.spec.name}.{weights.tag}.{address}.pth")


def _code_of(build: Callable[..., object]) -> str:
    """Return a hash of the file in which a function or class is, and of the arguments that are bound to it."""
    digest = hashlib.sha256()
    while isinstance(build, functools.partial):
        digest.update(repr((build.args, sorted(build.keywords.items()))).encode())
        build = build.func
    for each in (build, type(build)):
        try:
            digest.update(Path(inspect.getfile(inspect.unwrap(each))).read_bytes())
        except (TypeError, OSError, ValueError):  # built in, or made at run time
            continue
        break
    return digest.hexdigest()
