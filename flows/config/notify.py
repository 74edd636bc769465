"""The section `notify` of `pipeline.yaml`: who is told when a run does not end well."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, SecretStr, SerializationInfo

from reeldex.options import Options

REVEALED: Mapping[str, Any] = MappingProxyType({"secrets": "revealed"})
"""The context of a dump of the configuration from which it is loaded again; all others hide secrets."""


def _dumped(secret: SecretStr | None, info: SerializationInfo) -> str | None:
    if secret is None:
        return None
    return secret.get_secret_value() if info.context is REVEALED else str(secret)


Secret = Annotated[SecretStr | None, PlainSerializer(_dumped, when_used="json")]


class NotifyOn(StrEnum):
    """The ends of a run that somebody is told of."""

    FAILED = "failed"
    CRASHED = "crashed"
    COMPLETED_WITH_FAILURES = "completed with failures"


class NotifyConfig(Options):
    """Who is told when a run fails, crashes, or completes with failures: by the Prefect server, through its own blocks.

    A value such as $LAB_WEBHOOK is taken from the environment of `reeldex up` and `reeldex deploy`, so that no secret
    has to be in this file.
    """

    webhook: Annotated[
        Secret,
        Field(
            title="Webhook",
            description="URL that receives a POST request with JSON (title, message, type); also one of Slack, Discord "
            "or another service that Apprise knows by its address.",
        ),
    ] = None
    email: Annotated[
        Secret,
        Field(
            title="E-mail",
            description="E-mail URL of Apprise: mailtos://user:password@smtp.example.org?to=lab@example.org.",
        ),
    ] = None
    apprise: Annotated[Secret, Field(title="Apprise URL", description="Any other URL of Apprise.")] = None
    when: Annotated[
        tuple[NotifyOn, ...],
        Field(min_length=1, title="When", description="Ends of a run: failed, crashed, completed with failures."),
    ] = tuple(NotifyOn)

    def targets(self) -> dict[str, str]:
        """Return the URLs that are set, by their keys."""
        given = {"webhook": self.webhook, "email": self.email, "apprise": self.apprise}
        return {name: secret.get_secret_value() for name, secret in given.items() if secret is not None}
