"""`make run`: sample videos (or the user's) into a store, an embedding trained on captions, and a searchable index."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from reeldex.cli import main as cli
from reeldex.quantities import data_size
from reeldex.remote_urls import is_url, redacted

_QUESTIONS = (
    "a flashing white ring on a plain green ground",
    "a still white square on a chequered red ground",
    "a flashing white square on a chequered blue ground",
)
_SAMPLES = "samples"
_SYNTHETIC = Path("synthetic")
# Small sizes, and enough epochs for them: one to two minutes in total on two cores.
TRAINING = (
    "--embed-dim", "256", "--word-dim", "64", "--set", "words.training.epochs=200", "--epochs", "120",
    "--batch-size", "12", "--learning-rate", "3e-4", "--lr-decay", "0.97",
)  # fmt: skip

_NO_WEIGHTS = """
************************************************************************************************
*  PRETRAINED WEIGHTS ARE NOT AVAILABLE: THESE FEATURES ARE MADE WITH RANDOM WEIGHTS.          *
*  They only show that everything works. Their feature space is called `<network>.random`.      *
*  The reason is below. Once the weights are available, run `make run` again.                  *
************************************************************************************************
{error}
"""
_SYNTHETIC_RANDOM = """
These features were computed with RANDOM weights. They separate colours and patterns because even untrained networks
preserve the appearance of their input; they are useless for real videos."""


def _folder(text: str) -> str:
    if is_url(text):
        raise argparse.ArgumentTypeError(
            f"{redacted(text)} is a URL, and this makes a store on a disk. Use `reeldex extract SOURCE --store URL`."
        )
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Extract, show status, verify and index; without --videos, also train and evaluate an embedding.

    Returns the worst exit status of all commands.
    """
    parser = argparse.ArgumentParser(prog="python -m reeldex.cli.quickstart", description=main.__doc__)
    parser.add_argument("--store", required=True, type=_folder, help="folder of features; created if absent")
    parser.add_argument("--videos", help="folder of videos or list; without it, sample videos are made")
    arguments = parser.parse_args(argv)
    if arguments.videos is None:
        from reeldex.extractors.samples import make_samples

        _say(f"Sample videos in ./{_SAMPLES}: {', '.join(path.name for path in make_samples(Path(_SAMPLES)))}")
    source = arguments.videos or _SAMPLES
    weights = _available_weights()
    worst = _run(
        ["extract", source, "--store", arguments.store, "--weights", weights],
        ["status", arguments.store, "--failures"],
        ["verify", arguments.store],
    )
    if worst == 2:
        return worst
    store = Path(arguments.store)
    _say(f"\nFeatures are stored in {store.resolve()}:")
    for file in sorted(store.glob("features/*/*.h5")):
        _say(f"  {file}  {data_size(file.stat().st_size)}")
    _say('Read them with h5py.File(FILE)["features/<video id>"][:], or see docs/extract.md.')
    if arguments.videos is None:
        return max(worst, _learn(weights))
    if weights == "random":
        _say("\nNo index is built: the published embedding cannot use features of random weights.")
        return worst
    index = f"{store}-index"
    worst = max(worst, _run(["index", "--store", str(store), "--checkpoint", "published", "--index", index]))
    if worst < 2:
        named = shlex.quote(index)
        _say(f'\nSearch it: reeldex search "chop the onion" --index {named}')
        _say(f"or in a browser: reeldex page --index {named}")
    return worst


def _learn(weights: str) -> int:
    """Extract a synthetic data set, train an embedding on part of it, evaluate it on the rest, and search both."""
    from reeldex.extractors.synthetic import make_synthetic

    _say(f"\nSmall synthetic videos with captions, in {_SYNTHETIC}, in the file format of MSR-VTT.")
    train, test = make_synthetic(_SYNTHETIC)
    _say(f"{len(train)} to train on, {len(test)} to test on, such as {test[0].video_id}: {test[0].captions()[0]!r}.")
    store = str(_SYNTHETIC / f"features-{weights}")
    out = _SYNTHETIC / f"embedding-{weights}"
    data = ["--dataset", "msrvtt", "--store", store, "--data", str(_SYNTHETIC)]
    resumed = ["--resume"] if (out / "last.pth").exists() else []
    worst = _run(
        ["extract", str(_SYNTHETIC / "videos"), "--store", store, "--weights", weights],
        ["train", *data, "--out", str(out), *resumed, "--train-word-vectors", *TRAINING],
        ["evaluate", *data, "--checkpoint", str(out / "last.pth")],
    )
    if worst == 2:
        return worst
    chance = 100 / len(test)
    _say(
        f"\nThe test set is synthetic, with {len(test)} videos; it is not MSR-VTT. Chance level: R@1 {chance:.1f}, "
        f"R@5 {5 * chance:.1f}, R@10 {10 * chance:.1f} and the median rank about {(len(test) + 1) / 2:g}."
    )
    if weights == "random":
        _say(_SYNTHETIC_RANDOM)
    index = str(_SYNTHETIC / f"index-{weights}")
    checkpoint = str(out / "last.pth")
    _say("\nAn index of all these videos, and some queries. Captions are shown with the results, but not searched.")
    built = ["index", "--store", store, "--checkpoint", checkpoint, "--captions", str(_SYNTHETIC / "captions.json")]
    asked = [["search", question, "--index", index, "-k", "3"] for question in _QUESTIONS]
    worst = max(worst, _run([*built, "--index", index, "--rebuild"], *asked))
    if worst < 2:
        program = Path(sys.executable).with_name("reeldex")
        _say(f"\nSearch in a browser: {shlex.join([str(program), 'page', '--index', index])}")
    return worst


def _run(*commands: list[str]) -> int:
    """Run `reeldex` commands until one cannot start; return the worst exit status."""
    worst = 0
    for command in commands:
        _say(f"\n$ reeldex {shlex.join(command)}")
        worst = max(worst, cli.main(command))
        if worst == 2:  # later commands need its result
            break
    return worst


def _available_weights() -> str:
    """Return `pretrained` if all published weights are present or downloadable, else `random`, with a warning."""
    from reeldex.extractors.errors import WeightsError
    from reeldex.flows.config.pipeline import load_config
    from reeldex.flows.extraction.networks import requested_records
    from reeldex.flows.progress.downloads import find_or_fetch_shown

    config = load_config(None)
    if config.extract.weights == "random":
        return "random"
    try:
        for record in requested_records(config):
            find_or_fetch_shown(record.pretrained, config.weights.files.get(record.spec.name), config.weights.folder)
    except WeightsError as error:
        _say(_NO_WEIGHTS.format(error=error))
        return "random"
    return "pretrained"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
