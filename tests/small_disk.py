"""A small disk of its own, which can be filled, made read-only and unmounted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted tmpfs of some kB at `folder`."""

    def __init__(self, folder: Path, kilobytes: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder))

    def resize(self, kilobytes: int) -> None:
        """Change its size."""
        _mount("-o", f"remount,size={kilobytes}k", str(self.folder))

    def make_read_only(self, *, read_only: bool = True) -> None:
        """Refuse all writes, or allow them again; not while a file is open for writing."""
        _mount("-o", f"remount,{'ro' if read_only else 'rw'}", str(self.folder))

    def unmount(self) -> None:
        """Leave an empty mount point, also while files are open."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)  # noqa: S607 - where the system has it


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)  # noqa: S607


def small_disk(folder: Path, kilobytes: int) -> Iterator[SmallDisk]:
    """Yield a disk that is unmounted afterwards; skips the test where this user may not mount one."""
    try:
        disk = SmallDisk(folder, kilobytes)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this user may not mount a file system: {error}")
    try:
        yield disk
    finally:
        while os.path.ismount(folder):
            disk.unmount()
