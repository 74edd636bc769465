from __future__ import annotations

import numpy as np
import pytest

from reeldex.search.ann_index import choose_factory, why_rebuild
from reeldex.search.generation import AnnIndexRecord
from reeldex.search.options import IndexOptions
from reeldex.search.projection import learn_projection

AUTO = IndexOptions()


@pytest.mark.parametrize(
    ("options", "moments", "factory"),
    [
        (AUTO, 49_999, "SQfp16"),
        (AUTO, 50_000, "IVF1024,PQ128x4fs"),
        (AUTO, 1_000_000, "IVF4096,PQ128x4fs"),
        (AUTO.replaced(pca_dim=0), 1_000_000, "IVF4096,PQ3072x4fs"),
        (AUTO.replaced(pca_dim=33), 1_000_000, "IVF4096,SQ8"),
        (AUTO.replaced(exact_below=0), 9_999, "IVF512,SQ8"),
        (AUTO, 136_000_000, "IVF65536_HNSW32,PQ64"),
        (AUTO.replaced(pca_dim=0), 136_000_000, "IVF65536_HNSW32,PQ1536"),
        (AUTO.replaced(factory="IVF99,SQ4"), 10, "IVF99,SQ4"),
        (AUTO.replaced(exact_below=0), 3, "IVF8,SQ8"),
    ],
)
def test_the_structure_for_so_many_moments(options: IndexOptions, moments: int, factory: str) -> None:
    assert choose_factory(options, moments, 6144) == factory


def record(factory: str, trained_on: int) -> AnnIndexRecord:
    return AnnIndexRecord(1, factory, factory == "SQfp16", trained_on, 0, 256)


@pytest.mark.parametrize(
    ("held", "options", "moments", "why"),
    [
        (record("SQfp16", 10), AUTO, 49_999, None),
        (record("SQfp16", 10), AUTO, 50_000, "50000 moments are too many for exact search"),
        (record("IVF1024,SQ8", 60_000), AUTO, 240_000, None),
        (record("IVF1024,SQ8", 60_000), AUTO, 240_001, "it was trained on 60000 moments and holds 240001 now"),
        (record("IVF1024,SQ8", 60_000), AUTO, 30_000, None),
        (record("IVF1024,SQ8", 60_000), AUTO, 24_999, "24999 moments are few enough for exact search"),
        (record("IVF4096,SQ8", 900_000), AUTO, 200_000, "it was trained on 900000 moments and holds 200000 now"),
        (record("SQfp16", 10), AUTO.replaced(pca_dim=64), 20, "pca_dim changed"),
    ],
)
def test_when_an_ann_index_is_rebuilt(
    held: AnnIndexRecord, options: IndexOptions, moments: int, why: str | None
) -> None:
    assert why_rebuild(held, AUTO, options, moments, 6144) == why


def test_a_projection_keeps_the_ranking_of_data_that_lie_in_few_dimensions() -> None:
    generator = np.random.default_rng(0)
    basis = np.linalg.qr(generator.normal(size=(40, 6)))[0].T
    data = (generator.normal(size=(300, 6)) @ basis + generator.normal(size=40)).astype(np.float32)
    queries = generator.normal(size=(20, 40)).astype(np.float32)
    projection = learn_projection(data, 6)
    assert projection.matrix is not None
    assert np.allclose(projection.matrix @ projection.matrix.T, np.eye(6), atol=1e-5)
    exact, found = queries @ data.T, projection.queries(queries) @ projection.moments(data).T
    # All scores of a query are off by the same number, which changes no ranking.
    offsets = exact - found
    assert np.allclose(offsets, offsets[:, :1], atol=1e-3)
    assert np.array_equal(np.argmax(exact, axis=1), np.argmax(found, axis=1))


def test_a_projection_finds_the_principal_directions() -> None:
    generator = np.random.default_rng(1)
    data = (
        generator.normal(size=(500, 30)) * 0.8 ** np.arange(30) @ np.linalg.qr(generator.normal(size=(30, 30)))[0]
    ).astype(np.float32)
    projection = learn_projection(data, 5)
    assert projection.matrix is not None
    _, _, wanted = np.linalg.svd(data - data.mean(axis=0), full_matrices=False)
    assert np.allclose(np.abs(np.sum(projection.matrix * wanted[:5], axis=1)), 1, atol=1e-3)
    assert learn_projection(data, 30).matrix is None
    assert learn_projection(data, 0).dim == 30
