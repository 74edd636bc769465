"""`python -m reeldex` is the command `reeldex`."""

from __future__ import annotations

import sys

from reeldex.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
