"""Carries out the instructions of a Dockerfile in folders: FROM by debootstrap, RUN by chroot, COPY by cp."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tools.images.dockerfile import (
    DockerfileError,
    Instruction,
    copied_to,
    expand,
    from_of,
    in_context,
    stages_of,
)
from tools.images.root import Mount, Root

# A build reaches registries the way this machine does.
_NETWORK = re.compile(r".*_proxy|.*_PROXY")
_NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts")
_CERTIFICATES = "/run/certificates.crt"
# What the slim images of Debian leave out.
_SLIM = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian")


@dataclass(frozen=True)
class Stage:
    """A stage: its file system, and the settings that its instructions and those of its base have made."""

    root: Path
    environment: Mapping[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    )
    user: str = "0:0"
    folder: str = "/"
    volumes: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    health: tuple[str, ...] = ()


class Build:
    """Builds the stages of a Dockerfile below `folder`, from the repository in `context`.

    `arguments` are values of ARG, `contexts` folders that replace stages, as Docker's `--build-context` does.
    """

    def __init__(self, folder: Path, context: Path, arguments: Mapping[str, str], contexts: Mapping[str, Path]) -> None:
        self._folder = folder
        self._context = context
        self._arguments = dict(arguments)
        self._contexts = contexts
        self._stages: dict[str, Stage] = {}

    def target(self, instructions: Sequence[Instruction], name: str) -> Stage:
        """Return the built target. Raises DockerfileError, and CalledProcessError when a step fails."""
        wanted = stages_of(instructions, name)
        current = ""
        for each in instructions:
            if each.name == "ARG":
                argument, _, default = each.text.partition("=")
                self._arguments.setdefault(argument, default)
            elif each.name == "FROM":
                base, current = from_of(each)
                if current in wanted:
                    self._stages[current] = self._begin(expand(base, self._arguments), current)
            elif current in wanted:
                started = time.monotonic()
                self._stages[current] = self._carry_out(self._stages[current], each)
                say(f"{time.monotonic() - started:6.1f} s  {current}: {each.name} {each.text[:80]}")
        return self._stages[name]

    def _begin(self, base: str, name: str) -> Stage:
        root = self._folder / name
        if base in self._stages:
            parent = self._stages[base]
            run("cp", "--archive", "--reflink=auto", str(parent.root), str(root))
            return replace(parent, root=root)
        if name in self._contexts:
            return Stage(self._contexts[name])
        if base == "scratch":
            root.mkdir(parents=True)
            return Stage(root)
        match = re.fullmatch(r"debian:(\w+)(-slim)?", base)
        if match is None:
            raise DockerfileError(f"FROM {base}: only images of Debian can be made here")
        self._debootstrap(match[1], root, slim=bool(match[2]))
        return Stage(root)

    def _debootstrap(self, release: str, root: Path, *, slim: bool) -> None:
        """Make a file system of Debian, which is kept beside the folder for the next build."""
        kept = self._folder.parent / f"debian-{release}.tar"
        if not kept.exists():
            say(f"debootstrap {release}, kept as {kept}")
            fresh = self._folder / f".{release}"
            run("debootstrap", "--variant=minbase", release, str(fresh))
            run("tar", "--create", "--file", str(kept), "--directory", str(fresh), ".")
            shutil.rmtree(fresh)
        root.mkdir(parents=True)
        run("tar", "--extract", "--file", str(kept), "--directory", str(root))
        sources = root / "etc/apt/sources.list"
        mirror = sources.read_text(encoding="utf-8").split()[1]
        security = re.sub(r"debian/?$", "debian-security", mirror)
        lines = [f"deb {mirror} {release} main", f"deb {mirror} {release}-updates main"]
        sources.write_text("\n".join([*lines, f"deb {security} {release}-security main", ""]), encoding="utf-8")
        emptied = ["var/cache/apt", "var/lib/apt/lists", *(_SLIM if slim else ())]
        for entry in [entry for folder in emptied for entry in root.glob(f"{folder}/*")]:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        if slim:
            rules = "".join(f"path-exclude /{folder}/*\n" for folder in _SLIM)
            (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(rules, encoding="utf-8")

    def _carry_out(self, stage: Stage, each: Instruction) -> Stage:  # noqa: PLR0911 - one for each instruction
        match each.name:
            case "ENV":
                environment = dict(stage.environment)
                for name, value in (part.split("=", 1) for part in shlex.split(each.text)):
                    environment[name] = expand(value, dict(stage.environment))
                return replace(stage, environment=environment)
            case "USER":
                return replace(stage, user=each.text)
            case "WORKDIR":
                (stage.root / each.text.lstrip("/")).mkdir(parents=True, exist_ok=True)
                return replace(stage, folder=each.text)
            case "VOLUME":
                return replace(stage, volumes=(*stage.volumes, *json.loads(each.text)))
            case "ENTRYPOINT":
                return replace(stage, entrypoint=tuple(json.loads(each.text)))
            case "HEALTHCHECK":
                return replace(stage, health=tuple(json.loads(each.text.partition("CMD ")[2])))
            case "COPY":
                self._copy(stage, each.text)
            case "RUN":
                self._run(stage, each.text)
        return stage

    def _copy(self, stage: Stage, text: str) -> None:
        *sources, target = re.sub(r"--from=\S+ ", "", text).split()
        if match := re.match(r"--from=(\S+) ", text):
            place = stage.root / target.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            source = self._stages[match[1]].root / sources[0].lstrip("/")
            run("cp", "--archive", "--reflink=auto", str(source), str(place))
            return
        for name in self._files():
            if (place_of := copied_to(name, sources, target)) is not None:
                place = stage.root / place_of.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self._context / name, place, follow_symlinks=False)

    def _files(self) -> list[str]:
        """Return the files of the build context: those of the repository that .dockerignore lets through."""
        listed = run("git", "-C", str(self._context), "ls-files", "--cached", "--others", "--exclude-standard")
        rules = (self._context / ".dockerignore").read_text(encoding="utf-8")
        names = [name for name in listed.splitlines() if in_context(name, rules)]
        return [name for name in names if os.path.lexists(self._context / name)]

    def _run(self, stage: Stage, text: str) -> None:
        mounts = [Mount(Path(path), path) for path in _NETWORK_FILES]
        for options in re.findall(r"--mount=(\S+) ", text):
            of = dict(part.split("=", 1) for part in options.split(","))
            mounts.append(Mount(self._stages[of["from"]].root / of.get("source", "").lstrip("/"), of["target"]))
        environment = {name: value for name, value in os.environ.items() if _NETWORK.fullmatch(name)}
        if certificates := os.environ.get("SSL_CERT_FILE"):
            mounts.append(Mount(Path(certificates), _CERTIFICATES))
            environment |= {"SSL_CERT_FILE": _CERTIFICATES, "PIP_CERT": _CERTIFICATES}
        root = Root(stage.root, {**environment, **stage.environment}, stage.user, stage.folder, mounts=mounts)
        root.run(["/bin/sh", "-c", re.sub(r"--mount=\S+ ", "", text)])


def run(*program: str) -> str:
    """Run a program of this machine and return what it printed. Raises CalledProcessError."""
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout


def say(text: str) -> None:
    """Print a line on standard error."""
    sys.stderr.write(f"{text}\n")
