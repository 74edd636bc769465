"""Maps HDR pictures (PQ and HLG) to BT.709, by a table of colours that ffmpeg's filter `lut3d` applies.

The table is computed here and not by filters of ffmpeg (`zscale`, `tonemap`), which not every ffmpeg has and whose
results may differ between versions. Light is relative to the reference white of HDR, 203 cd/m2 (ITU-R BT.2408): up to
three quarters of it is kept, what is brighter is compressed into the last quarter.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reeldex.errors import PermanentFaultError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reeldex.extractors.colour import Colour

REFERENCE_WHITE = 203.0  # cd/m2
PEAK = 1000.0  # cd/m2: brighter light is white
_KNEE = 0.75  # of the reference white: darker light is kept
_NODES = 64  # on each axis of the table; ffmpeg 4.2 admits no more
_HLG_SYSTEM_GAMMA = 1.2  # of a display with a peak of 1000 cd/m2 (BT.2100)

_WRITING = threading.Lock()

# Chromaticities x, y of red, green, blue and white.
_D65 = (0.3127, 0.3290)
_PRIMARIES = {
    "bt709": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    "smpte432": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    "smpte431": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
}


def pq_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the light in cd/m2 of PQ signals in 0..1 (SMPTE ST 2084)."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = np.clip(signal, 0, 1) ** (1 / m2)
    light: NDArray[np.float64] = 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return light


def hlg_light(signal: NDArray[np.float64], luminance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the light in cd/m2 of HLG signals (..., 3) in 0..1 on a display with a peak of 1000 cd/m2 (BT.2100).

    `luminance` (3,) are the shares of red, green and blue in the luminance.
    """
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    brightness = np.maximum(scene @ luminance, 1e-9)[..., None]
    light: NDArray[np.float64] = PEAK * brightness ** (_HLG_SYSTEM_GAMMA - 1) * scene
    return light


def compressed(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return light relative to the reference white, in 0..1: unchanged up to the knee, the peak becomes 1."""
    above = np.maximum(light - _KNEE, 0) / (1 - _KNEE)
    peak = (PEAK / REFERENCE_WHITE - _KNEE) / (1 - _KNEE)
    above = np.minimum(above, peak)
    relative: NDArray[np.float64] = np.minimum(light, _KNEE) + (1 - _KNEE) * above * (1 + above / peak**2) / (1 + above)
    return relative


def to_bt709(signal: NDArray[np.float64], transfer: str, primaries: str) -> NDArray[np.float64]:
    """Return BT.709 signals (..., 3) in 0..1 of PQ or HLG signals (..., 3) in 0..1."""
    to_xyz = _rgb_to_xyz(primaries)
    light = pq_light(signal) if transfer == "smpte2084" else hlg_light(signal, to_xyz[1])
    relative = light / REFERENCE_WHITE
    # All three by the factor of the largest, which keeps the hue.
    largest = np.maximum(relative.max(axis=-1, keepdims=True), 1e-9)
    relative = relative * compressed(largest) / largest
    linear = np.clip(relative @ (np.linalg.inv(_rgb_to_xyz("bt709")) @ to_xyz).T, 0, 1)
    signals: NDArray[np.float64] = np.where(linear < 0.018, 4.5 * linear, 1.099 * linear**0.45 - 0.099)
    return signals


def table_file(colour: Colour) -> str:
    """Return the path of the table for a stream's transfer and primaries, written again if it was deleted.

    A process may live longer than what it wrote to the folder for temporary files.

    Raises PermanentFaultError if no temporary file can be written.
    """
    primaries = colour.primaries if colour.primaries in _PRIMARIES else "bt2020"
    with _WRITING:  # decoders are threads, and none may be given a file that another one is still writing
        try:
            return _present_table(colour.transfer or "", primaries or "bt2020")
        except OSError as error:
            raise PermanentFaultError(
                f"The table of colours of tone mapping cannot be written to the folder for temporary files "
                f"({error}). Make that folder writable, or name another one in the environment variable TMPDIR."
            ) from error


def _present_table(transfer: str, primaries: str) -> str:
    if not Path(_folder()).is_dir() or not Path(path := _table_file(transfer, primaries)).is_file():
        _table_file.cache_clear()
        _folder.cache_clear()
        path = _table_file(transfer, primaries)
    return path


@functools.lru_cache
def _table_file(transfer: str, primaries: str) -> str:
    axis = np.linspace(0, 1, _NODES)
    # Red varies fastest in the format .cube.
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    values = to_bt709(np.stack([red, green, blue], axis=-1), transfer, primaries).reshape(-1, 3)
    rows = "".join(f"{r:.6f} {g:.6f} {b:.6f}\n" for r, g, b in values)
    path = Path(_folder()) / f"{transfer}-{primaries}.cube"
    path.write_text(f"LUT_3D_SIZE {_NODES}\n{rows}", encoding="ascii")
    return str(path)


@functools.cache
def _folder() -> str:
    folder = tempfile.mkdtemp(prefix="reeldex-tone-map-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _rgb_to_xyz(primaries: str) -> NDArray[np.float64]:
    """Return the (3, 3) matrix from linear RGB to XYZ, both white at Y = 1, without adapting the white point."""
    *corners, white = [np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in _PRIMARIES[primaries]]
    columns = np.stack(corners, axis=1)
    return columns * np.linalg.solve(columns, white)
