"""Prefect's server as reeldex runs it: `python -m reeldex.flows.server.application --host HOST --port PORT`."""

from __future__ import annotations

import argparse
import os

from reeldex.flows.server.access import UVICORN_OPTIONS, guarded
from reeldex.garbage_collection import permanent_objects


def main() -> None:
    """Serve until SIGTERM comes."""
    with permanent_objects():
        import uvicorn
        from prefect.server.api.server import create_app

        from reeldex.flows.server.serialized_sqlite import serialize_transactions

        parser = argparse.ArgumentParser(description=main.__doc__)
        parser.add_argument("--host", required=True)
        parser.add_argument("--port", required=True, type=int)
        parser.add_argument(
            "--no-secret", action="store_true", help="give every user and program of this machine access"
        )
        arguments = parser.parse_args()
        os.environ["PREFECT_SERVER_API_HOST"] = arguments.host
        os.environ["PREFECT_SERVER_API_PORT"] = str(arguments.port)
        serialize_transactions()
        app = guarded(create_app(final=True), no_secret=arguments.no_secret)
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning", **UVICORN_OPTIONS)


if __name__ == "__main__":
    main()
