"""The `reeldex` command: its groups of commands, loaded on demand."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Group, Parameter

from reeldex.cli.interrupts import repeated_when_ignored

_EXTRACTION, _STORE = Group("Extraction", sort_key=1), Group("Stores", sort_key=2)
_LEARNING, _SEARCH = Group("Embedding", sort_key=3), Group("Search", sort_key=4)
_SETUP = Group("Setup and server", sort_key=5)
# Group, where the command is (reeldex.cli.<module>:<function>), its name, what it does.
_COMMANDS = (
    (_EXTRACTION, "extraction:extract", "extract", "Extract features of all new and changed videos."),
    (_EXTRACTION, "extraction:rerun", "rerun", "Process missing, incomplete or damaged shards."),
    (_STORE, "store:status", "status", "Show the progress of a store, and what failed."),
    (_STORE, "contents:ls", "ls", "List the videos of a store."),
    (_STORE, "contents:show", "show", "Show the feature spaces of a store, or all that it holds of a video."),
    (_STORE, "contents:rm", "rm", "Remove videos or feature spaces from a store, with their features."),
    (_STORE, "store:verify", "verify", "Read every byte of a store and report damage."),
    (_STORE, "exchange:export", "export", "Write features as .npy files in the published layout."),
    (_STORE, "exchange:import_", "import", "Import .npy features into a store."),
    (_STORE, "comparison:compare", "compare", "Compare features of two stores or folders, and name the likely cause."),
    (_STORE, "store:forget", "forget", "Stop counting videos, such as those that were removed from a list."),
    (_LEARNING, "learning:train", "train", "Train the text-video embedding on features and captions."),
    (_LEARNING, "learning:evaluate", "evaluate", "Evaluate text-video retrieval with a checkpoint."),
    (_SEARCH, "search:run", "run", "Go from a folder of videos to a searchable index in one command."),
    (_SEARCH, "search:index", "index", "Build or refresh the index of moments."),
    (_SEARCH, "search:search", "search", "List the moments that match a sentence or another moment."),
    (_SEARCH, "search:page", "page", "Serve the search page on this machine."),
    (_SETUP, "configuration:config", "config", "Show, describe or create the configuration."),
    (_SETUP, "weights:weights", "weights", "Fetch the published weights, or show where they are stored."),
    (_SETUP, "monitoring:metrics", "metrics", "Serve the metrics of this machine's runs to Prometheus."),
    (_SETUP, "server:up", "up", "Run everything from the Prefect UI: server, deployments and worker."),
    (_SETUP, "server:deploy", "deploy", "Register the flows on your own Prefect server, with limits and automations."),
    (_SETUP, "server:worker", "worker", "Execute runs of your own Prefect server on this machine."),
    (_SETUP, "server:flow_run", "flow-run", "Execute one run of a Prefect server, in a container of a work pool."),
)


def build_app() -> App:
    """Return the whole command line."""
    app = App(
        name="reeldex",
        help="Make folders of raw videos searchable by plain-language queries: features (ResNet-152 and ResNeXt-101 as "
        "in the HowTo100M paper, in verified HDF5 shards), the paper's text-video embedding trained and evaluated on "
        "them, and an index of moments.",
        help_epilogue="Example: reeldex extract ~/videos --store ~/features",
        help_format="plaintext",
        version=_version,
        default_parameter=Parameter(negative=(), show_default=False),
        suppress_keyboard_interrupt=False,
    )
    app.register_install_completion_command(group=_SETUP)
    for number, (group, place, name, purpose) in enumerate(_COMMANDS):
        app.command(f"reeldex.cli.{place}", name=name, help=purpose, group=group, sort_key=number)
    return app


def _version() -> str:
    # Read from the installed package only on demand: that takes longer than the rest of --help.
    import importlib.metadata

    return f"reeldex {importlib.metadata.version('reeldex')}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    # File names may contain bytes that the terminal's encoding cannot represent.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    tokens = list(sys.argv[1:] if argv is None else argv)
    try:
        if not tokens:
            build_app().help_print([])
            return 2
        with repeated_when_ignored():
            status = build_app()(tokens, print_error=False, exit_on_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        sys.stderr.write(f"reeldex: {error}\nSee reeldex --help, or reeldex COMMAND --help.\n")
        return 2
    except BrokenPipeError:
        # The reader closed the pipe, as in `reeldex status DIR | head`; nothing more can be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    # --help and --version return no exit status.
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    sys.exit(main())
