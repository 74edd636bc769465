"""`reeldex metrics`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reeldex.cli.command import NonEmptyPath, Output, command
from reeldex.cli.settings import Given
from reeldex.errors import UsageError


@command(
    "metrics",
    details="Runs record their metrics (videos, failures by reason, seconds of video, of decoding and of the device, "
    "queues) in a folder of this machine: monitoring.metrics_folder in pipeline.yaml, --metrics-folder, or "
    "REELDEX_METRICS_FOLDER in the environment. This command serves their sum at /metrics, and /health. Counters "
    "never decrease, also when runs end or are killed. Press Ctrl-C to stop.\n\n"
    "Exit status: 0 stopped as requested; 2 wrong usage, or the port is in use.",
    example="reeldex metrics ~/metrics --port 9464",
)
def metrics(  # noqa: PLR0913 - each is an option
    folder: Annotated[
        NonEmptyPath | None, Parameter(help="The folder (default: the one that runs are configured to use).")
    ] = None,
    /,
    *,
    port: Annotated[int, Parameter(metavar="N", help="Port; 0: any free one.", show_default=True)] = 9464,
    host: Annotated[
        str, Parameter(metavar="ADDRESS", help="Address to listen on; 0.0.0.0: all.", show_default=True)
    ] = "127.0.0.1",
    once: Annotated[bool, Parameter(help="Print the metrics and stop.")] = False,
    given: Given,
    output: Output,
) -> int:
    """Serve the metrics of this machine's runs to Prometheus."""
    from reeldex.flows.monitoring.collection import collect
    from reeldex.flows.monitoring.endpoint import serve
    from reeldex.flows.monitoring.metrics import exposition
    from reeldex.flows.monitoring.run_file import FOLDER_VARIABLE, configured_folder

    del given  # its folder is the configured one
    found: Path | None = folder or configured_folder()
    if found is None:
        raise UsageError(
            "No folder of metrics is specified. Name it, as in `reeldex metrics DIR`, or set monitoring.metrics_folder "
            f"in pipeline.yaml or {FOLDER_VARIABLE} in the environment, so that runs record their metrics there."
        )
    if not 0 <= port < 65536:
        raise UsageError(f"--port {port}: must be 0 to 65535.")
    samples = collect(found)
    if once:
        output.respond(dict(samples), exposition(samples).removesuffix("\n"))
        return 0
    serve(found, host, port, _print_address)
    return 0


def _print_address(address: str) -> None:
    sys.stdout.write(f"Metrics: {address}\nPress Ctrl-C to stop.\n")
    sys.stdout.flush()
