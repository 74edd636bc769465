"""Runs a program in a folder as if it were the root file system, in mounts of its own that end with it."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Mount:
    """A folder or file `source` of this machine at `target` in the root file system, which must not have it yet."""

    source: Path
    target: str


@dataclass(frozen=True)
class Root:
    """A folder to run programs in.

    `user` is UID:GID, `folder` the working directory in it. With `read_only`, only mounts and /tmp can be written.
    """

    path: Path
    environment: Mapping[str, str]
    user: str = "0:0"
    folder: str = "/"
    read_only: bool = False
    mounts: Sequence[Mount] = field(default_factory=tuple)

    def run(self, program: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program and return what it printed. Raises CalledProcessError unless `check` is false."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        entered = f"cd {shlex.quote(self.folder)} && exec {shlex.join(program)}"
        inner = ["chroot", f"--userspec={self.user}", "--groups=", str(self.path)]
        inner += ["/usr/bin/env", "-i", *variables, "/bin/sh", "-c", entered]
        script = "\n".join(["set -e", *self._mounting(), f"exec {shlex.join(inner)}"])
        return subprocess.run(
            ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script],
            capture_output=True,
            text=True,
            check=check,
        )

    def _mounting(self) -> list[str]:
        """Return the commands that make the mounts."""
        at = shlex.quote(str(self.path))
        commands = [f"mount --bind {at} {at}"]
        for mount in self.mounts:
            target = shlex.quote(str(self.path / mount.target.lstrip("/")))
            kind = "mkdir -p" if mount.source.is_dir() else f"mkdir -p $(dirname {target}) && touch"
            commands.append(f"{kind} {target}")
        if self.read_only:
            commands.append(f"mount -o remount,bind,ro {at}")
        commands += [f"mount -t proc proc {at}/proc", f"mount --bind /dev {at}/dev", f"mount -t tmpfs tmpfs {at}/tmp"]  # noqa: S108 - of the root file system
        for mount in self.mounts:
            target = shlex.quote(str(self.path / mount.target.lstrip("/")))
            commands.append(f"mount --bind {shlex.quote(str(mount.source))} {target}")
        return commands
