"""Networks computed by OpenVINO on a CPU, in float32.

The model is converted from the PyTorch module once and cached on disk (`converted.py`); later loads need no PyTorch.
Each batch is computed by one thread, and as many batches at a time as there are cores: threads do not wait for each
other, decoding can use any core, and a row's bytes depend on neither the number of cores nor other rows.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from reeldex.devices import usable_cores
from reeldex.extractors.fingerprint import fingerprint
from reeldex.extractors.options import NetworkOptions, Precision
from reeldex.extractors.runtimes.network import normalised
from reeldex.extractors.runtimes.openvino_core import core

if TYPE_CHECKING:
    import openvino
    from numpy.typing import NDArray

    from reeldex.extractors.registry import ExtractorRecord
    from reeldex.extractors.spec import ExtractorSpec

# The time per row does not depend on the batch size, so batches of one row avoid waiting.
_BATCH_ROWS = 1


class OpenVinoNetwork:
    """A network computed by OpenVINO; see `Network`."""

    def __init__(  # noqa: PLR0913 - the parts that `load` assembles
        self,
        spec: ExtractorSpec,
        model: openvino.Model,
        *,
        batch_rows: int,
        space: str,
        weights_sha256: str,
        cores: int,
    ) -> None:
        import openvino

        self.spec = spec
        self.device = "cpu"
        self.runtime = f"openvino {openvino.__version__.partition('-')[0]}"
        self.precision = Precision.FP32
        self.batch_rows = batch_rows
        # One more than are computed at a time, so that no core waits for this thread to submit the next.
        self.batches_in_flight = cores + 1
        self.space = space
        self.fingerprint: dict[str, Any] = fingerprint(spec, weights_sha256, Precision.FP32)
        settings = {
            "NUM_STREAMS": cores,
            "INFERENCE_NUM_THREADS": cores,
            # Two networks pinned to the same cores would leave others idle.
            "ENABLE_CPU_PINNING": False,
            # Otherwise processors with AMX compute in bfloat16, which is another precision.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._compiled = core().compile_model(model, "CPU", settings)
        # Requests that compute nothing at present. As many are made as are in flight at a time.
        self._free: list[openvino.InferRequest] = []

    def new_batch(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return an array for a batch, not initialised."""
        return np.empty(shape, np.uint8)

    def raw_features(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (B, D) float32 features of (B, T, H, W, 3) uint8 clips, pooled but not normalised."""
        return self.submit(clips).wait_raw()

    def submit(self, clips: NDArray[np.uint8]) -> _Computing:
        """Start computing the features of (B, T, H, W, 3) uint8 clips."""
        frames = np.ascontiguousarray(clips[:, 0] if self.spec.frames_per_clip == 1 else clips)
        try:
            request = self._free.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        request.start_async({0: frames}, share_inputs=True)
        return _Computing(request, frames, self._free)

    def features(self, clips: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return (B, D) float16 features of (B, T, H, W, 3) uint8 clips, each row L2-normalised."""
        parts = [clips[start : start + self.batch_rows] for start in range(0, len(clips), self.batch_rows)]
        return np.concatenate([self.submit(part).wait() for part in parts])


class _Computing:
    """A batch that is being computed. It keeps its clips alive, which OpenVINO reads in place."""

    def __init__(
        self,
        request: openvino.InferRequest,
        clips: NDArray[np.uint8],
        free: list[openvino.InferRequest],
    ) -> None:
        self._request, self._clips, self._free = request, clips, free

    def wait_raw(self) -> NDArray[np.float32]:
        """Return (B, D) float32 features once they are computed."""
        self._request.wait()
        raw: NDArray[np.float32] = self._request.get_output_tensor(0).data.copy()
        self._free.append(self._request)
        return raw

    def wait(self) -> NDArray[np.float16]:
        """Return (B, D) float16 features, each row L2-normalised, once they are computed."""
        return normalised(self.wait_raw())

    def discard(self) -> None:
        """Wait until the batch is computed, and forget its rows or the error that it ended in."""
        with contextlib.suppress(RuntimeError):
            self.wait_raw()


def load(record: ExtractorRecord, options: NetworkOptions) -> OpenVinoNetwork:
    """Return the network of a record on the CPU.

    Raises WeightsError, or ConversionError when OpenVINO cannot convert the network.
    """
    from reeldex.extractors.runtimes.converted import converted_model

    model, weights_sha256 = converted_model(record, options)
    return OpenVinoNetwork(
        record.spec,
        model,
        batch_rows=options.batch_rows or _BATCH_ROWS,
        space=record.space(options.weights),
        weights_sha256=weights_sha256,
        cores=usable_cores(),
    )
