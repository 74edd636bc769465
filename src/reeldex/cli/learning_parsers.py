"""What may be typed after `reeldex train` and `reeldex evaluate`. Loads nothing else: `--help` is to answer at once."""

from __future__ import annotations

import argparse
from pathlib import Path

from reeldex.cli.command import Subparsers, command, path
from reeldex.cli.server_choice import add_server_flags

_MODULE = "reeldex.cli.learning_commands"
TEST_SETS = ("msrvtt", "youcook2", "lsmdc", "epic", "epic-retrieval")
_PRESETS = ("narration-2-before", "narration-3-before", "verb-2", "verb-3")


def train(commands: Subparsers) -> None:
    """Add `reeldex train`."""
    parser = command(
        commands,
        "train",
        "train the text-video embedding on features and captions",
        "Writes last.pth, best.pth, tensorboard/ and the figures as JSON into --out. Killed at any step, it goes on\n"
        "with --resume and ends with the same weights. What each data set expects stands in docs/datasets.md; every\n"
        "option has its place in pipeline.yaml too. Several GPUs: torchrun --nproc-per-node N -m reeldex train ...\n"
        "Exit status: 0 trained to the end; 1 stopped by a loss that is not finite, or a fault of the machine;\n"
        "2 wrong usage, configuration or input.",
        "reeldex train --dataset howto100m --store ~/features --file csv=HowTo100M_v1.csv\n"
        "  --file captions=caption.pickle --word-vectors GoogleNews-vectors-negative300.bin --n-pair 64 --out ~/ckpt",
        _MODULE,
    )
    parser.add_argument("--dataset", required=True, choices=("howto100m", *TEST_SETS), help="what to train on")
    parser.add_argument("--out", required=True, type=path, metavar="DIR", help="the folder of this training")
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="begin with these weights; `published` is the HowTo100M checkpoint"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the training that --out holds")
    _data(parser)
    add_words(parser, training=True)
    learning = parser.add_argument_group("training")
    learning.add_argument("--epochs", type=int, metavar="N")
    learning.add_argument("--batch-size", type=int, metavar="N", help="samples a step")
    learning.add_argument("--n-pair", type=int, metavar="N", help="pairs a sample (howto100m, youcook2)")
    learning.add_argument("--learning-rate", type=float, metavar="X")
    learning.add_argument("--lr-decay", type=float, metavar="X", help="factor of the learning rate after each epoch")
    learning.add_argument("--loss", choices=("ranking", "triplet"))
    learning.add_argument("--margin", type=float, metavar="X")
    learning.add_argument("--negative-weighting", action=argparse.BooleanOptionalAction, default=None)
    learning.add_argument("--hard-negative-rate", type=float, metavar="X", help="share of the same video's negatives")
    learning.add_argument("--embed-dim", type=int, metavar="N", help="numbers in the common space, of a new model")
    learning.add_argument("--sentence-dim", type=int, metavar="N", help="0 is as many as in the common space")
    learning.add_argument("--max-words", type=int, metavar="N", help="words of a sentence that count")
    learning.add_argument("--seed", type=int, metavar="N")
    learning.add_argument("--workers", type=int, metavar="N", help="processes that read samples ahead")
    learning.add_argument("--device", metavar="D", help="auto, cpu, cuda or cuda:N")
    learning.add_argument("--mixed-precision", action=argparse.BooleanOptionalAction, default=None, help="CUDA only")
    learning.add_argument("--compile", dest="compile_model", action=argparse.BooleanOptionalAction, default=None)
    learning.add_argument("--evaluate-on", metavar="A,B", help="test sets; theirs is what pipeline.yaml says")
    learning.add_argument("--evaluate-every", type=int, metavar="N", help="epochs between evaluations; 0 is never")
    learning.add_argument("--checkpoint-every-steps", type=int, metavar="N", help="0 is at an epoch's end alone")
    learning.add_argument("--log-every", type=int, metavar="N", help="steps between TensorBoard scalars")
    learning.add_argument("--best-by", metavar="NAME", help="figure that the best checkpoint is chosen by")
    _epic(parser)
    add_server_flags(parser)


