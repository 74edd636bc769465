import numpy as np
import pytest

from embedding.pooling import join_streams, normalise, pool_rows, pool_span, span_rows


@pytest.mark.parametrize(
    ("start", "end", "rate", "rows"),
    [
        (0, 0, 1.0, (0, 1)),
        (0, 10, 1.0, (0, 11)),
        (2.93, 9.27, 1.0, (2, 10)),
        (2.93, 9.27, 1.5, (4, 14)),
        (2.0, 2.0, 1.5, (3, 4)),
    ],
)
def test_rows_of_a_span_include_its_last(start: float, end: float, rate: float, rows: tuple[int, int]) -> None:
    assert span_rows(start, end, rate) == rows


@pytest.mark.parametrize(
    ("start", "end", "rate"), [(-1, 2, 1), (3, 2, 1), (0, float("nan"), 1), (0, float("inf"), 1), (0, 1, 0)]
)
def test_spans_and_rates_that_cannot_be_are_refused(start: float, end: float, rate: float) -> None:
    with pytest.raises(ValueError, match=r"A span needs|Rows a second"):
        span_rows(start, end, rate)


def test_a_span_is_its_rows_maximum_at_length_1() -> None:
    rows = np.array([[9.0, 0], [1, 2], [3, 0], [0, 4], [9, 9]], dtype=np.float16)
    found = pool_span(rows, 1.0, 3.9, 1.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0.6, 0.8], rtol=1e-6)


def test_beyond_the_end_there_are_zeros_and_over_it_what_there_is() -> None:
    rows = np.array([[3.0, 4.0], [0.0, 1.0]])
    assert pool_span(rows, 5, 9, 1).tolist() == [0, 0]
    assert pool_span(rows, 1, 9, 1).tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"are \(n, D\), not \(2,\)"):
        pool_rows(rows[0])


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
