"""The `reeldex` command: what may be typed. What it does stands in `reeldex.cli.commands`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from reeldex.cli import learning_parsers as embedding_cli
from reeldex.cli import search_parsers as search_cli
from reeldex.cli.command import HelpFormatter, Subparsers, command
from reeldex.cli.server_choice import add_server_flags

_RUN_EXITS = (
    "Exit status: 0 all videos have features; 1 finished, but something failed; 2 wrong usage or configuration."
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="reeldex",
        description="Turn folders of raw videos into something that a sentence can search: features (ResNet-152\n"
        "and ResNeXt-101 as in the HowTo100M paper, in verified HDF5 shards), the paper's text-video embedding\n"
        "trained and evaluated on them, and an index of moments.",
        epilog="Example: reeldex extract ~/videos --store ~/features",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    ours = (_extract, _status, _rerun, _verify, _export, _import, _weights)
    searching = (search_cli.index, search_cli.search, search_cli.page, search_cli.run)
    for add in (*ours, embedding_cli.train, embedding_cli.evaluate, *searching, _up):
        add(commands)
    return parser


class _ShowVersion(argparse.Action):
    # Read from the installed package only when asked for: that costs more than the rest of --help.
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        import importlib.metadata

        sys.stdout.write(f"reeldex {importlib.metadata.version('reeldex')}\n")
        parser.exit()


def _run_options(parser: argparse.ArgumentParser) -> None:
    add_server_flags(parser)
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: ./pipeline.yaml if there)")
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda (all), cuda:N or cuda:N,cuda:M")
    parser.add_argument("--precision", choices=("auto", "fp32", "fp16", "bf16"), help="arithmetic of the networks")
    parser.add_argument("--decoders", type=int, metavar="N", help="videos decoded at the same time")
    parser.add_argument("--batch-rows", type=int, metavar="N", help="clips a batch")
    parser.add_argument(
        "--timeout-seconds", type=float, metavar="S", help="give up on a video after waiting so long for ffmpeg"
    )
    parser.add_argument(
        "--weights-file",
        action="append",
        default=[],
        metavar="EXTRACTOR=PATH",
        help="a local checkpoint for an extractor; may be given again",
    )
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="S", help="wait so long for a run that holds the store"
    )


def _extract(commands: Subparsers) -> None:
    parser = command(
        commands,
        "extract",
        "extract features of every video that the store does not have yet",
        "SOURCE is a folder (searched with its subfolders), a video, a .txt list (a path a line) or a .csv list\n"
        "(column video_path, optionally video_id). New and changed videos are extracted, the others left alone.\n"
        f"{_RUN_EXITS}",
        "reeldex extract ~/videos --store ~/features --weights random",
    )
    parser.add_argument("source", metavar="SOURCE", help="folder, video or list")
    parser.add_argument("--store", required=True, metavar="DIR", help="the folder of features; made if absent")
    parser.add_argument("--extractors", metavar="A,B", help="networks, by name (default: resnet152,resnext101_3d)")
    parser.add_argument("--weights", choices=("pretrained", "random"), help="random: made-up ones, to try things out")
    parser.add_argument("--shard-videos", type=int, metavar="N", help="videos a shard")
    parser.add_argument("--video-id", choices=("stem", "path"), help="id of a file in a folder: its name or its path")
    parser.add_argument(
        "--settle-seconds", type=float, metavar="S", help="leave files written to within so many seconds to a later run"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what it would cost, and extract nothing")
    _run_options(parser)


def _status(commands: Subparsers) -> None:
    parser = command(
        commands,
        "status",
        "show how far a store is, and what failed",
        "Files that the system does not let us read (permissions, limits, a disk) are listed apart: their shards are\n"
        "neither done nor unfinished.\n"
        "Exit status: 0 everything is done; 1 something failed, is unfinished or cannot be read; 2 wrong usage.",
        "reeldex status ~/features --failures",
    )
    parser.add_argument("store", metavar="DIR", help="the folder of features")
    parser.add_argument("--failures", action="store_true", help="list every failed or truncated video and what to do")


def _rerun(commands: Subparsers) -> None:
    parser = command(
        commands,
        "rerun",
        "finish what a store lacks: unfinished, lost and damaged shards",
        "Extractors and weights are those each shard was planned for. Videos that failed are left alone unless asked\n"
        f"for. {_RUN_EXITS}",
        "reeldex rerun ~/features --failed-videos --reason timeout --timeout-seconds 7200",
    )
    parser.add_argument("store", metavar="DIR", help="the folder of features")
    parser.add_argument("--failed-videos", action="store_true", help="try the videos that failed again, too")
    parser.add_argument(
        "--reason", action="append", default=[], metavar="R", help="only those that failed so; may be given again"
    )
    _run_options(parser)


def _verify(commands: Subparsers) -> None:
    parser = command(
        commands,
        "verify",
        "read every byte of a store again and name what is damaged",
        "Files that the system does not let us read are listed apart: they are not known to be damaged.\n"
        "Exit status: 0 all is sound; 1 something is damaged or cannot be read; 2 wrong usage.",
        "reeldex verify ~/features",
    )
    parser.add_argument("store", metavar="DIR", help="the folder of features")


def _export(commands: Subparsers) -> None:
    parser = command(
        commands,
        "export",
        "write features as .npy files, the published layout: OUT/<space>/<video id>.npy",
        "Each file is a (rows, 2048) float16 array.",
        "reeldex export ~/features ~/npy",
    )
    parser.add_argument("store", metavar="DIR", help="the folder of features")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder for the .npy files")
    parser.add_argument("--space", action="append", metavar="NAME", help="only this feature space; may be given again")
    parser.add_argument("--overwrite", action="store_true", help="replace files with other content")


def _import(commands: Subparsers) -> None:
    parser = command(
        commands,
        "import",
        "take .npy features into a store: NPY_DIR/<space>/<video id>.npy",
        "Arrays must be (rows, dimensions) float16. Videos that the store has already are left alone.",
        "reeldex import ~/npy ~/features",
    )
    parser.add_argument("npy", metavar="NPY_DIR", type=Path, help="folder with a folder of .npy files a feature space")
    parser.add_argument("store", metavar="DIR", help="the folder of features; made if absent")
    parser.add_argument(
        "--seconds-per-row",
        action="append",
        default=[],
        metavar="SPACE=S",
        help="seconds of video a row stands for, for a space of no extractor here; may be given again",
    )


def _weights(commands: Subparsers) -> None:
    parser = command(
        commands,
        "weights",
        "fetch the networks' published weights, or list where they lie",
        "fetch downloads what is missing and verifies it; list looks, and downloads nothing. The weights of the\n"
        "published text-video embedding (a few hundred MB) are fetched only with --embedding.\n"
        "Exit status: 0 all there and sound; 1 something is missing or damaged; 2 wrong usage.",
        "reeldex weights fetch",
    )
    parser.add_argument("action", choices=("fetch", "list"))
    parser.add_argument("--embedding", action="store_true", help="the published text-video embedding, too")
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: ./pipeline.yaml if there)")


def _up(commands: Subparsers) -> None:
    parser = command(
        commands,
        "up",
        "run everything from the Prefect UI: server, deployments and worker on this machine",
        "Starts a Prefect server on loopback, or uses the one that PREFECT_API_URL or your Prefect profile names,\n"
        "and offers the flows and the schedules of pipeline.yaml there. Runs are done in the present folder.\n"
        "A server that it starts asks for a secret: the printed address lets a browser in, and programs send what\n"
        "~/.local/state/reeldex/server-secret holds (mode 600). Ends on Ctrl-C.\n"
        "Exit status: 0 ended as asked; 2 wrong usage, or a part ended by itself.",
        "reeldex up --port 4200",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: ./pipeline.yaml if there)")
    parser.add_argument("--port", type=int, default=4200, metavar="N", help="port of the server (default: 4200)")
    parser.add_argument(
        "--home",
        type=Path,
        metavar="DIR",
        help="Prefect's state (default: PREFECT_HOME, or else ~/.local/state/reeldex/prefect)",
    )
    parser.add_argument("--runs", type=int, default=4, metavar="N", help="runs at a time (default: 4)")
    parser.add_argument(
        "--no-secret",
        action="store_true",
        help="let every user and program of this machine use the server, and so execute commands as you",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    # File names may hold bytes that the terminal's encoding cannot show.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    arguments = build_parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone, as `reeldex status DIR | head` does; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
