"""`make run`: sample videos (or one's own) into a store, then what the store holds and whether it is sound."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from flows import cli

_SAMPLES = "samples"

_NO_WEIGHTS = """
************************************************************************************************
*  NO PRETRAINED WEIGHTS CAN BE HAD HERE, SO THESE FEATURES ARE MADE WITH RANDOM ONES.         *
*  They show that everything works, and mean nothing. Their space is called `<network>.random`.*
*  Why: see the line below. Once the weights are there, type `make run` again.                 *
************************************************************************************************
{error}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Extract, then show status and verification; return the worst exit status of the three."""
    parser = argparse.ArgumentParser(prog="python -m flows.quickstart", description=main.__doc__)
    parser.add_argument("--store", required=True, help="folder of features; made if absent")
    parser.add_argument("--videos", help="folder of videos or list; without it, sample videos are made")
    arguments = parser.parse_args(argv)
    if arguments.videos is None:
        from extractors.samples import make_samples

        _say(f"Sample videos in ./{_SAMPLES}: {', '.join(path.name for path in make_samples(Path(_SAMPLES)))}")
    source = arguments.videos or _SAMPLES
    weights = _weights_to_be_had()
    commands = (
        ["extract", source, "--store", arguments.store, "--weights", weights],
        ["status", arguments.store, "--failures"],
        ["verify", arguments.store],
    )
    worst = 0
    for command in commands:
        _say(f"\n$ reeldex {' '.join(command)}")
        worst = max(worst, cli.main(command))
        if worst == 2:  # nothing can be shown of what could not begin
            return worst
    store = Path(arguments.store)
    _say(f"\nFeatures lie in {store.resolve()}:")
    for file in sorted(store.glob("features/*/*.h5")):
        _say(f"  {file}  {file.stat().st_size:,} bytes")
    _say('Read them with h5py.File(FILE)["features/<video id>"][:], or see README.md.')
    return worst


def _weights_to_be_had() -> str:
    """Return `pretrained` if all published weights are here or can be fetched, else `random`, and say so loudly."""
    from extractors.errors import WeightsError
    from extractors.weights import find_or_fetch
    from flows.config import load_config
    from flows.networks import requested_records

    config = load_config(None)
    if config.extract.weights == "random":
        return "random"
    try:
        for record in requested_records(config):
            find_or_fetch(record.pretrained, config.weights.files.get(record.spec.name), config.weights.folder)
    except WeightsError as error:
        _say(_NO_WEIGHTS.format(error=error))
        return "random"
    return "pretrained"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
