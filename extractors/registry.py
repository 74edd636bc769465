"""The registry of extractors by name. A new network is one record."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reeldex.extractors import resnet152, resnext101
from reeldex.extractors.errors import UnknownExtractorError
from reeldex.extractors.options import WeightsChoice
from reeldex.extractors.weights import PretrainedWeights

if TYPE_CHECKING:
    from torch import nn

    from reeldex.extractors.spec import ExtractorSpec

# The weights tag of random weights, part of the name of every feature space made with them.
RANDOM_TAG = "random"


@dataclass(frozen=True)
class ExtractorRecord:
    """An extractor: its spec, network and weights.

    - `build` returns the network, with its classifier in the attribute `fc`; features are the input of `fc`.
    - `pretrained` is the source of its published weights.
    - `own_name` maps the published checkpoint's parameter names to the network's.
    - `branch_gain_suffixes` are the name suffixes of the gain of the last normalisation in a residual branch.
    """

    spec: ExtractorSpec
    build: Callable[[], nn.Module]
    pretrained: PretrainedWeights
    own_name: Callable[[str], str]
    branch_gain_suffixes: tuple[str, ...]

    def space(self, weights: WeightsChoice) -> str:
        """Return the name of the feature space that the extractor makes with these weights."""
        tag = RANDOM_TAG if weights is WeightsChoice.RANDOM else self.pretrained.tag
        return f"{self.spec.name}.{tag}"


_RECORDS = (
    ExtractorRecord(
        spec=resnet152.SPEC,
        build=resnet152.build,
        pretrained=PretrainedWeights("imagenet1k_v1", resnet152.PRETRAINED_URL),
        own_name=str,
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

EXTRACTORS: dict[str, ExtractorRecord] = {record.spec.name: record for record in _RECORDS}


def extractor(name: str) -> ExtractorRecord:
    """Return the record of that name. Raises UnknownExtractorError, with the nearest names."""
    if name in EXTRACTORS:
        return EXTRACTORS[name]
    near = difflib.get_close_matches(name, EXTRACTORS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UnknownExtractorError(f"There is no extractor {name!r}.{hint} Extractors are: {', '.join(EXTRACTORS)}.")


def extractor_of_space(space: str) -> tuple[ExtractorRecord, WeightsChoice]:
    """Return the extractor and weights of a space named `<extractor>.<weights tag>`. Raises UnknownExtractorError."""
    name, _, tag = space.partition(".")
    record = extractor(name)
    for choice in WeightsChoice:
        if record.space(choice) == space:
            return record, choice
    raise UnknownExtractorError(
        f"The extractor {name!r} has no weights {tag!r}; available: {record.pretrained.tag!r} and {RANDOM_TAG!r}."
    )
