"""A network's PyTorch module with its weights: loaded strictly, without its classifier, BatchNorm folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from reeldex.extractors import other_networks
from reeldex.extractors import weights as weight_files
from reeldex.extractors.batch_norms import fold_batch_norms
from reeldex.extractors.errors import InvalidExtractorError, WeightsError
from reeldex.extractors.file_hashes import sha256_of_file
from reeldex.extractors.options import NetworkOptions, WeightsChoice
from reeldex.extractors.random_weights_cache import cached_random_state
from reeldex.extractors.registry import HOWTO100M_EXTRACTORS

if TYPE_CHECKING:
    from pathlib import Path

    from reeldex.extractors.registry import ExtractorRecord

# By the number of their axes.
_MEMORY_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def load_module(record: ExtractorRecord, options: NetworkOptions) -> tuple[nn.Module, str]:
    """Return the network without its classifier, in evaluation mode, and the SHA-256 of its weights.

    Raises WeightsError, and InvalidExtractorError for a network of another package that is not as its record says.
    """
    is_other = record.spec.name not in HOWTO100M_EXTRACTORS
    module = other_networks.built(record) if is_other else _built(record)
    if options.weights is WeightsChoice.RANDOM:
        state, sha256 = _random_state(module, record, options)
    else:
        path = weight_files.find_or_fetch(record.pretrained, options.weights_file, options.weights_folder)
        state = _renamed(weight_files.load_state(path), record)
        sha256 = sha256_of_file(path)
        _require_fit(module, state, path)
        # Half precision becomes float32; indices stay what they are.
        types = {name: value.dtype for name, value in module.state_dict().items()}
        state = {name: value.to(types[name]) for name, value in state.items()}
    module.load_state_dict(state, strict=True, assign=True)
    module.fc = nn.Identity()
    module.eval()
    if is_other:
        module = other_networks.folded(module, record.spec)
    else:
        fold_batch_norms(module)
    for value in (*module.parameters(), *module.buffers()):
        if value.dim() in _MEMORY_FORMATS:
            value.data = value.data.to(memory_format=_MEMORY_FORMATS[value.dim()])
    return module, sha256


def _built(record: ExtractorRecord) -> nn.Module:
    with torch.device("meta"):  # initial values would be overwritten
        return record.build()


def _random_state(
    module: nn.Module, record: ExtractorRecord, options: NetworkOptions
) -> tuple[dict[str, torch.Tensor], str]:
    """Return random floating-point parameters, zeros for integer and boolean ones, and the SHA-256 of the former."""
    wanted = module.state_dict()
    integers = {name for name, value in wanted.items() if not value.is_floating_point()}
    shapes = {
        name: tuple(value.shape)
        for name, value in wanted.items()
        if name not in integers or name.endswith("num_batches_tracked")
    }
    state, sha256 = cached_random_state(record.spec.name, shapes, record.branch_gain_suffixes, options.weights_folder)
    zeros = {name: torch.zeros(wanted[name].shape, dtype=wanted[name].dtype) for name in integers if name not in shapes}
    return {**state, **zeros}, sha256


def _renamed(loaded: dict[str, torch.Tensor], record: ExtractorRecord) -> dict[str, torch.Tensor]:
    """Return a checkpoint under the network's own names. Raises InvalidExtractorError."""
    try:
        state = {record.own_name(name): value for name, value in loaded.items()}
    except Exception as error:  # code of another package, which may raise anything
        raise InvalidExtractorError(
            f"`own_name` of {record.spec.name} cannot rename the parameters of its weights ({type(error).__name__}: "
            f"{error}). Correct it."
        ) from error
    if len(state) < len(loaded):
        raise InvalidExtractorError(f"`own_name` of {record.spec.name} gives several parameters one name. Correct it.")
    return state


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
            f"The weights in {path} do not match the network: {'; '.join(faults[:5])}"
            f"{f' and {len(faults) - 5} more' if len(faults) > 5 else ''}. Give a checkpoint of this network."
        )
