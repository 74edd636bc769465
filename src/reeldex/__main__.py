"""`python -m reeldex`, and the command `reeldex`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit status."""
    # Not at the top: each worker process, which multiprocessing starts, imports the main module of its parent again.
    from reeldex.cli import main as command_line

    return command_line.main()


if __name__ == "__main__":
    sys.exit(main())
