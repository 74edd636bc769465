"""`python -m reeldex`, and the command `reeldex`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit status."""
    # Not at the top: each worker process imports the script `reeldex`, and with it this module, again.
    from reeldex.garbage_collection import skip_garbage_collection_at_exit

    skip_garbage_collection_at_exit()
    from reeldex.cli import main as command_line

    return command_line.main()


if __name__ == "__main__":
    sys.exit(main())
