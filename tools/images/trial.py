"""Uses a built image as a container uses it: as its user, on a read-only root file system, with volumes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.images.build import Stage
from tools.images.root import Mount, Root

_OTHER_USER = "12345:12345"
_CLIP_SECONDS = 4
# The largest folders are part of the report.
_FOLDERS = ("opt/torch", "opt/packages", "opt/app", "usr", "var")


@dataclass(frozen=True)
class Check:
    """What was tried in an image, whether it went well, and what was seen."""

    name: str
    passed: bool
    seen: str


def size_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder, each once, as the layers of an image hold them."""
    files: dict[tuple[int, int], int] = {}
    for at, _, names in os.walk(folder):
        for entry in (Path(at, name).lstat() for name in names):
            files[entry.st_dev, entry.st_ino] = entry.st_size
    return sum(files.values())


def sizes(stage: Stage) -> dict[str, int]:
    """Return the bytes of an image, as `total`, and those of its largest folders."""
    folders = {name: size_bytes(stage.root / name) for name in _FOLDERS if (stage.root / name).is_dir()}
    return {"total": size_bytes(stage.root), **folders}


def checks(stage: Stage, work: Path) -> Iterator[Check]:
    """Try an image, with volumes below `work`, and yield what was seen."""
    yield from _checks_as(stage, stage.user, work / "own")
    # As with `docker run --user`: an id that the image does not know.
    yield from _checks_as(stage, _OTHER_USER, work / "other")


def _checks_as(stage: Stage, user: str, work: Path) -> Iterator[Check]:
    videos = work / "videos"
    videos.mkdir(parents=True)
    volumes = [_volume(work, name, user) for name in stage.volumes]
    root = Root(
        stage.root, stage.environment, user, stage.folder, read_only=True, mounts=[*volumes, Mount(videos, "/mnt")]
    )
    (stage.root / "mnt").mkdir(exist_ok=True)
    os.chown(videos, *map(int, user.split(":")))
    ffmpeg = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=duration={_CLIP_SECONDS}:size=320x240:rate=25"]
    yield _check(f"{user}: Debian's ffmpeg makes a clip", root, [*ffmpeg, "/mnt/clip.mp4"])
    entry = [*stage.entrypoint]
    yield _refused(f"{user}: the root file system cannot be written", root, ["touch", "/opt/written"])
    yield _check(f"{user}: the entry point answers", root, [*entry, "--version"])
    extract = ["extract", "/mnt", "--store", "/store/features", "--weights", "random", "--device", "cpu", "--json"]
    yield _check(f"{user}: reeldex extract", root, [*entry, *extract], expected='"extracted_ok": 1,')
    yield _check(f"{user}: reeldex verify", root, [*entry, "verify", "/store/features"])
    if stage.health:
        yield _check(f"{user}: the health check", root, [*stage.health])
    gpu = "import torch; print('CUDA', torch.version.cuda)"
    yield _check(f"{user}: the build of PyTorch", root, ["python", "-c", gpu], expected="CUDA")


def _volume(work: Path, name: str, user: str) -> Mount:
    """Return a new volume, owned by the user as Docker makes it."""
    folder = work / "volumes" / name.lstrip("/")
    folder.mkdir(parents=True)
    os.chown(folder, *map(int, user.split(":")))
    return Mount(folder, name)


def _check(name: str, root: Root, program: list[str], expected: str = "") -> Check:
    done = root.run(program, check=False)
    return Check(name, done.returncode == 0 and expected in done.stdout, _last(done))


def _refused(name: str, root: Root, program: list[str]) -> Check:
    done = root.run(program, check=False)
    return Check(name, done.returncode != 0 and "Read-only file system" in done.stderr, _last(done))


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = [*done.stderr.splitlines(), *done.stdout.splitlines()] if done.returncode else done.stdout.splitlines()
    return " ".join(lines[-6:]).strip()[-400:]


def report(target: str, stage: Stage, found: Mapping[str, int], tried: list[Check]) -> str:
    """Return the report as JSON."""
    facts = {
        "target": target,
        "bytes": dict(found),
        "user": stage.user,
        "checks": [{"name": each.name, "passed": each.passed, "seen": each.seen} for each in tried],
    }
    return json.dumps(facts, indent=2)
