"""What may be typed after `reeldex index`, `search`, `page` and `run`. Loads nothing else: `--help` is to be quick."""

from __future__ import annotations

import argparse

from reeldex.cli.command import Subparsers, command, path
from reeldex.cli.learning_parsers import TEST_SETS, add_configuration, add_words
from reeldex.cli.server_choice import add_server_flags

_MODULE = "reeldex.cli.search_commands"


def run(commands: Subparsers) -> None:
    """Add `reeldex run`."""
    parser = command(
        commands,
        "run",
        "from a folder of videos to an index that answers sentences, in one go",
        "Extracts features, trains an embedding or takes one, evaluates it and builds the index, into --out/features,\n"
        "--out/embedding and --out/index. What is up to date is skipped: typed again, it does what is new. How each\n"
        "step is done stands in pipeline.yaml; --set reaches every setting of it.\n"
        "Exit status: 0 all well; 1 finished, but some videos have no features; 2 wrong usage, configuration or input.",
        "reeldex run ~/videos --out ~/searchable --checkpoint published",
        _MODULE,
    )
    parser.add_argument("source", metavar="SOURCE", help="folder, video or list")
    parser.add_argument("--out", required=True, type=path, metavar="DIR", help="the folder for all of it")
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="the embedding, or what to begin training with; `published` is HowTo100M's"
    )
    parser.add_argument(
        "--train-on", choices=("howto100m", *TEST_SETS), help="train an embedding on this data set of SOURCE's videos"
    )
    parser.add_argument("--evaluate-on", metavar="A,B", help="test sets of SOURCE's videos")
    parser.add_argument("--data", metavar="DIR", help="folder with the files of these data sets")
    parser.add_argument("--weights", choices=("pretrained", "random"), help="of the extractors; random: to try it out")
    parser.add_argument("--captions", metavar="FILE", help="captions whose windows are the moments of the index")
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="S", help="wait so long for a run that holds the store"
    )
    add_configuration(parser)
    add_words(parser, training=True)
    add_server_flags(parser)


def index(commands: Subparsers) -> None:
    """Add `reeldex index`."""
    parser = command(
        commands,
        "index",
        "build or refresh the index of moments that `search` and `page` answer from",
        "Moments are the windows of --captions where a video has such, else windows of --window-seconds every\n"
        "--stride-seconds. Typed again, it takes in what is new, changed or gone; another checkpoint needs another\n"
        "folder, or --rebuild. The index in use stays in use until the new one is complete.\n"
        "Exit status: 0 the index is up to date; 1 it is, but some features cannot be used; 2 wrong usage,\n"
        "configuration or input.",
        "reeldex index --store ~/features --checkpoint published --index ~/index",
        _MODULE,
    )
    parser.add_argument("--store", required=True, metavar="DIR", help="feature store of the videos")
    parser.add_argument(
        "--checkpoint", required=True, metavar="FILE", help="the embedding; `published` is the HowTo100M checkpoint"
    )
    _index_folder(parser)
    parser.add_argument("--captions", metavar="FILE", help="a caption file as HowTo100M's (.pickle, .json)")
    parser.add_argument(
        "--rebuild",
        action="store_true",
        help="replace an index of another checkpoint, store or kind of moments, or a damaged one",
    )
    parser.add_argument("--window-seconds", type=float, metavar="S", help="length of a moment (default: 8)")
    parser.add_argument("--stride-seconds", type=float, metavar="S", help="from one to the next (default: 4)")
    parser.add_argument("--factory", metavar="F", help="auto, or a FAISS factory string")
    parser.add_argument(
        "--missing-files", choices=("drop", "keep"), help="whether videos whose file is gone leave the index"
    )
    parser.add_argument("--space-2d", metavar="NAME", help="2-D feature space (default: the only one of resnet152)")
    parser.add_argument("--space-3d", metavar="NAME", help="3-D feature space (default: the only one of resnext101_3d)")
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda or cuda:N")
    add_configuration(parser)
    add_words(parser, training=False)
    add_server_flags(parser)


def search(commands: Subparsers) -> None:
    """Add `reeldex search`."""
    parser = command(
        commands,
        "search",
        "list the moments that fit a sentence, or that are like another moment",
        "Overlapping moments of a video are merged to one. Words without a vector are named, and left out.\n"
        "Exit status: 0 answered; 2 wrong usage, no word known, or an index that cannot be used.",
        'reeldex search "chop the onion" -k 5\n         reeldex search --like cooking01@12.5',
        _MODULE,
    )
    parser.add_argument("sentence", nargs="?", metavar="SENTENCE", help="what is to be seen")
    parser.add_argument("--like", metavar="VIDEO@SECONDS", help="instead: moments like the one at this time")
    parser.add_argument("-k", type=int, default=10, metavar="N", help="answers (default: 10)")
    parser.add_argument("--videos", metavar="PATTERN", help="only videos whose id fits, such as 'P01*'")
    parser.add_argument("--no-merge", action="store_true", help="leave overlapping moments as they are")
    _index_folder(parser)
    _other_inputs(parser)
    add_configuration(parser)
    add_words(parser, training=False)


def page(commands: Subparsers) -> None:
    """Add `reeldex page`."""
    parser = command(
        commands,
        "page",
        "serve the search page on this machine",
        "Prints its address, and ends on Ctrl-C. Only this machine can reach it, and only files that the index names\n"
        "are shown. An index that is refreshed meanwhile is taken over.\n"
        "Exit status: 0 ended as asked; 2 wrong usage, or an index that cannot be used.",
        "reeldex page --index ~/index",
        _MODULE,
    )
    parser.add_argument("--port", type=int, metavar="N", help="on loopback (default: 8765; 0: any free one)")
    _index_folder(parser)
    _other_inputs(parser)
    add_configuration(parser)
    add_words(parser, training=False)


def _index_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--index", type=path, metavar="DIR", help="folder of the index (default: ./index)")


def _other_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="where the index's checkpoint lies now, if it has been moved"
    )
