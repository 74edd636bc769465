"""PyTorch modules converted to OpenVINO models, which are kept on disk: reading one takes a fraction of a second.

A kept model is a folder of its own, named by a hash of all that it was made from. It has its final name only when it is
complete, and its bytes are checked against their SHA-256 before they are used; one that differs is converted anew.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import shutil
import uuid
import warnings
from typing import TYPE_CHECKING, Any

import platformdirs

from reeldex.extractors import weights as weight_files
from reeldex.extractors.errors import WeightsError
from reeldex.extractors.file_hashes import sha256_of_file
from reeldex.extractors.options import NetworkOptions, WeightsChoice
from reeldex.extractors.random_weights_cache import RANDOM_WEIGHTS_RULE

if TYPE_CHECKING:
    from pathlib import Path

    import openvino
    from torch import nn

    from reeldex.extractors.registry import ExtractorRecord
    from reeldex.extractors.spec import ExtractorSpec

log = logging.getLogger(__name__)

# Counts up when the way of converting changes.
_FORMAT = 1
_MOST_REASON = 500  # characters of OpenVINO's own message
_MODEL, _WEIGHTS, _RECORD = "model.xml", "model.bin", "model.json"


class ConversionError(Exception):
    """OpenVINO cannot express a network. The message names the network and OpenVINO's reason."""


def converted_model(record: ExtractorRecord, options: NetworkOptions) -> tuple[openvino.Model, str]:
    """Return the network of a record as a model, and the SHA-256 of its weights; from disk if it is kept there.

    Raises WeightsError as loading weights does, and ConversionError.
    """
    folder = kept_folder(options.converted_folder or default_folder(), record.spec, _weights_identity(record, options))
    kept = _read_kept(folder)
    if kept is not None:
        return kept
    from reeldex.extractors.modules import load_module

    log.info("Converting %s for OpenVINO, once", record.spec.name)
    module, weights_sha256 = load_module(record, options)
    model = convert(module, record.spec)
    _keep(model, weights_sha256, folder)
    return model, weights_sha256


def default_folder() -> Path:
    """Return the folder of converted networks; XDG_CACHE_HOME moves it."""
    try:
        return platformdirs.user_cache_path("reeldex") / "openvino"
    except RuntimeError as error:
        raise WeightsError("This user has no home folder. Set XDG_CACHE_HOME to a folder for caches.") from error


def kept_folder(folder: Path, spec: ExtractorSpec, weights: str) -> Path:
    """Return where the converted network of a spec is kept below `folder`; `weights` tells its weights from others."""
    made_from = {
        "format": _FORMAT,
        "definition": spec.definition(),
        "weights": weights,
        "openvino": importlib.metadata.version("openvino"),
        "torch": importlib.metadata.version("torch"),
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
    """Return the model kept in a folder and the SHA-256 of its weights; None if they are not what was written there."""
    import openvino

    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        weights_sha256 = str(record["weights_sha256"])
        damaged = [name for name in (_MODEL, _WEIGHTS) if sha256_of_file(folder / name) != record[name]]
    except OSError:
        return None  # not there yet, or it cannot be read: converting takes longer and gives the same
    except (ValueError, KeyError, TypeError):
        damaged = [_RECORD]
    if not damaged:
        try:
            return openvino.Core().read_model(folder / _MODEL), weights_sha256
        except RuntimeError:  # removed in between, or not readable by this OpenVINO
            damaged = [_MODEL]
    log.warning("%s is damaged; the network is converted again", folder / damaged[0])
    return None


def _keep(model: openvino.Model, weights_sha256: str, folder: Path) -> None:
    """Write a model to its folder, completely or not at all; another process may do the same at the same time."""
    import openvino

    unfinished = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.partial")
    try:
        unfinished.mkdir(parents=True)
        openvino.save_model(model, unfinished / _MODEL, compress_to_fp16=False)
        record = {name: sha256_of_file(unfinished / name) for name in (_MODEL, _WEIGHTS)}
        text = json.dumps({**record, "weights_sha256": weights_sha256})
        (unfinished / _RECORD).write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            unfinished.rename(folder)
        except OSError:
            if _read_kept(folder) is None:  # else another process was faster
                raise
    except (OSError, RuntimeError) as error:  # OpenVINO raises the latter for a full disk
        # Nothing depends on it but the time that the next start takes.
        log.warning("The converted network could not be kept in %s: %s", folder.parent, error)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


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
            # OpenVINO traces the module, a way of PyTorch's that PyTorch warns of.
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            frontend = FrontEndManager().load_by_framework("pytorch")
            # Named, for the loaded model does not keep it alive.
            decoder = TorchScriptPythonDecoder(module, example_input=(example,))
            model = frontend.convert(frontend.load(decoder))
        sides = (side, side) if spec.centre_crop else (-1, -1)
        model.reshape({0: openvino.PartialShape([-1, 3, *frames, *sides])})
        return _with_normalisation(model, spec)
    except Exception as error:
        # OpenVINO's message is many lines, of which the first name places in its sources.
        reason = " ".join(str(error).split())
        raise ConversionError(f"OpenVINO cannot compute {spec.name}: {reason[:_MOST_REASON]}") from error


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
