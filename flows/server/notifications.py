"""Messages about runs that do not end well: a notification block of Prefect and an automation for each target.

The server sends them, so that a crash of a whole machine is reported too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from apprise import Apprise
from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import get_client
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from reeldex.errors import UsageError
from reeldex.flows.config.notify import NotifyConfig, NotifyOn
from reeldex.flows.runs.names import TAG
from reeldex.flows.server.automations import register_automation

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient

_TARGETS = ("webhook", "email", "apprise")
_BLOCK_TYPE = "slack-webhook"
_EVENTS: Mapping[NotifyOn, str] = {
    NotifyOn.FAILED: "prefect.flow-run.Failed",
    NotifyOn.CRASHED: "prefect.flow-run.Crashed",
    NotifyOn.COMPLETED_WITH_FAILURES: "prefect.flow-run.Completed with failures",
}
_SUBJECT = "reeldex: {{ flow_run.name }}: {{ flow_run.state.name }}"
_BODY = "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}"
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}", re.ASCII)


def register_notifications(config: NotifyConfig) -> None:
    """Create or update the block and the automation of each target on the configured server; remove all others.

    An automation that was paused in the UI stays paused. Raises UsageError for an address that cannot be used; no
    message contains one.
    """
    urls = {name: apprise_url(name, url) for name, url in config.targets().items()}
    with get_client(sync_client=True) as client:
        for name in _TARGETS:
            if name in urls:
                # Prefect has no block for any Apprise URL; this one hands on what is not an address of Slack.
                # Awaitable only in asynchronous code.
                block = cast("UUID", SlackWebhook(url=SecretStr(urls[name])).save(_block_name(name), overwrite=True))
                _automate(client, name, config, block)
            else:
                _remove(client, name)


def apprise_url(name: str, given: str) -> str:
    """Return the Apprise URL of a target, such as `webhook`. Raises UsageError, without the address in its message."""
    url = _from_environment(name, given)
    scheme = url.partition(":")[0].lower()
    if name == "email" and scheme not in ("mailto", "mailtos"):
        raise UsageError(
            "notify.email: this is not an e-mail URL of Apprise. Give one such as "
            "mailtos://user:password@smtp.example.org?to=lab@example.org."
        )
    if name == "webhook" and scheme not in ("http", "https"):
        raise UsageError("notify.webhook: this is not a URL of http or https. Other URLs of Apprise: notify.apprise.")
    if scheme in ("http", "https") and not _is_known(url):
        url = _as_json_post(name, url)
    if not _is_known(url):
        raise UsageError(
            f"notify.{name}: Apprise cannot use this URL. Its documentation lists the URLs of each service."
        )
    return url


def _is_known(url: str) -> bool:
    """Whether Apprise can use a URL. It would log one that it cannot parse."""
    log = logging.getLogger("apprise")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        return Apprise.instantiate(url) is not None
    finally:
        log.setLevel(level)


def _from_environment(name: str, given: str) -> str:
    variable = _VARIABLE.fullmatch(given.strip())
    if variable is None:
        return given.strip()
    value = os.environ.get(variable[1] or variable[2])
    if not value:
        raise UsageError(f"notify.{name}: the environment variable {variable[1] or variable[2]} is not set.")
    return value.strip()


def _as_json_post(name: str, url: str) -> str:
    """Return the Apprise URL of a POST request with JSON to a web address; parameters that it sends begin with `-`.

    Prefect's own block for any web address would log the address, which may be the secret, when a request fails.
    """
    parts = None
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
    if parts is None or not parts.hostname:
        raise UsageError(f"notify.{name}: this is not a web address, such as https://example.org/hook.")
    query = urlencode([(f"-{key}", value) for key, value in parse_qsl(parts.query, keep_blank_values=True)])
    scheme = {"http": "json", "https": "jsons"}[parts.scheme.lower()]
    return urlunsplit((scheme, parts.netloc, parts.path, query, ""))


def _automate(client: SyncPrefectClient, name: str, config: NotifyConfig, block: UUID) -> None:
    automation = AutomationCore(
        name=_automation_name(name),
        description=f"notify.{name} of pipeline.yaml.",
        trigger=EventTrigger(
            match={"prefect.resource.id": "prefect.flow-run.*"},
            # Runs of a deployment: the steps of a pipeline are reported by the pipeline.
            match_related=[
                {"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"},
                {"prefect.resource.id": "prefect.deployment.*", "prefect.resource.role": "deployment"},
            ],
            for_each={"prefect.resource.id"},
            expect={_EVENTS[each] for each in config.when},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[SendNotification(block_document_id=block, subject=_SUBJECT, body=_BODY)],
    )
    register_automation(client, automation)


def _remove(client: SyncPrefectClient, name: str) -> None:
    for each in client.read_automations_by_name(_automation_name(name)):
        client.delete_automation(each.id)
    with contextlib.suppress(ObjectNotFound):
        client.delete_block_document(client.read_block_document_by_name(_block_name(name), _BLOCK_TYPE).id)


def _block_name(name: str) -> str:
    return f"reeldex-notify-{name}"


def _automation_name(name: str) -> str:
    return f"reeldex: notify by {name}"
