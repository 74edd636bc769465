"""The tests on every supported Python: `make test-all`."""

from __future__ import annotations

import nox

nox.needs_version = ">=2025.10"
nox.options.default_venv_backend = "uv"
# A Python that is neither installed nor can be downloaded is an error, not a check that was silently left out.
nox.options.error_on_missing_interpreters = True

PYTHONS = ("3.11", "3.12", "3.13")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests, or those that the arguments choose, with the locked dependencies."""
    session.run_install("uv", "pip", "install", "--quiet", "--require-hashes", "-r", "requirements.lock")
    session.run_install("uv", "pip", "install", "--quiet", "--no-deps", "--editable", ".")
    arguments = session.posargs or ["-m", "not system and not gpu"]
    session.run("python", "-m", "pytest", "--numprocesses", "2", "--dist", "loadfile", *arguments)