def evaluate(commands: Subparsers) -> None:
    """Add `reeldex evaluate`."""
    parser = command(
        commands,
        "evaluate",
        "measure how well sentences find videos with a checkpoint",
        "Prints R@1, R@5, R@10 and the median rank over whole test sets, both directions, with 95 % intervals. The\n"
        "same as JSON lies beside the checkpoint. Each video (or clip) is one candidate. Text to video ranks the\n"
        "videos for every sentence; video to text takes the best rank of a video's own sentences. Ties count against\n"
        "the model.\n"
        "--protocol checks the size of the test set: msrvtt 1k-A, 1k-B (1000 videos, 1000 sentences) or full (2990,\n"
        "59800); youcook2 validation (3350 clips); lsmdc 1k (1000); epic-retrieval test (9668, 3842 sentences).\n"
        "The paper's figures stand beside a test set only if its SHA-256 shows that it is the published one.\n"
        "Exit status: 0 evaluated; 1 stopped by a fault of the machine; 2 wrong usage, configuration or input.",
        "reeldex evaluate --checkpoint published --data published --dataset msrvtt --dataset youcook2 --dataset lsmdc",
        _MODULE,
    )
    parser.add_argument(
        "--checkpoint", required=True, metavar="FILE", help="`published` is the HowTo100M one, fetched if not there"
    )
    parser.add_argument(
        "--dataset", required=True, action="append", choices=TEST_SETS, help="test set; may be given again"
    )
    parser.add_argument(
        "--save-ranking", type=path, metavar="FILE", help="write the best clips of each sentence as csv"
    )
    _data(parser)
    add_words(parser, training=False)
    _protocol(parser)
    how = parser.add_argument_group("evaluation")
    how.add_argument("--batch-size", type=int, metavar="N")
    how.add_argument("--resamples", type=int, metavar="N", help="for the 95 %% intervals; 0 is none")
    how.add_argument("--ranking-length", type=int, metavar="K", help="clips listed a sentence (default: 10)")
    how.add_argument("--max-words", type=int, metavar="N", help="for weights that do not say it themselves")
    how.add_argument("--seed", type=int, metavar="N", help="of the intervals")
    how.add_argument("--device", metavar="D", help="auto, cpu, cuda or cuda:N")
    _epic(parser)
    add_server_flags(parser)


def _data(parser: argparse.ArgumentParser) -> None:
    add_configuration(parser)
    data = parser.add_argument_group("data set", "of --dataset")
    data.add_argument("--store", metavar="DIR", help="feature store of its videos")
    data.add_argument("--space-2d", metavar="NAME", help="2-D feature space (default: the only one of resnet152)")
    data.add_argument("--space-3d", metavar="NAME", help="3-D feature space (default: the only one of resnext101_3d)")
    data.add_argument("--features-2d", metavar="DIR", help="instead of --store: folder of 2-D .npy files")
    data.add_argument("--features-3d", metavar="DIR", help="and folder of 3-D .npy files")
    data.add_argument("--rows-per-second", metavar="A,B", help="rows of the .npy files, 2-D and 3-D (default: 1,1.5)")
    data.add_argument(
        "--data", metavar="DIR", help="folder with its files under their published names; `published` fetches them"
    )
    data.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="one of its files, such as test_csv; repeatable",
    )
    data.add_argument("--max-missing-share", type=float, metavar="X", help="share of videos that may lack features")


def _protocol(parser: argparse.ArgumentParser) -> None:
    """Add the options on the protocol of a test set."""
    protocol = parser.add_argument_group("protocol", "of --dataset")
    protocol.add_argument("--protocol", metavar="NAME", help="published protocol that the test set has to fit")
    protocol.add_argument(
        "--published-sha256",
        metavar="HEX",
        help="SHA-256 of the published test set, as this command prints it; shows the paper's figures beside that set",
    )


def _epic(parser: argparse.ArgumentParser) -> None:
    epic = parser.add_argument_group("EPIC-KITCHENS by label files", "of --dataset epic")
    epic.add_argument("--preset", choices=_PRESETS, help="settings of a published command line")
    epic.add_argument("--clips-per-sample", type=int, metavar="N", help="consecutive segments joined to a sample")
    epic.add_argument(
        "--clips-before", type=int, choices=(0, 1), help="1: with those ahead of a segment; 0: that follow"
    )
    epic.add_argument("--clips-filter-length", type=int, metavar="N", help="drop segments of at most so many rows")
    epic.add_argument("--labels", choices=("verb", "narration"))
    epic.add_argument("--verb-only", action="store_true", default=None, help="train on verb classes, triplet loss")


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Add --config and --set."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: ./pipeline.yaml if there)")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any setting of pipeline.yaml by its dotted path; may be given again",
    )


def add_words(parser: argparse.ArgumentParser, *, training: bool) -> None:
    """Add the options on word vectors; for a `training`, those on learning them, too."""
    words = parser.add_argument_group("word vectors")
    words.add_argument("--word-vectors", metavar="FILE", help="default: those the checkpoint was trained with")
    words.add_argument("--word-format", choices=("auto", "binary", "text", "text-without-counts", "gensim"))
    words.add_argument("--word-cache", metavar="DIR", help="folder for converted word vectors")
    if training:
        words.add_argument(
            "--train-word-vectors", action="store_true", help="learn them from the captions that are trained on"
        )
        words.add_argument("--word-dim", type=int, metavar="N", help="numbers in a vector of one's own (default: 300)")
