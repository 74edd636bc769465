"""Which devices there are to compute on."""

from __future__ import annotations

import torch

from reeldex.extractors.errors import DeviceError


def resolve_device(device: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:N`. Raises DeviceError if it is not there."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
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
    count = torch.cuda.device_count()
    if choice == "cuda" or (choice == "auto" and count):
        resolve_device("cuda:0")
        return tuple(f"cuda:{index}" for index in range(count))
    if choice == "auto":
        return ("cpu",)
    return tuple(str(resolve_device(name)) for name in choice.split(","))
