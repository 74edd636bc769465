"""The FAISS index that selects candidates: choosing its type, deciding when to rebuild it, and using it."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from reeldex.search.errors import FactoryError, IndexDamagedError
from reeldex.search.generation import REMEDY, AnnIndexRecord, ann_index_files, readable
from reeldex.search.moment_table import Floats, Ids, MomentTable
from reeldex.search.options import AUTO, STRUCTURE_FIELDS, IndexOptions, different
from reeldex.search.projection import Projection, learn_projection
from reeldex.storage.atomic import publish
from reeldex.storage.system_errors import reading_error

log = logging.getLogger(__name__)

EXACT = "SQfp16"
"""Embeddings are stored as float16, whose values this type represents exactly."""
_EXACT_FACTORIES = frozenset({EXACT, "Flat"})

_LARGE = 20_000_000
_FAST_SCAN_FROM = 10_000
_GROWTH = 4
_PROJECTION_SAMPLE = 16_384
_TRAINING_PER_LIST = 40
_TRAINING_AT_LEAST = 65_536


def is_exact(factory: str) -> bool:
    """Return whether a factory string compares a query with every moment, without rounding."""
    return factory in _EXACT_FACTORIES


def choose_factory(options: IndexOptions, moments: int, embed_dim: int) -> str:
    """Return the factory string for a number of moments: the configured one, or one chosen by size.

    An IVF has about 4 sqrt(n) lists, a power of two, as FAISS advises. Codes have two bits per dimension, compared in
    registers (PQ fast scan): the exact scores of the candidates make up for their coarseness. Fewer moments than are
    needed to learn such codes have one byte per dimension; above 20 million there is one byte per four dimensions.
    """
    if options.factory != AUTO:
        return options.factory
    if moments < options.exact_below:
        return EXACT
    lists = 2 ** max(2, round(math.log2(4 * math.sqrt(moments))))
    dim = options.pca_dim if 0 < options.pca_dim < embed_dim else embed_dim
    if moments <= _LARGE:
        learnable = moments >= _FAST_SCAN_FROM and dim % 2 == 0
        return f"IVF{lists},PQ{dim // 2}x4fs" if learnable else f"IVF{lists},SQ8"
    parts = max(part for part in range(1, max(1, dim // 4) + 1) if dim % part == 0)
    return f"IVF{lists}_HNSW32,PQ{parts}"


def why_rebuild(
    current: AnnIndexRecord, current_options: IndexOptions, options: IndexOptions, moments: int, embed_dim: int
) -> str | None:
    """Return why a FAISS index no longer suits this number of moments or these options; None when it does."""
    if unlike := different(options, current_options, STRUCTURE_FIELDS):
        return f"{', '.join(unlike)} changed"
    wanted = choose_factory(options, moments, embed_dim)
    if current.exact and is_exact(wanted):
        return None
    if is_exact(wanted) and moments < options.exact_below // 2:
        return f"{moments} moments are few enough for exact search"
    if current.exact:
        return f"{moments} moments are too many for exact search"
    if moments > current.trained_on * _GROWTH or moments * _GROWTH < current.trained_on:
        return f"it was trained on {current.trained_on} moments and holds {moments} now"
    return None


class AnnIndex:
    """A FAISS index of moments by their ids, with the projection of embeddings (None: exact, no projection).

    Searching is thread-safe; each query runs on its calling thread.
    """

    def __init__(self, index: Any, projection: Projection | None, factory: str, trained_on: int) -> None:  # noqa: ANN401 - FAISS
        import faiss

        self.factory = factory
        self.trained_on = trained_on
        self.projection = projection
        self._index = index
        self._ivf = faiss.try_extract_index_ivf(index)

    @property
    def exact(self) -> bool:
        """Whether every moment is compared with the query."""
        return self.projection is None

    @property
    def dim(self) -> int:
        """Vector dimension."""
        return int(self._index.d)

    @property
    def nlist(self) -> int:
        """The number of lists of an IVF, 0 for other types."""
        return int(self._ivf.nlist) if self._ivf is not None else 0

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, ids: Ids, embeddings: Floats) -> None:
        """Add moments: ids (n,), embeddings (n, D) float32."""
        self._index.add_with_ids(self.projection.moments(embeddings) if self.projection else embeddings, ids)

    def remove(self, ids: Ids) -> None:
        """Remove moments by their ids."""
        import faiss

        if len(ids):
            self._index.remove_ids(faiss.IDSelectorBatch(ids))

    def candidates(self, query: Floats, count: int, nprobe: int, among: Ids | None = None) -> Ids:
        """Return the ids of up to `count` best-scoring moments for a query (D,), or of `among` (ascending)."""
        import faiss

        projected = query[np.newaxis] if self.projection is None else self.projection.queries(query[np.newaxis])
        selector = None
        if among is not None:
            mask = np.zeros(int(among[-1]) + 1, dtype=bool)
            mask[among] = True
            # The selector points into this array, which must stay alive during the call.
            bits = np.packbits(mask, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
        if self._ivf is not None:
            parameters = faiss.SearchParametersIVF(nprobe=max(1, min(nprobe, self.nlist)), sel=selector)
        else:
            parameters = faiss.SearchParameters(sel=selector)
        if isinstance(self._index, faiss.IndexPreTransform):
            parameters = faiss.SearchParametersPreTransform(index_params=parameters)
        _, found = self._index.search(projected, min(count, len(self)), params=parameters)
        ids: Ids = found[0][found[0] >= 0]
        return ids

    def save(self, folder: Path, number: int) -> tuple[str, ...]:
        """Publish the FAISS index; return the names of its files."""
        import faiss

        names = ann_index_files(number, exact=self.exact)
        with publish(folder / names[0]) as temporary:
            faiss.write_index(self._index, str(temporary))
        if self.projection is not None:
            self.projection.save(folder / names[1])
        return names

    @classmethod
    def load(cls, folder: Path, record: AnnIndexRecord) -> AnnIndex:
        """Return a FAISS index; raises IndexDamagedError, or IndexUnreadableError for a system error."""
        import faiss

        names = ann_index_files(record.number, exact=record.exact)
        try:
            index = faiss.read_index(str(folder / names[0]))
            projection = None if record.exact else Projection.load(folder / names[1])
        except (RuntimeError, OSError, ValueError, KeyError, EOFError) as error:
            # FAISS does not report whether the system or the content was at fault.
            for name in names:
                _require_readable(folder / name, error)
            raise IndexDamagedError(f"{folder / names[0]} cannot be read: {_said(error)}. {REMEDY}") from error
        return cls(index, projection, record.factory, record.trained_on)


def _require_readable(path: Path, error: Exception) -> None:
    """Raise IndexUnreadableError unless every byte of a file that FAISS could not load can be read."""
    found = reading_error(path)
    if isinstance(error, OSError) and error.errno and not isinstance(error, FileNotFoundError):
        found = error
    if found is not None and not isinstance(found, FileNotFoundError):
        with readable(path):
            raise found


def require_factory(factory: str, dim: int) -> None:
    """Raise FactoryError unless FAISS accepts a factory string for `dim` dimensions and its index supports removal."""
    _create(factory, dim)


def _create(factory: str, dim: int) -> Any:  # noqa: ANN401 - whichever of FAISS's classes the string stands for
    import faiss

    try:
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise FactoryError(
            f"FAISS does not accept the factory string {factory!r} for {dim} dimensions: {_said(error)}. Use one "
            'such as IVF4096,SQ8, or "auto".'
        ) from error
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is not None:
        # Whether the sample is too small shows in the measured recall.
        ivf.cp.min_points_per_centroid = 1
        return index
    if not isinstance(index, faiss.IndexFlatCodes):
        raise FactoryError(
            f"The FAISS index {factory!r} cannot be used: a {type(index).__name__} does not support removal by "
            'id. Use an IVF such as IVF4096,SQ8, plain codes such as Flat or SQ8, or "auto".'
        )
    return faiss.IndexIDMap2(index)


def build_ann_index(table: MomentTable, options: IndexOptions, factory: str) -> AnnIndex:
    """Train a FAISS index on a sample of the moments and add them all, block by block; raises FactoryError."""
    moments = len(table)
    log.info("Building %s of %d moments", factory, moments)
    if is_exact(factory):
        ann_index = AnnIndex(_create(factory, table.embed_dim), None, factory, moments)
    else:
        ids = table.ids()
        sample = np.concatenate([block for _, block in _sampled(table, ids, _PROJECTION_SAMPLE)])
        projection = learn_projection(sample, options.pca_dim)
        index = _create(factory, projection.dim)
        training = max(_TRAINING_AT_LEAST, _TRAINING_PER_LIST * _lists_named(factory))
        projected = np.concatenate([projection.moments(block) for _, block in _sampled(table, ids, training)])
        del sample
        try:
            index.train(projected)
        except RuntimeError as error:
            raise FactoryError(
                f"The FAISS index {factory!r} cannot be trained on {moments} moments: {_said(error)}. Use one "
                'with fewer lists, or "auto".'
            ) from error
        ann_index = AnnIndex(index, projection, factory, moments)
    for ids, block in table.blocks():
        ann_index.add(ids, block)
    return ann_index


def _sampled(table: MomentTable, ids: Ids, count: int) -> Iterator[tuple[Ids, Floats]]:
    """Yield a sample in blocks: always the same for the same moments, in the order of their ids."""
    chosen = ids
    if count < len(ids):
        chosen = np.sort(np.random.default_rng(0).choice(ids, count, replace=False))
    for first in range(0, len(chosen), table.rows_per_block):
        block = chosen[first : first + table.rows_per_block]
        yield block, table.embeddings(block).astype(np.float32)


def _lists_named(factory: str) -> int:
    found = re.search(r"IVF(\d+)", factory)
    return int(found[1]) if found else 0


def _said(error: Exception) -> str:
    """Return the last line of FAISS's message, without its source location."""
    line = str(error).strip().rsplit("\n", 1)[-1]
    return re.sub(r"^Error in .* at \S+:\d+: ", "", line).rsplit("Error: ", 1)[-1].strip(" '.")
