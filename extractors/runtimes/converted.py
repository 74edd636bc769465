"""PyTorch modules converted to OpenVINO models, cached on disk: reading one takes a fraction of a second.

A cached model is a folder, named by a hash of everything it was made from. It gets its final name only when complete,
and its bytes are checked against their SHA-256 before use; a model that differs is converted again. Models that have
not been used for 30 days are removed when another one is written.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import re
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from reeldex.cached_files import UNUSED_SECONDS, last_used, mark_used, published, remove
from reeldex.extractors import weights as weight_files
from reeldex.extractors.file_hashes import sha256_of_file
from reeldex.extractors.options import NetworkOptions, WeightsChoice
from reeldex.extractors.random_weights_cache import RANDOM_WEIGHTS_RULE
from reeldex.extractors.registry import HOWTO100M_EXTRACTORS
from reeldex.extractors.runtimes.network import LEAST_COSINE, least_cosine, normalised, probe_clips
from reeldex.user_folders import cache_folder

if TYPE_CHECKING:
    from pathlib import Path

    import openvino
    from torch import nn

    from reeldex.extractors.registry import ExtractorRecord
    from reeldex.extractors.spec import ExtractorSpec

log = logging.getLogger(__name__)

# Incremented when the conversion changes.
_FORMAT = 1
_MOST_REASON = 500  # characters of OpenVINO's message
_OUR_NAME = re.compile(r"\w+-[0-9a-f]{16}")
_MODEL, _WEIGHTS, _RECORD = "model.xml", "model.bin", "model.json"


class ConversionError(Exception):
    """OpenVINO cannot convert a network. The message names the network and OpenVINO's reason."""


def converted_model(record: ExtractorRecord, options: NetworkOptions) -> tuple[openvino.Model, str]:
    """Return the network of a record as a model, and the SHA-256 of its weights; from disk if cached.

    Raises WeightsError as loading weights does, and ConversionError.
    """
    kept_in = options.converted_folder or default_folder()
    folder = kept_folder(kept_in, record.spec, _weights_identity(record, options), record.code)
    kept = _read_kept(folder)
    if kept is not None:
        return kept
    from reeldex.extractors.modules import load_module

    log.info("Converting %s for OpenVINO, once", record.spec.name)
    module, weights_sha256 = load_module(record, options)
    model = convert(module, record.spec)
    if record.spec.name not in HOWTO100M_EXTRACTORS:
        _require_same(model, module, record.spec)
    _keep(model, weights_sha256, folder)
    return model, weights_sha256


def default_folder() -> Path:
    """Return the folder of converted networks; XDG_CACHE_HOME moves it."""
    return cache_folder("openvino")


def kept_folder(folder: Path, spec: ExtractorSpec, weights: str, code: str = "") -> Path:
    """Return the cache folder of a spec's converted network below `folder`.

    `weights` identifies its weights, and `code` that of a network of another package.
    """
    made_from = {
        "format": _FORMAT,
        "definition": spec.definition(),
        "weights": weights,
        "openvino": importlib.metadata.version("openvino"),
        "torch": importlib.metadata.version("torch"),
        **({"code": code} if code else {}),
    }
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    return folder / f"{spec.name}-{digest[:16]}"


def _weights_identity(record: ExtractorRecord, options: NetworkOptions) -> str:
    if options.weights is WeightsChoice.RANDOM:
        return f"random {RANDOM_WEIGHTS_RULE} {record.branch_gain_suffixes}"
    return weight_files.verify(
        weight_files.find_or_fetch(record.pretrained, options.weights_file, options.weights_folder)
    )


def _read_kept(folder: Path) -> tuple[openvino.Model, str] | None:
    """Return the model cached in a folder and the SHA-256 of its weights; None if missing or damaged."""
    import openvino

    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        weights_sha256 = str(record["weights_sha256"])
        damaged = [name for name in (_MODEL, _WEIGHTS) if sha256_of_file(folder / name) != record[name]]
    except OSError:
        return None  # missing or unreadable: converting again takes longer but gives the same result
    except (ValueError, KeyError, TypeError):
        damaged = [_RECORD]
    if not damaged:
        try:
            model = openvino.Core().read_model(folder / _MODEL)
        except RuntimeError:  # removed in between, or not readable by this OpenVINO
            damaged = [_MODEL]
        else:
            mark_used(folder / _RECORD)
            return model, weights_sha256
    log.warning("%s is damaged; the network is converted again", folder / damaged[0])
    return None


