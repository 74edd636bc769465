"""The device of a computation: one check with one message for extraction, training, evaluation and search."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.errors import DeviceError

if TYPE_CHECKING:
    import torch

_NAMES = "Use auto, cpu, cuda or cuda:N."
# Device files of a driver for PyTorch's CUDA builds: NVIDIA's, also under WSL, or AMD's.
_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/kfd")


def has_driver() -> bool:
    """Whether this machine has a driver for PyTorch's CUDA devices."""
    return any(Path(driver).exists() for driver in _DRIVERS)


def has_cuda() -> bool:
    """Whether PyTorch can use a CUDA device on this machine. Without a driver, PyTorch is not imported."""
    if not has_driver():
        return False
    import torch

    return torch.cuda.is_available()


def resolve_device(wanted: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:N`. Raises DeviceError if it is not available."""
    import torch

    name = ("cuda" if has_cuda() else "cpu") if wanted == "auto" else wanted
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"{wanted!r} is not a device. {_NAMES}") from error
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"Device {wanted!r} is not supported. {_NAMES}")
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise _not_available(wanted, count)
    return device


def device_name(wanted: str) -> str:
    """Return the name of the device for `auto`, `cpu`, `cuda` or `cuda:N`. Raises DeviceError if it is not available.

    As `resolve_device`, without importing PyTorch where no driver is installed.
    """
    if wanted == "cpu" or (wanted == "auto" and not has_driver()):
        return "cpu"
    if wanted.partition(":")[0] == "cuda" and not has_driver():
        raise _not_available(wanted, 0)
    return str(resolve_device(wanted))


def _not_available(wanted: str, count: int) -> DeviceError:
    seen = f"{count} CUDA device{'' if count == 1 else 's'}"
    return DeviceError(f"Device {wanted!r} is not available: PyTorch sees {seen}. Use --device cpu or auto.")


def usable_devices(choice: str) -> tuple[str, ...]:
    """Return the devices to distribute work over: for `auto` and `cuda` every CUDA device, else the named ones.

    `auto` is the CPU if there is no CUDA device; names are separated by commas. Raises DeviceError for a
    device that is not available.
    """
    if choice == "cpu" or (choice == "auto" and not has_cuda()):
        return ("cpu",)
    if choice in ("auto", "cuda"):
        device_name("cuda:0")
        import torch

        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    return tuple(device_name(name) for name in choice.split(","))


def usable_cores(quota_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return the number of cores for this process: those of its affinity, or a container's CPU quota if lower."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = quota_file.read_text(encoding="ascii").split()
        return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return cores


def card(device: str) -> str:
    """Return the name of the card that a CUDA device is; the CPU and other devices as they are."""
    if not device.startswith("cuda"):
        return device
    import torch

    return torch.cuda.get_device_name(device)


def require_cuda(what: str, device: str, remedy: str) -> None:
    """Raise DeviceError unless `device` is a CUDA device; `what` needs one, `remedy` is the alternative."""
    if device.partition(":")[0] != "cuda":
        raise DeviceError(f"{what} needs a CUDA device, and this run is on {device}. {remedy}")
