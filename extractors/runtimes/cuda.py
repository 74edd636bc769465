"""Networks computed by PyTorch on a CUDA device, several batches in flight.

A batch is copied from pinned memory on a stream of its own, normalised on the device, and computed while the next ones
are copied. In half precision the network is rewritten (`fused.py`), and a shape that occurs often is replayed as a CUDA
graph: the same kernels, so the same bytes, without the time to launch each.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from reeldex.extractors.fingerprint import fingerprint
from reeldex.extractors.options import Precision
from reeldex.extractors.preprocess import Normalisation
from reeldex.extractors.runtimes.halving import in_fitting_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reeldex.extractors.spec import ExtractorSpec

log = logging.getLogger(__name__)

_BATCHES_IN_FLIGHT = 3
# Batches of one shape before it is captured as a graph, which takes as long as some batches; and the most graphs, each
# of which has an input of its own.
_CAPTURE_AFTER = 3
_MOST_GRAPHS = 16


# The settings below are those of the process, and PyTorch captures one graph at a time.
_ARITHMETIC = threading.RLock()


@contextlib.contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Set how cuDNN and cuBLAS compute: float32 without TF32 unless asked for, each batch by the same algorithm.

    One thread at a time.
    """
    tf32 = precision is Precision.TF32
    _ARITHMETIC.acquire()
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    matmul_before = matmul.allow_tf32
    matmul.allow_tf32 = tf32
    try:
        with cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32):
            yield
    finally:
        matmul.allow_tf32 = matmul_before
        _ARITHMETIC.release()