def _keep(model: openvino.Model, weights_sha256: str, folder: Path) -> None:
    """Write a model to its folder atomically; another process may do the same concurrently."""
    import openvino

    try:
        remove(folder)  # a damaged one
        with published(folder) as unfinished:
            unfinished.mkdir()
            openvino.save_model(model, unfinished / _MODEL, compress_to_fp16=False)
            record = {name: sha256_of_file(unfinished / name) for name in (_MODEL, _WEIGHTS)}
            text = json.dumps({**record, "weights_sha256": weights_sha256})
            (unfinished / _RECORD).write_text(text, encoding="utf-8")
    except (OSError, RuntimeError) as error:  # OpenVINO raises RuntimeError for a full disk
        if _read_kept(folder) is None:  # else another process was faster
            # Only the duration of the next start depends on it.
            log.warning("The converted network could not be cached in %s: %s", folder.parent, error)
    _remove_unused(folder)


def _remove_unused(written: Path) -> None:
    """Remove converted networks beside the one just written that have not been used for UNUSED_SECONDS."""
    oldest = time.time() - UNUSED_SECONDS
    for folder in written.parent.glob("*-*"):
        if folder != written and _OUR_NAME.fullmatch(folder.name) and last_used(folder / _RECORD) < oldest:
            log.info("Removing a converted network that is no longer used: %s", folder)
            remove(folder)


def convert(module: nn.Module, spec: ExtractorSpec) -> openvino.Model:
    """Return a module as a model that reads (B, H, W, 3) or (B, T, H, W, 3) uint8 clips of any size.

    It normalises as `preprocess.normalise` does. Raises ConversionError.
    """
    import openvino
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    frames = (spec.frames_per_clip,) if spec.frames_per_clip > 1 else ()
    side = spec.short_side_pixels
    example = torch.zeros(1, 3, *frames, side, side + side // 2 * (not spec.centre_crop))
    try:
        with warnings.catch_warnings():
            # OpenVINO traces the module, which is deprecated in PyTorch.
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            frontend = FrontEndManager().load_by_framework("pytorch")
            # A variable, since the loaded model does not keep it alive.
            # The check traces a second time and runs both: five times the work. The features of networks of other
            # packages are compared below, those of ours by tests.
            decoder = TorchScriptPythonDecoder(module, example_input=(example,), trace_kwargs={"check_trace": False})
            model = frontend.convert(frontend.load(decoder))
        sides = (side, side) if spec.centre_crop else (-1, -1)
        model.reshape({0: openvino.PartialShape([-1, 3, *frames, *sides])})
        return _with_normalisation(model, spec)
    except (MemoryError, OSError):
        raise  # a fault of the machine, which says nothing about the network
    except Exception as error:
        # Any error of OpenVINO's frontend or of tracing, whose classes are not documented: it is handed on.
        raise _cannot(spec, error) from error


def _require_same(model: openvino.Model, module: nn.Module, spec: ExtractorSpec) -> None:
    """Raise ConversionError if a model computes other features than the module that it was converted from.

    A conversion follows what the module computes for one clip. What its code decides by values or sizes is lost. Raises
    InvalidExtractorError for a module that cannot compute clips of such sizes.
    """
    import torch

    from reeldex.extractors import other_networks
    from reeldex.extractors.preprocess import normalise
    from reeldex.extractors.runtimes.openvino_core import core

    for height, width in {spec.input_size(*size): size for size in ((240, 320), (320, 240))}.values():
        clips = probe_clips(spec, height, width)
        expected = other_networks.features(module, normalise(torch.from_numpy(clips), spec), spec).numpy()
        if not np.isfinite(expected).all():
            return  # damaged weights, which the engine reports for each video
        try:
            compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            found = compiled({0: np.ascontiguousarray(clips[:, 0] if spec.frames_per_clip == 1 else clips)})[0]
        except RuntimeError as error:
            raise _cannot(spec, error) from error
        if found.shape != expected.shape or not least_cosine(normalised(expected), normalised(found)) >= LEAST_COSINE:
            raise ConversionError(f"OpenVINO computes other features of {spec.name} than PyTorch")


def _cannot(spec: ExtractorSpec, error: Exception) -> ConversionError:
    # OpenVINO's message has many lines; the first ones name its source files.
    reason = " ".join(str(error).split())
    return ConversionError(f"OpenVINO cannot compute {spec.name}: {reason[:_MOST_REASON]}")


def _with_normalisation(model: openvino.Model, spec: ExtractorSpec) -> openvino.Model:
    import openvino
    from openvino.preprocess import PrePostProcessor

    def layout(axes: str) -> Any:  # noqa: ANN401 - OpenVINO's types are not published
        return openvino.Layout(axes if spec.frames_per_clip > 1 else axes.replace("D", ""))

    processor = PrePostProcessor(model)
    clips = processor.input()
    clips.tensor().set_element_type(openvino.Type.u8).set_layout(layout("NDHWC"))
    clips.model().set_layout(layout("NCDHW"))
    steps = clips.preprocess().convert_element_type(openvino.Type.f32)
    if spec.pixel_divisor != 1:
        steps.scale(spec.pixel_divisor)
    steps.mean(list(spec.mean))
    steps.scale(list(spec.std))
    return processor.build()
