"""The addresses of `notify`: how they become URLs of Apprise, and that no message contains them."""

from __future__ import annotations

import json

import pytest
import yaml

from reeldex.errors import UsageError
from reeldex.flows.config.document import commented
from reeldex.flows.config.notify import REVEALED
from reeldex.flows.config.pipeline import PipelineConfig, parse_config
from reeldex.flows.server.notifications import apprise_url
from tests.conftest import Reeldex

SECRET = "s3cret-token"  # noqa: S105 - a test


@pytest.mark.parametrize(
    ("name", "given", "url"),
    [
        ("webhook", f"http://127.0.0.1:99/hook/{SECRET}", f"json://127.0.0.1:99/hook/{SECRET}"),
        ("webhook", f"HTTPS://user:{SECRET}@lab/h?a=1&b=", f"jsons://user:{SECRET}@lab/h?-a=1&-b="),
        ("webhook", "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", None),
        ("email", f"mailtos://user:{SECRET}@example.org?to=lab@example.org", None),
        ("apprise", f"json://127.0.0.1:99/{SECRET}", None),
        ("apprise", f"http://127.0.0.1:99/{SECRET}", f"json://127.0.0.1:99/{SECRET}"),
    ],
)
def test_addresses_become_urls_of_apprise(name: str, given: str, url: str | None) -> None:
    assert apprise_url(name, given) == (url or given)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("webhook", f"lab/{SECRET}", "notify.webhook: this is not a URL of http or https"),
        ("webhook", f"json://lab/{SECRET}", "notify.apprise"),
        ("webhook", f"http:///{SECRET}", "is not a web address"),
        ("webhook", f"http://[{SECRET}", "is not a web address"),
        ("webhook", "", "is not a URL"),
        ("email", f"{SECRET}@example.org", "mailtos://user:password@"),
        ("apprise", f"nothing://{SECRET}", "notify.apprise: Apprise cannot use this URL"),
        ("apprise", "$REELDEX_NOT_SET", "the environment variable REELDEX_NOT_SET is not set"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_naming_it(
    name: str, given: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UsageError) as raised:
        apprise_url(name, given)
    assert said in str(raised.value)
    assert SECRET not in str(raised.value)
    assert SECRET not in caplog.text


def test_an_address_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_WEBHOOK", f"http://lab/{SECRET}")
    assert apprise_url("webhook", "$LAB_WEBHOOK") == apprise_url("webhook", "${LAB_WEBHOOK}") == f"json://lab/{SECRET}"


def test_the_configuration_keeps_its_secrets_to_itself(reeldex: Reeldex) -> None:
    content = {"notify": {"webhook": f"http://lab/{SECRET}", "when": ["crashed"]}}
    config = parse_config(content, "test")
    for text in (repr(config), str(config), commented(config), json.dumps(config.model_dump(mode="json"))):
        assert SECRET not in text
    again = parse_config(config.model_dump(mode="json", context=REVEALED), "test")
    assert again == config
    assert again.notify.targets() == {"webhook": f"http://lab/{SECRET}"}
    shown = reeldex("config", "show", "--set", f"notify.webhook=http://lab/{SECRET}")
    assert shown.status == 0
    assert SECRET not in shown.out + shown.err


@pytest.mark.parametrize(
    "notify", [f"http://lab/{SECRET}", [SECRET], {"webhook": [SECRET]}, {"when": [SECRET]}, {"webhok": SECRET}]
)
def test_a_wrong_section_is_refused_without_its_values(notify: object) -> None:
    with pytest.raises(UsageError, match="notify") as raised:
        parse_config({"notify": notify}, "pipeline.yaml")
    assert SECRET not in str(raised.value)


def test_the_default_notifies_nobody() -> None:
    assert PipelineConfig().notify.targets() == {}
    assert yaml.safe_load(commented(PipelineConfig()))["notify"]["webhook"] is None
