"""The videos that are asked for when another one cannot be fetched: which, and at what cost."""

from __future__ import annotations

import pytest

from reeldex.flows.fetching.ahead import FetchedFiles
from reeldex.flows.fetching.faults import FaultKind, ServiceFault
from reeldex.flows.fetching.services import Services
from reeldex.flows.fetching.witnesses import Witnesses
from reeldex.remote_urls import RemoteUrl
from tests.flows.fetching.conftest import Config
from tests.flows.fetching.test_ahead import fetched

A, B, C, D = (f"http://{host}.example" for host in "abcd")


def test_the_latest_that_arrived_are_asked_for_first() -> None:
    urls = [f"{A}/1", f"{A}/2", f"{A}/3", f"{B}/1", f"{B}/2", f"{C}/1", f"{D}/1", f"{A}/2"]
    witnesses = Witnesses(urls)
    assert list(witnesses.of_same(f"{A}/1")) == [f"{A}/2", f"{A}/3"]
    assert list(witnesses.elsewhere(f"{A}/1", {"c.example"})) == [f"{B}/1", f"{D}/1"]
    for url in (f"{A}/3", f"{D}/1", f"{B}/2"):
        witnesses.has_arrived(url)
    assert list(witnesses.of_same(f"{A}/1")) == [f"{A}/3", f"{A}/2"]
    assert list(witnesses.elsewhere(f"{A}/1", ())) == [f"{B}/2", f"{D}/1", f"{C}/1"]
    assert list(witnesses.of_same("s3://bucket/a")) == []


def test_whether_a_video_is_the_only_one() -> None:
    assert Witnesses([f"{A}/1", f"{A}/1"]).is_alone(f"{A}/1")
    assert not Witnesses([f"{A}/1", f"{A}/2"]).is_alone(f"{A}/1")
    assert not Witnesses().is_alone(f"{A}/1")
    assert [bool(each) for each in (Witnesses(), Witnesses([f"{A}/1"]))] == [False, True]


@pytest.mark.parametrize("kind", [FaultKind.FAILED, FaultKind.UNREACHABLE])
def test_videos_are_not_gone_through_for_each_one_that_fails(
    config: Config, monkeypatch: pytest.MonkeyPatch, kind: FaultKind
) -> None:
    monkeypatch.setattr(Services, "_look", lambda *_: None)  # a request for each, which would take the time of the test
    parse, parsed = RemoteUrl.parse, [0]

    def counted(text: str) -> RemoteUrl:
        parsed[0] += 1
        return parse(text)

    monkeypatch.setattr(RemoteUrl, "parse", counted)

    def cost(videos: int) -> int:
        parsed[0] = 0
        services = Services(config())
        dead = [f"{B}/{number}" for number in range(videos)]
        witnesses = Witnesses([*(f"{A}/{number}" for number in range(videos)), *dead])
        for url in dead:
            services.judged(url, ServiceFault(kind, "it fails", "Wait."), witnesses)
        return parsed[0]

    assert cost(400) < 5 * cost(100)


def test_the_videos_of_a_shard_are_listed_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Witnesses] = []
    judged = Services.judged

    def noted(services: Services, url: str, fault: ServiceFault, witnesses: Witnesses) -> Exception:
        asked.append(witnesses)
        return judged(services, url, fault, witnesses)

    monkeypatch.setattr(Services, "judged", noted)
    urls = [f"http://127.0.0.1:1/{number}.mp4" for number in range(5)]
    fetched(FetchedFiles(config(retries=0), dict.fromkeys(urls)), urls)
    assert len(asked) == 5
    assert len({id(each) for each in asked}) == 1
