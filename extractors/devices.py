"""Which devices there are to compute on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.extractors.errors import DeviceError

if TYPE_CHECKING:
    import torch

# What a machine has whose driver serves PyTorch's CUDA builds: NVIDIA's, under WSL too, or AMD's.
_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


def has_cuda() -> bool:
    """Whether PyTorch can compute on a CUDA device here. Without a driver for one, PyTorch need not be imported."""
    if not any(Path(driver).exists() for driver in _DRIVERS):
        return False
    import torch

    return torch.cuda.is_available()


def resolve_device(device: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:N`. Raises DeviceError if it is not there."""
    import torch

    if device == "auto":
        device = "cuda" if has_cuda() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"{device!r} is no device. Use auto, cpu, cuda or cuda:N.") from error
    if resolved.type not in ("cpu", "cuda"):
        raise DeviceError(f"The device {device!r} is not supported. Use auto, cpu, cuda or cuda:N.")
    if resolved.type == "cuda":
        count = torch.cuda.device_count()
        if (resolved.index or 0) >= count:
            raise DeviceError(
                f"There is no device {device!r}: PyTorch sees {count} CUDA device(s) here. Use --device cpu or auto."
            )
    return resolved


def usable_devices(choice: str) -> tuple[str, ...]:
    """Return the devices to spread work over: for `auto` and `cuda` every CUDA device, else those that are named.

    `auto` is the CPU where there is no CUDA device; names are separated by commas. Raises DeviceError for a
    device that is not there.
    """
    if choice == "cpu" or (choice == "auto" and not has_cuda()):
        return ("cpu",)
    import torch

    if choice in ("auto", "cuda"):
        resolve_device("cuda:0")
        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    return tuple(str(resolve_device(name)) for name in choice.split(","))
