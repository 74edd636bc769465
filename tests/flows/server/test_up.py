"""What `reeldex up` offers and how it finds its server; that it runs is tested in tests/system."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from reeldex.errors import UsageError
from reeldex.flows.config.pipeline import PipelineConfig, parse_config
from reeldex.flows.server.csp import block_external_requests
from reeldex.flows.server.deploy import register_all
from reeldex.flows.server.process import configured_api_url, listens
from reeldex.storage.process_id import process_of
from tests.conftest import Reeldex

ROOT = Path(__file__).resolve().parents[3]
SCHEDULES = {
    "schedules": [
        {"name": "every night", "source": "a", "store": "s", "cron": "0 2 * * *", "timezone": "Europe/Paris"},
        {"name": "often", "source": "b", "store": "s", "interval_seconds": 600, "when_busy": "skip", "active": False},
    ]
}


def test_the_forms_have_types_bounds_choices_and_explanations() -> None:
    from reeldex.flows.server.deployments import deployments

    offers = {offer.name: offer for offer in deployments(PipelineConfig(), {})}
    schemas = {name: offer._parameter_openapi_schema.model_dump() for name, offer in offers.items()}
    extract = schemas["extract"]
    assert extract["required"] == ["source", "store"]
    assert extract["properties"]["source"]["minLength"] == 1
    assert extract["properties"]["source"]["title"] == "Videos"
    assert extract["properties"]["settings"]["type"] == "object"
    assert "duplicate_id" in schemas["rerun-failed"]["properties"]["reasons"]["items"]["enum"]


@pytest.mark.parametrize(
    ("version", "said"),
    [("2.20.0", "Major versions must match. Check that it is running"), (None, "Failed to reach API")],
)
def test_a_server_of_another_major_version_or_none_gets_no_deployments(
    monkeypatch: pytest.MonkeyPatch, version: str | None, said: str
) -> None:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.settings import PREFECT_API_URL, temporary_settings

    def api_version(_: SyncPrefectClient) -> str:
        if version is None:
            raise ConnectionRefusedError
        return version

    # No such server can be installed here.
    monkeypatch.setattr(SyncPrefectClient, "api_version", api_version)
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(UsageError, match=f"nothing was registered: .*{said}"),
    ):
        register_all(PipelineConfig(), None, own_server=False)


def test_what_has_to_be_chosen_has_no_default_that_an_empty_field_would_fall_back_to() -> None:
    from reeldex.flows.server.deployments import deployments

    for offer in deployments(PipelineConfig(), {}):
        assert not {"source", "store"} & set(offer.parameters)


def test_forms_start_from_pipeline_yaml() -> None:
    from reeldex.flows.server.deployments import deployments

    config = parse_config({"extract": {"shard_videos": 7}, "compute": {"decoders": 3}}, "test")
    extract = deployments(config, {"working_dir": "/w"})[0]
    assert extract.parameters["settings"] == {"extract": {"shard_videos": 7}, "compute": {"decoders": 3}}
    assert extract.job_variables == {"working_dir": "/w"}
    assert extract.entrypoint == "reeldex.flows.extract.extract"


def test_schedules_become_deployments_whose_runs_decide_themselves_what_to_do_when_the_store_is_in_use() -> None:
    from reeldex.flows.server.deployments import deployments

    night, often = deployments(parse_config(SCHEDULES, "test"), {})[-2:]
    assert (night.name, night.flow_name, night.concurrency_limit) == ("every night", "extract", None)
    assert night.schedules is not None
    assert "timezone='Europe/Paris'" in repr(night.schedules[0].schedule)
    assert night.parameters["source"] == str(Path("a").absolute())
    assert night.parameters["settle_seconds"] == 60.0
    assert often.schedules is not None
    assert often.schedules[0].active is False
    assert often.parameters["when_busy"] == "skip"
    # Prefect's own limit would queue each, or cancel it.
    assert "concurrency_limit" in often.model_fields_set, "an update removes the limit of an earlier release"
    assert often.concurrency_limit is None


def test_a_schedule_over_a_folder_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    from reeldex.flows.server.schedule_sources import absent_sources

    (tmp_path / "there").mkdir()
    (tmp_path / "list.txt").touch()
    sources = [tmp_path / "there", tmp_path / "list.txt", tmp_path / "none", tmp_path / "*.avi", tmp_path / "the*"]
    schedules = [
        {"name": f"n{at}", "source": str(source), "store": "s", "interval_seconds": 60}
        for at, source in enumerate(sources)
    ]
    said = absent_sources(parse_config({"schedules": schedules}, "test"))
    assert len(said) == 2
    assert said[0].startswith(f"The schedule 'n2': There is no file or folder '{tmp_path / 'none'}'.")
    assert said[1].startswith("The schedule 'n3': There is no file or folder")


def test_a_schedule_may_be_over_a_url() -> None:
    from reeldex.flows.server.schedule_sources import absent_sources

    urls = ["s3://lab/v", "https://me:pa55@host/list.txt"]
    schedules = [{"name": f"n{at}", "source": url, "store": "s", "interval_seconds": 60} for at, url in enumerate(urls)]
    config = parse_config({"schedules": schedules}, "test")
    assert [each.located_source for each in config.schedules] == urls
    (said,) = absent_sources(config)
    assert said.startswith("The schedule 'n1': https://***@host/list.txt carries credentials")


def test_prefect_yaml_offers_the_same_deployments() -> None:
    from reeldex.flows.server.deployments import deployments

    written = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    offers = deployments(PipelineConfig(), {})
    assert [each["name"] for each in written] == [offer.name for offer in offers]
    for each, offer in zip(written, offers, strict=True):
        # A file of the repository there, the installed module here.
        module = each["entrypoint"].replace("/", ".").replace(".py:", ".")
        assert f"reeldex.{module}" == offer.entrypoint
        assert each["tags"] == offer.tags
        assert each["version"] == offer.version
        assert each["work_pool"]["name"] == offer.work_pool_name


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({}, "needs either cron or interval_seconds"),
        ({"cron": "0 2 * * *", "interval_seconds": 60}, "needs either cron or interval_seconds"),
        ({"interval_seconds": 60, "timezone": "UTC"}, "a timezone goes with cron"),
        ({"cron": "0 2 * * *", "timezone": "Europe/Pariss"}, "there is no time zone 'Europe/Pariss'"),
        ({"cron": "0 2 * * *", "name": "extract"}, "a deployment of reeldex has that name"),
        ({"cron": "0 2 * * *", "name": "a/b"}, "schedules.0.name"),
        ({"interval_seconds": 1}, "schedules.0.interval_seconds"),
        ({"cron": "0 2 * * *", "sore": "x"}, "schedules.0.sore: unknown key"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(schedule: dict[str, object], said: str) -> None:
    whole = {"name": "n", "source": "a", "store": "s", **schedule}
    with pytest.raises(UsageError) as raised:
        parse_config({"schedules": [whole]}, "pipeline.yaml")
    assert said in str(raised.value)


def test_a_cron_rhythm_that_cannot_be_is_refused() -> None:
    from reeldex.flows.server.deployments import deployments

    config = parse_config({"schedules": [{"name": "n", "source": "a", "store": "s", "cron": "every night"}]}, "x")
    with pytest.raises(UsageError, match="the schedule 'n': 'every night'"):
        deployments(config, {})


def test_two_schedules_of_one_name_are_refused() -> None:
    one = {"name": "n", "source": "a", "store": "s", "interval_seconds": 60}
    with pytest.raises(UsageError, match="two schedules are called n"):
        parse_config({"schedules": [one, one]}, "pipeline.yaml")


def test_the_server_is_the_one_that_the_settings_name(tmp_path: Path) -> None:
    profiles = 'active = "lab"\n[profiles.lab]\nPREFECT_API_URL = "http://lab/api"\n[profiles.own]\n'
    own = {"PREFECT_HOME": str(tmp_path)}
    assert configured_api_url(own) is None
    (tmp_path / "profiles.toml").write_text(profiles, encoding="utf-8")
    assert configured_api_url(own) == "http://lab/api"
    assert configured_api_url({**own, "PREFECT_PROFILE": "own"}) is None
    assert configured_api_url({**own, "PREFECT_API_URL": "http://here/api"}) == "http://here/api"


@pytest.mark.slow
def test_up_says_at_once_what_it_cannot_do(reeldex: Reeldex, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "p"), "HOME": str(tmp_path)}
        command = [sys.executable, "-m", "reeldex", "up", "--port", str(port)]
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert answer.returncode == 2
        assert f"Port {port} on 127.0.0.1 is not free" in answer.stderr
        environment["PREFECT_API_URL"] = f"http://127.0.0.1:{port + 1}/api"
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert answer.returncode == 2
        assert f"No Prefect server answers at http://127.0.0.1:{port + 1}/api" in answer.stderr
    for arguments, said in ((("--port", "0"), "--port 0"), (("--runs", "0"), "--runs 0"), (("--config", "no"), "no")):
        bad = reeldex("up", *arguments)
        assert bad.status == 2
        assert said in bad.err


def test_a_process_is_told_from_a_later_one_of_its_id() -> None:
    own = process_of(os.getpid())
    assert own == process_of(os.getpid())
    assert own.startswith(f"{os.getpid()}@")
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert process_of(child.pid) == f"{child.pid}@gone"


def test_the_ui_is_kept_to_its_own_server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    page = tmp_path / "v2" / "index.html"
    page.parent.mkdir()
    page.write_text("<html><head><title>Prefect</title></head></html>", encoding="utf-8")
    block_external_requests(tmp_path)
    once = page.read_text(encoding="utf-8")
    assert once.startswith('<html><head><meta http-equiv="Content-Security-Policy" content="connect-src \'self\'')
    block_external_requests(tmp_path)
    assert page.read_text(encoding="utf-8") == once


def test_only_the_started_process_counts_as_the_server() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        assert not listens(os.getpid(), port)
        listening.listen()
        assert listens(os.getpid(), port)
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        assert not listens(child.pid, port)
        child.communicate(b"\n")


@pytest.mark.slow
def test_a_server_in_prefects_own_files_is_found(tmp_path: Path) -> None:
    (tmp_path / "prefect.toml").write_text('[api]\nurl = "http://lab:4200/api"\n', encoding="utf-8")
    program = "from reeldex.flows.server.configured import find_server; print(find_server())"
    answer = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout == "http://lab:4200/api\n"
