"""The feature spaces that the later steps of a pipeline read: those of the networks that it extracts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.errors import UsageError
from reeldex.extractors.registry import HOWTO100M_EXTRACTORS, extractor
from reeldex.storage.errors import NotAStoreError
from reeldex.storage.store import FeatureStore

if TYPE_CHECKING:
    from reeldex.flows.config.datasets import Spaces
    from reeldex.flows.config.pipeline import PipelineConfig

_KINDS = ("2-D", "3-D")
_SETTINGS = ("index.space_2d", "index.space_3d")


def extracted_spaces(config: PipelineConfig, store: Path, checkpoint: str) -> Spaces:
    """Return the 2-D and the 3-D space of the networks that are extracted into `store`; None for the paper's network.

    - The spaces of the index's settings come first.
    - The paper's network comes before others of its kind, also where `store` has its features from an earlier run.
    - A network of another package is used if it is the only one of its kind, and no `checkpoint` is given: that may
      need features of the paper's network, which a plain state dict does not record.

    Raises UsageError where that names no network.
    """
    two, three = (_space(config, store, checkpoint, at) for at in range(len(_KINDS)))
    return two, three


def _space(config: PipelineConfig, store: Path, checkpoint: str, kind: int) -> str | None:
    paper, names = HOWTO100M_EXTRACTORS[kind], config.extract.extractors
    given = (config.index.space_2d, config.index.space_3d)[kind]
    if given is not None or paper in names or _has_space_of(paper, store):
        return given
    records = [each for each in map(extractor, dict.fromkeys(names)) if (each.spec.frames_per_clip > 1) == bool(kind)]
    if len(records) == 1 and not checkpoint:
        return records[0].space(config.extract.weights)
    found = ", ".join(each.spec.name for each in records) or f"only {', '.join(names)}"
    reason = f"Training and the index need features of one {_KINDS[kind]} network"
    if checkpoint:
        reason = f"The checkpoint {checkpoint} may need features of {paper}"
    raise UsageError(
        f"{reason}, and extract.extractors has {found}. Name {paper} there, or set {_SETTINGS[kind]} to the feature "
        "space to use, such as network.tag."
    )


def _has_space_of(network: str, store: Path) -> bool:
    try:
        return any(space.startswith(f"{network}.") for space in FeatureStore(store).spaces())
    except NotAStoreError:  # it becomes one
        return False
