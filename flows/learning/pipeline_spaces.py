"""The feature spaces that the later steps of a pipeline read: those of the networks that it extracts.

A pipeline keeps to its first spaces, which `spaces.json` in its folder records: its embedding was trained on them.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.errors import UsageError
from reeldex.extractors.registry import HOWTO100M_EXTRACTORS, extractor
from reeldex.storage.atomic import publish_text
from reeldex.storage.errors import NotAStoreError
from reeldex.storage.store import FeatureStore

if TYPE_CHECKING:
    from reeldex.flows.config.datasets import Spaces
    from reeldex.flows.config.pipeline import PipelineConfig

log = logging.getLogger(__name__)

_KINDS = ("2-D", "3-D")
_NAMES = ("space_2d", "space_3d")
_NOTE = "spaces.json"


@dataclass(frozen=True)
class PipelineSpaces:
    """Which spaces a pipeline uses whose results are in `folder`, and its features in `store`.

    `checkpoint` is the embedding that the user gives, "" for one that the pipeline trains.
    """

    config: PipelineConfig
    folder: Path
    store: Path
    checkpoint: str

    def found(self) -> Spaces:
        """Return the 2-D and the 3-D space; None for the store's only one of the paper's network.

        - The spaces of the index's settings come first, then those of the pipeline's earlier runs.
        - The paper's network comes before others of its kind, also where the store has its features already.
        - Another network is used if it is the only one of its kind.
        - With a checkpoint, other networks are used only where the settings name them: it may need features of the
          paper's network, which a plain state dict does not record.

        Raises UsageError where that names no network, or a space that is neither in the store nor extracted.
        """
        before = _recorded(self.folder)
        two, three = (self._space(before, kind) for kind in range(len(_KINDS)))
        return two, three

    def checked(self) -> Spaces:
        """Return `found()`, and warn of a space that this run does not extract."""
        spaces = self.found()
        for paper, space, setting in zip(HOWTO100M_EXTRACTORS, spaces, _NAMES, strict=True):
            network = paper if space is None else space.partition(".")[0]
            if network not in self.config.extract.extractors:
                log.warning(
                    "Training and the index use features of %s, which this run does not extract: videos without them "
                    "are left out. Add %s to extract.extractors, or set index.%s to another space.",
                    network,
                    network,
                    setting,
                )
        return spaces

    def keep(self) -> None:
        """Record the spaces for later runs."""
        publish_text(self.folder / _NOTE, json.dumps(dict(zip(_NAMES, self.found(), strict=True))))

    def _space(self, before: Spaces | None, kind: int) -> str | None:
        paper, names = HOWTO100M_EXTRACTORS[kind], self.config.extract.extractors
        given = (self.config.index.space_2d, self.config.index.space_3d)[kind]
        if given is not None:
            return self._checked(given, kind)
        if before is not None and (before[kind] is None or not self.checkpoint):
            return before[kind]
        if paper in names or any(space.startswith(f"{paper}.") for space in self._stored()):
            return None
        return self._only_other(kind)

    def _only_other(self, kind: int) -> str:
        paper, names = HOWTO100M_EXTRACTORS[kind], tuple(dict.fromkeys(self.config.extract.extractors))
        of_kind = [name for name in names if (extractor(name).spec.frames_per_clip > 1) == bool(kind)]
        spaces = [extractor(name).space(self.config.extract.weights) for name in of_kind]
        if len(spaces) == 1 and not self.checkpoint:
            return spaces[0]
        reason = f"Training and the index need features of one {_KINDS[kind]} network"
        if self.checkpoint:
            reason = f"The checkpoint {self.checkpoint} may need features of {paper}"
        remedy = f", or set index.{_NAMES[kind]} to {' or '.join(spaces)}" if spaces else ""
        found = ", ".join(of_kind) or f"only {', '.join(names)}"
        raise UsageError(f"{reason}, and extract.extractors has {found}. Name {paper} there{remedy}.")

    def _checked(self, space: str, kind: int) -> str:
        extracted = [extractor(name).space(self.config.extract.weights) for name in self.config.extract.extractors]
        if space not in (known := sorted({*self._stored(), *extracted})):
            raise UsageError(
                f"index.{_NAMES[kind]} is {space}, which is neither in {self.store} nor extracted. Spaces are: "
                f"{', '.join(known)}."
            )
        return space

    def _stored(self) -> list[str]:
        try:
            return list(FeatureStore(self.store).spaces())
        except NotAStoreError:  # it becomes one
            return []


def _recorded(folder: Path) -> Spaces | None:
    """Return the spaces of the pipeline's earlier runs; None without any, and, with a warning, for a damaged file."""
    file = folder / _NOTE
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
        two, three = (note[name] for name in _NAMES)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        two = three = False  # no space
    if not all(space is None or isinstance(space, str) for space in (two, three)):
        log.warning("%s is damaged: the feature spaces are chosen as in a first run, and recorded anew.", file)
        return None
    return two, three
