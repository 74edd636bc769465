"""How to load an extractor, as values that are cheap to import."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Precision(StrEnum):
    """Arithmetic of the network. AUTO: float32 on a CPU, half precision on CUDA where it is close enough."""

    AUTO = "auto"
    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"


class Runtime(StrEnum):
    """What computes the networks. AUTO: OpenVINO on a CPU, PyTorch on CUDA."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"


class WeightsChoice(StrEnum):
    """PRETRAINED: the published weights. RANDOM: made-up ones, for trying things out."""

    PRETRAINED = "pretrained"
    RANDOM = "random"


@dataclass(frozen=True)
class NetworkOptions:
    """How to load an extractor; see the fields of the same names in `pipeline.yaml`."""

    weights: WeightsChoice = WeightsChoice.PRETRAINED
    weights_file: Path | None = None
    weights_folder: Path | None = None
    device: str = "auto"
    precision: Precision = Precision.AUTO
    runtime: Runtime = Runtime.AUTO
    cache_folder: Path | None = None
    batch_rows: int | None = None

    def __post_init__(self) -> None:
        # Plain strings are taken too, and refused if they name no choice.
        object.__setattr__(self, "weights", WeightsChoice(self.weights))
        object.__setattr__(self, "precision", Precision(self.precision))
        object.__setattr__(self, "runtime", Runtime(self.runtime))
        if self.batch_rows is not None and self.batch_rows < 1:
            raise ValueError(f"batch_rows must be at least 1, not {self.batch_rows}")
