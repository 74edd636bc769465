from __future__ import annotations

import numpy as np
import pytest

from reeldex.embedding.pooling import join_streams, normalise
from tests.embedding.slow_pooling import pool_rows, pool_span


def test_a_span_is_its_rows_maximum_at_length_1() -> None:
    rows = np.array([[9.0, 0], [1, 2], [3, 0], [0, 4], [9, 9]], dtype=np.float16)
    found = pool_span(rows, 1.0, 3.9, 1.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0.6, 0.8], rtol=1e-6)


def test_beyond_the_end_there_are_zeros_and_over_it_what_there_is() -> None:
    rows = np.array([[3.0, 4.0], [0.0, 1.0]])
    assert pool_span(rows, 5, 9, 1).tolist() == [0, 0]
    assert pool_span(rows, 1, 9, 1).tolist() == [0, 1]


def test_the_maximum_is_taken_before_the_length_and_of_negative_numbers_too() -> None:
    np.testing.assert_allclose(pool_rows(np.array([[-3.0, -4.0], [-6.0, -8.0]])), [-0.6, -0.8], rtol=1e-6)


def test_normalising_is_torch_s() -> None:
    import torch

    rows = np.random.default_rng(0).normal(size=(5, 3, 7)).astype(np.float32)
    rows[2, 1] = 0
    rows[3] *= 1e-20
    wanted = torch.nn.functional.normalize(torch.from_numpy(rows), dim=-1).numpy()
    np.testing.assert_allclose(normalise(rows), wanted, rtol=1e-6, atol=1e-12)


def test_half_precision_is_widened_before_it_is_squared() -> None:
    np.testing.assert_allclose(normalise(np.array([300.0, 400.0], dtype=np.float16)), [0.6, 0.8], rtol=1e-6)


def test_streams_are_joined_each_at_length_1() -> None:
    joined = join_streams([np.array([[3.0, 4.0]]), np.array([[0.0, 0.0, 5.0]])])
    np.testing.assert_allclose(joined, [[0.6, 0.8, 0, 0, 1]], rtol=1e-6)
    with pytest.raises(ValueError, match="nothing to join"):
        join_streams([])