class CudaNetwork:
    """A network on a CUDA device; see `Network`.

    `module` turns (B, 3, H, W) or (B, 3, T, H, W) input of `dtype`, channels-last, into (B, D) features; `kernels`
    names what computes them, for `runtime`, if that is not PyTorch alone.
    """

    def __init__(  # noqa: PLR0913 - the parts that `load` assembles
        self,
        spec: ExtractorSpec,
        module: nn.Module,
        *,
        device: torch.device,
        precision: Precision,
        dtype: torch.dtype,
        batch_rows: int,
        space: str,
        weights_sha256: str,
        kernels: str = "",
    ) -> None:
        self.spec = spec
        self.device = str(device)
        self.runtime = f"torch {torch.__version__}{f', {kernels}' if kernels else ''}"
        self.precision = precision
        self.batch_rows = batch_rows
        self.batches_in_flight = _BATCHES_IN_FLIGHT
        self.space = space
        self.fingerprint: dict[str, Any] = fingerprint(spec, weights_sha256, precision)
        self._dtype = dtype
        self._module = module
        self._normalisation = Normalisation(spec, device)
        self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._computations = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graphs = _Graphs(self._computations)

    def new_batch(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return an array for a batch, not initialised, in pinned memory: it is copied to the device at full speed."""
        pinned: NDArray[np.uint8] = torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()
        return pinned

    def raw_features(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (B, D) float32 features of (B, T, H, W, 3) uint8 clips, pooled but not normalised."""
        with torch.cuda.device(self.device), torch.inference_mode(), arithmetic(self.precision):
            on_device = torch.from_numpy(np.ascontiguousarray(clips)).to(self.device)
            raw: NDArray[np.float32] = self._raw(on_device).cpu().numpy()
        return raw

    def submit(self, clips: NDArray[np.uint8]) -> _Submitted:
        """Start computing the features of (B, T, H, W, 3) uint8 clips.

        A batch too large for the device's memory is halved, and so are later batches.
        """
        with torch.cuda.device(self.device), torch.inference_mode(), arithmetic(self.precision):
            return _Submitted(in_fitting_parts(self, clips, self._start, self._free))

    def features(self, clips: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return (B, D) float16 features of (B, T, H, W, 3) uint8 clips, each row L2-normalised."""
        return self.submit(clips).wait()

    def _free(self) -> None:
        torch.cuda.synchronize(self.device)
        self._graphs.clear()
        torch.cuda.empty_cache()

    def _start(self, clips: NDArray[np.uint8]) -> _Part:
        """Start computing at most `batch_rows` clips; always that many are computed, so that shapes do not vary."""
        count, clips = len(clips), np.ascontiguousarray(clips)
        if count < self.batch_rows:
            padded = self.new_batch((self.batch_rows, *clips.shape[1:]))
            padded[:count], padded[count:] = clips, 0
            clips = padded
        with torch.cuda.stream(self._copies):
            on_device = torch.from_numpy(clips).to(self.device, non_blocking=True)
        self._computations.wait_stream(self._copies)
        with torch.cuda.stream(self._computations):
            on_device.record_stream(self._computations)
            rows = self._graphs.run(on_device, self._forward)
            on_host = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
            on_host.copy_(rows, non_blocking=True)
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record()
        return _Part(count, clips, on_host, done)

    def _raw(self, clips: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self._module(self._normalisation(clips, self._dtype))
        return features.float()

    def _forward(self, clips: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self._raw(clips), dim=1).half()


_Forward = Callable[[torch.Tensor], torch.Tensor]


class _Graphs:
    """Captured computations by the shape of their input, replayed on one stream."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self._stream = stream
        # Graphs run one after the other, and their rows are copied at once: they share their memory.
        self._pool = torch.cuda.graph_pool_handle()
        self._seen: dict[tuple[int, ...], int] = {}
        self._captured: dict[tuple[int, ...], _Captured] = {}
        self._most = _MOST_GRAPHS

    def run(self, clips: torch.Tensor, forward: _Forward) -> torch.Tensor:
        """Compute the rows of `clips`, on the current stream, which is that of the constructor."""
        captured = self._captured.get(tuple(clips.shape)) or self._captured_now(clips, forward)
        if captured is None:
            return forward(clips)
        captured.clips.copy_(clips)
        captured.graph.replay()
        return captured.rows.clone()

    def clear(self) -> None:
        """Forget all graphs and free their memory."""
        self._seen.clear()
        self._captured.clear()
        self._pool = torch.cuda.graph_pool_handle()

    def _captured_now(self, clips: torch.Tensor, forward: _Forward) -> _Captured | None:
        """Capture the shape of `clips` if it has occurred often; return None if it is computed without a graph."""
        shape = tuple(clips.shape)
        self._seen[shape] = self._seen.get(shape, 0) + 1
        if self._seen[shape] <= _CAPTURE_AFTER or len(self._captured) >= self._most:
            return None
        try:
            captured = self._captured[shape] = self._capture(clips, forward)
        except RuntimeError as error:
            self._most = len(self._captured)
            log.warning("No further CUDA graphs are captured, since that failed: %s", error)
            return None
        return captured

    def _capture(self, clips: torch.Tensor, forward: _Forward) -> _Captured:
        static = torch.empty_like(clips)
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads may use CUDA meanwhile: those of a program that uses this one.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            rows = forward(static)
        return _Captured(graph, static, rows)


@dataclass(frozen=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    clips: torch.Tensor
    rows: torch.Tensor


@dataclass(frozen=True)
class _Part:
    """`count` rows that are being computed. It keeps its clips alive, which are being copied."""

    count: int
    clips: NDArray[np.uint8]
    rows: torch.Tensor
    done: torch.cuda.Event


@dataclass(frozen=True)
class _Submitted:
    """The rows of a batch, computed in one or several parts."""

    parts: list[_Part] = field(default_factory=list)

    def wait(self) -> NDArray[np.float16]:
        """Return (B, D) float16 features, each row L2-normalised, once they are computed."""
        for part in self.parts:
            part.done.synchronize()
        rows: NDArray[np.float16] = np.concatenate([part.rows.numpy()[: part.count] for part in self.parts])
        return rows

    def discard(self) -> None:
        """Wait until the device no longer reads the clips, and forget the rows or the error that they ended in."""
        with contextlib.suppress(RuntimeError):
            for part in self.parts:
                part.done.synchronize()
