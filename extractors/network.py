"""An extractor ready to run: weights loaded, BatchNorm folded, on its device, in its precision."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from reeldex.extractors import weights as weight_files
from reeldex.extractors.devices import resolve_device
from reeldex.extractors.errors import DeviceError, WeightsError
from reeldex.extractors.file_hashes import sha256_of_file
from reeldex.extractors.fingerprint import fingerprint
from reeldex.extractors.options import NetworkOptions, Precision, WeightsChoice
from reeldex.extractors.preprocess import normalise
from reeldex.extractors.random_weights_cache import cached_random_state
from reeldex.extractors.registry import ExtractorRecord, extractor

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from reeldex.extractors.spec import ExtractorSpec

log = logging.getLogger(__name__)

# Rows a batch. On a CPU more gain next to nothing, and each odd frame size costs a filled-up batch; a GPU wants many.
_CPU_BATCH_ROWS = 2
_CUDA_BATCH_ROWS = 64
# Half precision counts as the same features only as long as they point the same way as float32's.
_LEAST_COSINE = 0.9999


class Network:
    """One extractor's network on one device.

    `space` is its feature space's name, `fingerprint` all that defines the numbers, as JSON values;
    `batch_rows` how many clips it takes at a time.
    """

    def __init__(  # noqa: PLR0913 - the parts that `load_network` puts together
        self,
        spec: ExtractorSpec,
        module: nn.Module,
        *,
        device: torch.device,
        precision: Precision,
        batch_rows: int,
        space: str,
        weights_sha256: str,
    ) -> None:
        self.spec = spec
        self.device = device
        self.precision = precision
        self.batch_rows = batch_rows
        self.space = space
        self.fingerprint: dict[str, Any] = fingerprint(spec, weights_sha256, precision)
        self._dtype = _DTYPES[precision]
        self._module = module.to(device=device, dtype=self._dtype)

    def raw_features(self, clips: NDArray[np.uint8]) -> torch.Tensor:
        """Return (B, D) float32 features of (B, T, H, W, 3) uint8 clips, pooled but not normalised."""
        with torch.inference_mode():
            on_device = torch.from_numpy(clips).to(self.device)
            features: torch.Tensor = self._module(normalise(on_device, self.spec).to(self._dtype))
            return features.float()

    def features(self, clips: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return (B, D) float16 features of (B, T, H, W, 3) uint8 clips, each row L2-normalised.

        A batch too large for the device's memory is halved, and later ones with it.
        """
        done: list[NDArray[np.float16]] = []
        while (start := sum(map(len, done))) < len(clips):
            part = clips[start : start + self.batch_rows]
            try:
                done.append(self._run(part))
                continue
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
            # Outside the handler, whose exception would keep the failed attempt's memory alive.
            self.batch_rows = len(part) // 2
            torch.cuda.empty_cache()
            log.warning(
                "%s: %d clips do not fit into the memory of %s; going on with %d at a time.",
                self.space,
                len(part),
                self.device,
                self.batch_rows,
            )
        return np.concatenate(done)

    def _run(self, clips: NDArray[np.uint8]) -> NDArray[np.float16]:
        features = nn.functional.normalize(self.raw_features(clips), dim=1)
        rows: NDArray[np.float16] = features.half().cpu().numpy()
        return rows


_DTYPES = {
    Precision.FP32: torch.float32,
    Precision.FP16: torch.float16,
    Precision.BF16: torch.bfloat16,
}


