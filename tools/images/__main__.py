"""The program: python -m tools.images --target cpu --folder FOLDER [--build-context wheels=FOLDER]."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.images.build import Build, say
from tools.images.dockerfile import DockerfileError, parse
from tools.images.trial import checks, report, sizes

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAMS = ("debootstrap", "chroot", "mount", "unshare", "git", "tar")


def main() -> int:
    """Build and try a target; return 0 if all checks passed and it is not too large, 1 if not, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m tools.images", description=sys.modules["tools.images"].__doc__)
    parser.add_argument("--target", default="cpu", help="target of the Dockerfile (default: cpu)")
    parser.add_argument("--folder", type=Path, required=True, help="folder for the stages; must not exist")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--build-context", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--most-bytes", type=int, default=2_000_000_000, help="size of the image that is too large")
    given = parser.parse_args()
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        say(
            f"python -m tools.images: needs root, and the programs {', '.join(_PROGRAMS)}; missing: {missing or 'root'}"
        )
        return 2
    if given.folder.exists():
        say(f"python -m tools.images: {given.folder} exists; give a new folder")
        return 2
    contexts = {name: Path(folder) for name, _, folder in (each.partition("=") for each in given.build_context)}
    arguments = dict(each.partition("=")[::2] for each in given.build_arg)
    given.folder.mkdir(parents=True)
    try:
        instructions = parse((_ROOT / "Dockerfile").read_text(encoding="utf-8"))
        stage = Build(given.folder.absolute(), _ROOT, arguments, contexts).target(instructions, given.target)
    except DockerfileError as error:
        say(f"python -m tools.images: {error}")
        return 2
    except subprocess.CalledProcessError as error:
        say(f"python -m tools.images: a step failed: {error}\n{error.stdout}\n{error.stderr}")
        return 1
    found = sizes(stage)
    tried = list(checks(stage, given.folder.absolute() / ".trial"))
    sys.stdout.write(report(given.target, stage, found, tried) + "\n")
    too_large = found["total"] > given.most_bytes
    if too_large:
        say(f"The image has {found['total']:,} bytes, more than {given.most_bytes:,}")
    return 1 if too_large or not all(each.passed for each in tried) else 0


if __name__ == "__main__":
    sys.exit(main())
