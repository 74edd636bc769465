"""Embeds sentences for queries, with the text tower of an index's checkpoint, which is kept in a cache."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex import cached_files, user_folders
from reeldex.embedding.options import ModelOptions
from reeldex.embedding.text_tower import TextTower, TextTowerError
from reeldex.embedding.words.vectors import WordVectors, tokenise
from reeldex.search.moment_table import Floats

if TYPE_CHECKING:
    from reeldex.embedding.training.checkpoint import Checkpoint

log = logging.getLogger(__name__)

_SUFFIX = ".tower"


class SentenceTower:
    """Embeds sentences; `load` is called for the text tower at the first one. Thread-safe."""

    def __init__(self, load: Callable[[], TextTower], words: WordVectors) -> None:
        self.words = words
        self._load = load
        self._tower: TextTower | None = None
        self._loading = threading.Lock()

    def knows(self, sentence: str) -> bool:
        """Return whether any word of a sentence has a vector."""
        return any(word in self.words for word in tokenise(sentence))

    def unknown(self, sentence: str) -> tuple[str, ...]:
        """Return the words of a sentence that have no vector, each once."""
        return tuple(dict.fromkeys(word for word in tokenise(sentence) if word not in self.words))

    def frequent_words(self, count: int) -> list[str]:
        """Return the first (most frequent) words of the vocabulary that a sentence can contain."""
        chosen = []
        for word in self.words:
            if tokenise(word) == [word]:
                chosen.append(word)
            if len(chosen) == count:
                break
        return chosen

    def embed(self, sentences: Sequence[str]) -> Floats:
        """Embed sentences to (n, D) float32, each of norm 1."""
        return self._loaded().embed(self.words, sentences)

    def _loaded(self) -> TextTower:
        with self._loading:
            if self._tower is None:
                self._tower = self._load()
            return self._tower


def text_tower(checkpoint: Checkpoint) -> TextTower:
    """Return the text tower of a checkpoint; raises CheckpointError when its weights do not fit its sizes."""
    # The model checks names and shapes of all weights.
    return TextTower.from_weights(checkpoint.model().state_dict(), checkpoint.spec.max_words)


def cached_text_tower(checkpoint_sha256: str, load: Callable[[], Checkpoint]) -> TextTower:
    """Return the text tower of a checkpoint file from the cache; `load` reads the checkpoint if it is not there.

    Towers that no search has used for 30 days are removed when another one is written. A cache that cannot be written
    is logged: the next search then reads the checkpoint again.
    """
    # Plain weights do not record the number of words.
    name = f"{checkpoint_sha256}-{ModelOptions().max_words}{_SUFFIX}"
    try:
        path = user_folders.cache_folder("text-towers") / name
    except user_folders.FolderNotWritableError as error:
        log.warning("The text tower is not kept: %s", error)
        return text_tower(load())
    if (known := _opened(path)) is not None:
        return known
    tower = text_tower(load())
    try:
        with cached_files.published(path) as temporary:
            tower.save(temporary)
    except OSError as error:
        log.warning(
            "The text tower cannot be kept in %s (%s). Each search reads the checkpoint again, which takes seconds. "
            "Select another folder with XDG_CACHE_HOME.",
            path.parent,
            error,
        )
        return tower
    _remove_unused(path.parent)
    return _opened(path) or tower  # mapped: processes share it


def _opened(path: Path) -> TextTower | None:
    try:
        if not path.exists():
            log.info("The text tower is read from the checkpoint, once, and kept in %s", path)
            return None
        found = TextTower.open(path)
    except (TextTowerError, OSError) as error:
        log.info("The text tower is read from the checkpoint again: %s", error)
        return None
    cached_files.mark_used(path)
    return found


def _remove_unused(folder: Path) -> None:
    oldest = time.time() - cached_files.UNUSED_SECONDS
    cached_files.remove(*(path for path in folder.glob(f"*{_SUFFIX}") if cached_files.last_used(path) < oldest))