def load_network(name: str, options: NetworkOptions) -> Network:
    """Load the extractor `name`. Raises UnknownExtractorError, WeightsError or DeviceError."""
    record = extractor(name)
    device = resolve_device(options.device)
    module, sha256 = _load_module(record, options)

    def on_device(precision: Precision) -> Network:
        return Network(
            record.spec,
            module,
            device=device,
            precision=precision,
            batch_rows=options.batch_rows or (_CUDA_BATCH_ROWS if device.type == "cuda" else _CPU_BATCH_ROWS),
            space=record.space(options.weights),
            weights_sha256=sha256,
        )

    if options.precision in (Precision.FP16, Precision.BF16) and device.type != "cuda":
        raise DeviceError(
            f"Precision {options.precision} needs a CUDA device, and this run is on {device}. "
            "Use --precision fp32 or auto."
        )
    if options.precision is not Precision.AUTO:
        return on_device(options.precision)
    if device.type != "cuda":
        return on_device(Precision.FP32)
    # The module is one object: float32 must come first, before its weights are rounded.
    probe_clips = _probe_clips(record.spec)
    exact = on_device(Precision.FP32).features(probe_clips)
    half = on_device(Precision.FP16)
    cosine = least_cosine(exact, half.features(probe_clips))
    if cosine >= _LEAST_COSINE:
        return half
    log.warning("%s: half precision is only within cosine %.6f of float32, so float32 it is.", half.space, cosine)
    module, _ = _load_module(record, options)
    return on_device(Precision.FP32)


def least_cosine(first: NDArray[np.float16], second: NDArray[np.float16]) -> float:
    """Return the smallest cosine between rows of the same index of two (R, D) arrays."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / norms).min())


def _load_module(record: ExtractorRecord, options: NetworkOptions) -> tuple[nn.Module, str]:
    """Return the network without its classifier, in evaluation mode, and the SHA-256 of its weights."""
    with torch.device("meta"):  # values would only be overwritten
        module = record.build()
    if options.weights is WeightsChoice.RANDOM:
        shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
        state, sha256 = cached_random_state(
            record.spec.name, shapes, record.branch_gain_suffixes, options.weights_folder
        )
    else:
        path = weight_files.find_or_fetch(record.pretrained, options.weights_file, options.weights_folder)
        loaded = weight_files.load_state(path)
        state = {record.own_name(name): value.float() for name, value in loaded.items()}
        sha256 = sha256_of_file(path)
        _require_fit(module, state, path)
    module.load_state_dict(state, strict=True, assign=True)
    module.fc = nn.Identity()
    module.eval()
    fold_batch_norms(module)
    channels_last = torch.channels_last if record.spec.frames_per_clip == 1 else torch.channels_last_3d
    module.to(memory_format=channels_last)
    return module, sha256


def _require_fit(module: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    wanted = module.state_dict()
    faults = [f"{name} is missing" for name in wanted if name not in state]
    faults += [f"{name} is unknown" for name in state if name not in wanted]
    faults += [
        f"{name} is {tuple(state[name].shape)} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    if faults:
        raise WeightsError(
            f"The weights in {path} do not fit the network: {'; '.join(faults[:5])}"
            f"{f' and {len(faults) - 5} more' if len(faults) > 5 else ''}. Name the checkpoint of this very network."
        )


def fold_batch_norms(module: nn.Module) -> None:
    """Fold each BatchNorm that directly follows a convolution into it, in place, for evaluation only.

    "Follows" is read off the order in which a module registers its children, which for the networks here is
    the order of computation.
    """
    previous: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if (
            previous is not None
            and isinstance(previous[1], (nn.Conv2d, nn.Conv3d))
            and isinstance(child, (nn.BatchNorm2d, nn.BatchNorm3d))
            and previous[1].out_channels == child.num_features
        ):
            _fold(previous[1], child)
            setattr(module, name, nn.Identity())
        else:
            fold_batch_norms(child)
        previous = (name, child)


def _fold(convolution: nn.Conv2d | nn.Conv3d, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> None:
    """Fold a normalisation into its convolution, in place; PyTorch's `fuse_conv_bn_eval` copies all weights first."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None  # noqa: S101 - the networks here track statistics
    assert variance is not None  # noqa: S101
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias
    )


def _probe_clips(spec: ExtractorSpec) -> NDArray[np.uint8]:
    """Return clips (4, T, H, W, 3) uint8, noise of four grains, on which two precisions are compared."""
    height, width = spec.input_size(240, 320)
    generator = np.random.Generator(np.random.PCG64(0))
    clips = []
    for grain in (1, 4, 16, 64):
        coarse = generator.integers(
            0, 256, (spec.frames_per_clip, -(-height // grain), -(-width // grain), 3), np.uint8
        )
        clips.append(coarse.repeat(grain, axis=1).repeat(grain, axis=2)[:, :height, :width])
    return np.stack(clips)
