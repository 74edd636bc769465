"""Identifies the inputs of an index, and refuses to use it with others."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.embedding.errors import CheckpointError, WordVectorsError
from reeldex.embedding.words.vectors import WordVectors
from reeldex.search.errors import IndexMismatchError
from reeldex.search.generation import FileIdentity, Generation, IndexInputs, readable
from reeldex.search.options import MOMENT_FIELDS, different
from reeldex.search.request import IndexRequest
from reeldex.storage.hashing import file_sha256
from reeldex.storage.schema import JSON
from reeldex.storage.system_errors import remedy_for, require_readable

if TYPE_CHECKING:
    from reeldex.embedding.features import StoreFeatures
    from reeldex.embedding.training.checkpoint import Checkpoint


def identify(path: Path, known: FileIdentity | None = None) -> FileIdentity:
    """Return the identity of a checkpoint file; read unless size and mtime match `known`. Raises CheckpointError."""
    try:
        status = path.stat()
        absolute = str(path.absolute())
        seen = (absolute, status.st_size, status.st_mtime_ns)
        if known and seen == (known.path, known.size_bytes, known.mtime_ns):
            return known
        return FileIdentity(*seen, sha256=file_sha256(path))
    except OSError as error:
        remedy = "Correct the path." if isinstance(error, FileNotFoundError) else remedy_for(error)
        raise CheckpointError(f"The checkpoint {path} cannot be read: {error}. {remedy}") from error


def origin_of(
    request: IndexRequest, source: StoreFeatures, current: Generation | None
) -> tuple[IndexInputs, Checkpoint | None]:
    """Return the inputs of a build, and the checkpoint if it had to be read.

    Raises IndexMismatchError when the index that is `current` was made from something else, unless it is to be rebuilt,
    and CheckpointError when checkpoint, word vectors and features do not belong together.
    """
    from reeldex.search.store_videos import store_id

    inputs = current.inputs if current else None
    identity = identify(request.checkpoint, inputs.checkpoint if inputs else None)
    spaces = source.fingerprints()
    store, words_cache = str(source.store.path.absolute()), str(request.words.cache.absolute())
    identifier = store_id(source.store)
    wanted: dict[str, JSON] = {
        "store": identifier,
        "checkpoint": identity.sha256,
        "word vectors": request.words.fingerprint,
        "feature spaces": spaces,
    }
    if current and inputs:
        found: dict[str, JSON] = {
            "store": inputs.store_id,
            "checkpoint": inputs.checkpoint.sha256,
            "word vectors": inputs.words_sha256,
            "feature spaces": dict(inputs.spaces),
        }
        unlike = [name for name in wanted if wanted[name] != found[name]]
        unlike += different(request.options, current.options, MOMENT_FIELDS)
        if not unlike:
            return replace(inputs, checkpoint=identity, store=store, words_cache=words_cache), None
        if not request.rebuild:
            since = (
                ", which has been replaced by a new one since" if "store" in unlike and inputs.store == store else ""
            )
            raise IndexMismatchError(
                f"The index {request.out} was made with another {' and another '.join(unlike)} than this build "
                f"has: its moments came from the store {inputs.store}{since}, the checkpoint "
                f"{inputs.checkpoint.path} ({inputs.checkpoint.sha256[:12]}) and the spaces {_names(inputs.spaces)}. "
                "Give those, or build into another folder, or have this one replaced (--rebuild): until the new one is "
                "complete the old one is in use."
            )
    from reeldex.embedding.training.checkpoint import load_checkpoint, require_features, require_word_vectors

    checkpoint = load_checkpoint(request.checkpoint)
    require_word_vectors(checkpoint, request.words.fingerprint, request.words.dim)
    require_features(checkpoint, spaces, sum(source.stream_dims))
    return (
        IndexInputs(
            store=store,
            store_id=identifier,
            checkpoint=identity,
            words_cache=words_cache,
            words_sha256=request.words.fingerprint,
            spaces=spaces,
            embed_dim=checkpoint.spec.embed_dim,
        ),
        checkpoint,
    )


def require_checkpoint(folder: Path, inputs: IndexInputs, checkpoint: Path | None) -> Path:
    """Return the path of an index's checkpoint: the one given, which must match the recorded one, or the recorded one.

    Raises IndexMismatchError, and CheckpointError when there is none.
    """
    path = checkpoint or Path(inputs.checkpoint.path)
    try:
        identity = identify(path, inputs.checkpoint)
    except CheckpointError as error:
        if checkpoint or not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise CheckpointError(
            f"The index {folder} was made with the checkpoint {path}, which can no longer be read. Pass its current "
            "path (--checkpoint)."
        ) from error
    if identity.sha256 != inputs.checkpoint.sha256:
        raise IndexMismatchError(
            f"The index {folder} was made with a checkpoint of the SHA-256 {inputs.checkpoint.sha256}, and {path} has "
            f"{identity.sha256}: its embeddings are not comparable. Use the checkpoint that was at "
            f"{inputs.checkpoint.path}, or rebuild the index with this one (--rebuild)."
        )
    return path


def load_recorded(folder: Path, inputs: IndexInputs, path: Path) -> Checkpoint:
    """Load the checkpoint of an index; raises as `require_checkpoint` unless the loaded file is the index's."""
    from reeldex.embedding.training.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    # Checked after loading: a training may have replaced the file since the index was opened.
    require_checkpoint(folder, inputs, path)
    return checkpoint


def require_words(folder: Path, inputs: IndexInputs, words: WordVectors) -> WordVectors:
    """Return the word vectors if they are the index's; raises IndexMismatchError."""
    if words.fingerprint != inputs.words_sha256:
        raise IndexMismatchError(
            f"The index {folder} was made with word vectors of the SHA-256 {inputs.words_sha256}, and {words.cache} "
            f"has those of {words.fingerprint}: they are not comparable. Use the word vectors that the "
            "checkpoint was trained with."
        )
    return words


def space_names(spaces: object) -> dict[str, str]:
    """Return the names of the streams' feature spaces."""
    from reeldex.embedding.features import STREAMS

    spaces_of_model = spaces if isinstance(spaces, dict) else {}
    return {stream: str(spaces_of_model[stream]["space"]) for stream in STREAMS if stream in spaces_of_model}


def _names(spaces: object) -> str:
    return " and ".join(space_names(spaces).values())


def recorded_words(folder: Path, cache: Path) -> WordVectors:
    """Open the cache of word vectors that an index names; raises IndexMismatchError if it no longer can be."""
    with readable(cache), contextlib.suppress(FileNotFoundError):
        require_readable(cache)
    try:
        return WordVectors(cache)
    except (WordVectorsError, OSError) as error:
        why = f"cannot be read: {error}" if cache.exists() else "no longer exists."
        raise IndexMismatchError(
            f"The cache {cache} of the word vectors with which the index {folder} was made {why} Pass the path of the "
            "file that it was converted from (--word-vectors); the cache is then created again."
        ) from error
