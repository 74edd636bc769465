"""Random weights for testing: identical bytes on every machine, scaled to preserve variance through all blocks.

The bits are SHAKE-256 of each parameter's name, independent of any library's random generator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A residual block adds its branch to the trunk; at gain 1 the variance would double with every block.
_BRANCH_GAIN = 0.25


def random_state(
    network: str, shapes: Mapping[str, tuple[int, ...]], branch_gain_suffixes: tuple[str, ...]
) -> dict[str, NDArray[Any]]:
    """Return name -> array for every parameter and buffer name of `shapes`; counters are int64 zeros, the rest float32.

    Weights of two axes and more are uniform with variance 2 / fan_in (He et al., arXiv 1502.01852); a
    normalisation's gain is 1, or less where its name ends in one of `branch_gain_suffixes`, its shift 0 and its
    running statistics those of a standard normal, which such weights preserve.
    """
    return {name: _tensor(network, name, shape, branch_gain_suffixes) for name, shape in shapes.items()}


def _tensor(network: str, name: str, shape: tuple[int, ...], branch_gain_suffixes: tuple[str, ...]) -> NDArray[Any]:
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if len(shape) <= 1:
        if name.endswith("running_var"):
            return np.ones(shape, np.float32)
        if name.endswith("weight"):
            return np.full(shape, _BRANCH_GAIN if name.endswith(branch_gain_suffixes) else 1.0, np.float32)
        return np.zeros(shape, np.float32)
    count = int(np.prod(shape))
    fan_in = count // shape[0]
    bits = hashlib.shake_256(f"reeldex/{network}/{name}".encode()).digest(2 * count)
    unit = (np.frombuffer(bits, "<u2").astype(np.float64) + 0.5) / 2**16  # in (0, 1), its mean exactly half
    half_width = np.sqrt(3.0 * 2.0 / fan_in)  # a uniform of half-width a has variance a^2 / 3
    values: NDArray[Any] = ((2.0 * unit - 1.0) * half_width).astype(np.float32)
    return values.reshape(shape)
