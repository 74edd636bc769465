"""Services that are not asked any more: which, until when, and whose fault it is that they do not answer."""

from __future__ import annotations

import time
from types import TracebackType

import pytest

from reeldex.errors import InfrastructureError
from reeldex.extractors.errors import FailureReason
from reeldex.flows.fetching.ahead import FetchedFiles
from reeldex.flows.fetching.faults import FaultKind, FetchError, ServiceFault
from reeldex.flows.fetching.looking import look_at, look_at_all
from reeldex.flows.fetching.services import GIVEN_UP_LATELY, Services
from reeldex.flows.fetching.witnesses import Witnesses, service_name
from tests.flows.fetching.conftest import Config, Impatient
from tests.flows.fetching.test_ahead import fetched, reason
from tests.flows.fetching.test_object_store import put
from tests.flows.fetching.web_server import Page, Request, Site, always, dripping, first, silent
from tests.object_store import Fault, ObjectStore

CONTENT = bytes(range(256)) * 2048
NOTHING = ServiceFault(FaultKind.SILENT, "nothing arrived for a while", "Check the network.")
NO_HOST = ServiceFault(FaultKind.UNREACHABLE, "it cannot be reached", "Check the network.")


@pytest.mark.slow
def test_a_dead_host_is_that_of_its_videos_while_others_answer(web: Site, config: Config) -> None:
    web.pages["/a.mp4"] = Page(CONTENT)
    dead = [f"http://127.0.0.1:1/{number}.mp4" for number in range(20)]
    urls = [*dead, web.url("/a.mp4")]
    started = time.monotonic()
    found = fetched(FetchedFiles(config(retries=4, retry_delay_seconds=0.1), dict.fromkeys(urls)), urls)
    assert found[urls[-1]] == CONTENT
    assert {reason(found[url]) for url in dead} == {FailureReason.UNREADABLE}
    # Only the first ones wait for it.
    assert time.monotonic() - started < 8
    # The next shards try it but once, and find out themselves whose fault it is.
    started = time.monotonic()
    alone = fetched(FetchedFiles(config(retries=9, retry_delay_seconds=5), dict.fromkeys(dead)), dead[:2])
    assert all(isinstance(each, InfrastructureError) for each in alone.values())
    assert time.monotonic() - started < 4


def test_a_service_that_was_given_up_lately_is_tried_once_until_it_answers(web: Site, config: Config) -> None:
    web.pages["/a.mp4"] = Page(CONTENT, first(2, always(503)))
    url, name = web.url("/a.mp4"), service_name(web.url("/a.mp4"))
    GIVEN_UP_LATELY[name] = time.monotonic() + 600
    for fault in (NOTHING, NO_HOST):
        assert not Services(config(retries=9)).patience(url).pause(fault, 1, url)
    # 503 is an answer: the attempts after it are as many as ever.
    assert fetched(FetchedFiles(config(), {}), [url])[url] == CONTENT
    assert name not in GIVEN_UP_LATELY
    for kind in (FaultKind.FAILED, FaultKind.THROTTLED, FaultKind.CUT):
        GIVEN_UP_LATELY[name] = time.monotonic() + 600
        patience = Services(config(retries=1)).patience(url)
        assert patience.pause(ServiceFault(kind, "it answers", "Wait."), 1, url)
        assert patience.pause(NO_HOST, 1, url)


@pytest.mark.slow
def test_a_host_that_never_answers_is_not_waited_for_by_each_of_its_videos(
    web: Site, config: Config, impatient: Impatient
) -> None:
    urls = [web.url(f"/{number}.mp4") for number in range(20)]
    for number in range(20):
        web.pages[f"/{number}.mp4"] = Page(CONTENT, silent)
    other = web.url("/other.mp4", "localhost")
    web.pages["/other.mp4"] = Page(CONTENT)
    impatient(urls)
    asked = config(retries=0, downloads=1)
    found = fetched(FetchedFiles(asked, dict.fromkeys(urls)), [*urls, other])
    # Three of twenty were waited for, and three more asked after the third.
    assert [path for path in web.pages if web.gets(path)] == ["/0.mp4", "/1.mp4", "/2.mp4", "/other.mp4"]
    assert len([each for each in web.requests if each.startswith("HEAD") and "other" not in each]) == 3
    assert {reason(found[url]) for url in urls} == {FailureReason.TIMEOUT}
    assert [url for url in urls if "did not answer for 3 others" in str(found[url])] == urls[3:]
    assert found[other] == CONTENT
    # The plan, too.
    services = Services(asked)
    assert [look_at(url, services, Witnesses([*urls, other])) for url in urls] == [None] * 20
    assert services.has_given_up(urls[0])
    assert not services.has_given_up(other)


@pytest.mark.slow
def test_a_host_that_answers_in_between_is_asked_on(web: Site, config: Config, impatient: Impatient) -> None:
    urls = [web.url(f"/{number}.mp4") for number in range(6)]
    for number in range(6):
        web.pages[f"/{number}.mp4"] = Page(CONTENT, silent) if number != 2 else Page(CONTENT)
    silent_ones = [url for url in urls if url != urls[2]]
    impatient(silent_ones)
    found = fetched(FetchedFiles(config(retries=0, downloads=1), dict.fromkeys(urls)), urls)
    assert found[urls[2]] == CONTENT
    others = [found[url] for url in silent_ones]
    assert {reason(each) for each in others} == {FailureReason.TIMEOUT}
    assert not any("others" in str(each) for each in others)


@pytest.mark.slow
def test_silence_of_all_services_is_no_fault_of_a_video(web: Site, config: Config) -> None:
    urls = [web.url(f"/{number}.mp4", host) for number in range(3) for host in ("127.0.0.1", "localhost")]
    for number in range(3):
        web.pages[f"/{number}.mp4"] = Page(CONTENT, silent)
    unplugged = config(retries=0, timeout_seconds=0.3)
    found = fetched(FetchedFiles(unplugged, dict.fromkeys(urls)), urls)
    assert {type(each) for each in found.values()} == {InfrastructureError}
    one_host = fetched(FetchedFiles(unplugged, dict.fromkeys(urls[::2])), urls[::2])
    assert {type(each) for each in one_host.values()} == {InfrastructureError}
    assert GIVEN_UP_LATELY == {}
    with pytest.raises(InfrastructureError, match="nothing arrived for a while"):
        look_at_all(urls, Services(unplugged))
    # Of a single one, nobody knows better.
    assert reason(fetched(FetchedFiles(unplugged, {}), urls[:1])[urls[0]]) is FailureReason.TIMEOUT
    assert look_at_all(urls[:1], Services(unplugged)) == {urls[0]: None}


@pytest.mark.slow
def test_videos_that_are_all_too_slow_are_no_silent_service(web: Site, config: Config) -> None:
    """Their time is up at the same moment, when nobody is left to be asked."""

    def stalling(request: Request, page: Page) -> None:
        request.head(200, content_length=len(page.content))
        if request.wants_body:
            request.wfile.write(page.content[:10])
            request.wfile.flush()
            time.sleep(6)  # time is tested: of a slow server

    urls = [web.url(f"/{number}.mp4") for number in range(3)]
    for number in range(3):
        web.pages[f"/{number}.mp4"] = Page(CONTENT, stalling)
    slow = config(retries=0, timeout_seconds=2, downloads=3)
    found = fetched(FetchedFiles(slow, dict.fromkeys(urls)), urls)
    assert {reason(each) for each in found.values()} == {FailureReason.TIMEOUT}
    # So none of them is judged as silence, for which others would be asked.
    assert all(isinstance(each, FetchError) and each.is_answer for each in found.values())


@pytest.mark.slow
def test_three_silent_videos_do_not_condemn_a_host_that_has_others(
    web: Site, config: Config, impatient: Impatient
) -> None:
    for number in range(3):
        web.pages[f"/{number}.mp4"] = Page(CONTENT, silent)
    web.pages |= {"/3.mp4": Page(CONTENT), "/4.mp4": Page(CONTENT)}
    urls = [web.url(f"/{number}.mp4") for number in range(5)]
    other = web.url("/4.mp4", "localhost")
    impatient(urls[:3])
    found = fetched(FetchedFiles(config(retries=0, downloads=1), dict.fromkeys([*urls, other])), [*urls, other])
    assert [reason(found[url]) for url in urls[:3]] == [FailureReason.TIMEOUT] * 3
    assert [found[url] for url in (*urls[3:], other)] == [CONTENT] * 3


@pytest.mark.slow
def test_what_still_arrives_of_a_service_is_an_answer(web: Site, config: Config, impatient: Impatient) -> None:
    # It has begun before the others are silent, and goes on.
    web.pages["/slow.mp4"] = Page(CONTENT[:40], dripping)
    for number in range(9):
        web.pages[f"/{number}.mp4"] = Page(CONTENT, silent)
    web.pages["/other.mp4"] = Page(CONTENT)
    urls = [web.url("/slow.mp4"), *(web.url(f"/{number}.mp4") for number in range(9))]
    impatient(urls[1:])
    services = Services(config())
    patience = services.patience(urls[0])
    witnesses = Witnesses([*urls[1:], web.url("/other.mp4", "localhost")])
    for url in urls[1:4]:
        assert isinstance(services.judged(url, NOTHING, witnesses), FetchError)
    with pytest.raises(FetchError, match="did not answer for 3 others"):
        services.of(urls[1])
    with services.of(web.url("/slow.mp4", "localhost")).opened(urls[0], 0, None, services.patience(urls[0])) as body:
        next(body.blocks)
        patience.answered()
    assert services.of(urls[1]) is not None
    assert not services.has_given_up(urls[1])


def test_an_answer_while_others_are_silent_is_noted_when_it_begins(web: Site, config: Config) -> None:
    url = web.url("/a.mp4")
    seen: list[bool] = []

    def answer(request: Request, page: Page) -> None:
        request.head(200, content_length=len(page.content))
        request.wfile.write(page.content[:-1])
        request.wfile.flush()
        deadline = time.monotonic() + 5
        while service_name(url) in GIVEN_UP_LATELY and time.monotonic() < deadline:
            time.sleep(0.01)  # time is tested: the other end reads
        seen.append(service_name(url) not in GIVEN_UP_LATELY)
        request.wfile.write(page.content[-1:])

    web.pages["/a.mp4"] = Page(CONTENT, answer)
    GIVEN_UP_LATELY[service_name(url)] = time.monotonic() + 600
    assert fetched(FetchedFiles(config(), {}), [url])[url] == CONTENT
    assert seen == [True]


@pytest.mark.slow
def test_what_is_not_asked_is_no_witness(web: Site, config: Config, impatient: Impatient) -> None:
    # Given up, not admitted, and no valid URL: of none of these it is known whether the network works.
    silent_ones = [web.url(f"/{number}.mp4") for number in range(3)]
    web.pages |= {f"/{number}.mp4": Page(CONTENT, silent) for number in range(3)}
    web.pages["/a.mp4"] = Page(CONTENT)
    other = web.url("/a.mp4", "localhost")
    impatient(silent_ones)
    services = Services(config(hosts=["127.0.0.1", "localhost"]))
    for url in silent_ones:
        services.judged(url, NOTHING, Witnesses([*silent_ones, other]))
    assert services.has_given_up(silent_ones[0])
    dead, unasked = "http://127.0.0.1:1/a.mp4", ["http://not-admitted.example/a.mp4", "http://127.0.0.1:x/a.mp4"]
    assert isinstance(services.judged(dead, NO_HOST, Witnesses([dead, silent_ones[0], *unasked])), InfrastructureError)
    assert services.has_given_up(silent_ones[0])
    # Nor does it take the place of one that is.
    services = Services(config())
    hosts = [f"http://127.0.0.1:{port}/a.mp4" for port in (2, 3, 4)]
    for url in hosts:
        assert isinstance(services.judged(url, NO_HOST, Witnesses([url, other])), FetchError)
    assert isinstance(services.judged(dead, NO_HOST, Witnesses([dead, *hosts, other])), FetchError)


@pytest.mark.slow
def test_a_host_that_redirects_answers(web: Site, config: Config, impatient: Impatient) -> None:
    # Some of its videos are at a host that is dead, others at one that is silent.
    for number in range(4):
        web.pages[f"/dead/{number}.mp4"] = Page(b"", always(302, location=f"http://127.0.0.1:1/{number}.mp4"))
        to_silent = web.url(f"/silent/{number}.mp4", "localhost")
        web.pages[f"/{number}.mp4"] = Page(b"", always(302, location=to_silent))
        web.pages[f"/silent/{number}.mp4"] = Page(CONTENT, silent)
    web.pages["/good.mp4"] = web.pages["/other.mp4"] = Page(CONTENT)
    dead, mute = ([web.url(f"{folder}/{number}.mp4") for number in range(4)] for folder in ("/dead", ""))
    good, other = web.url("/good.mp4"), web.url("/other.mp4", "localhost")
    impatient(mute)
    services = Services(config())
    assert look_at_all([*mute, *dead, good, other], services)[good] is not None
    assert not services.has_given_up(good)
    asked = config(retries=0, downloads=1)
    found = fetched(FetchedFiles(asked, dict.fromkeys([*dead, *mute, good, other])), [*dead, *mute, good, other])
    assert found[good] == found[other] == CONTENT
    assert {reason(found[url]) for url in dead} == {FailureReason.UNREADABLE}
    assert {reason(found[url]) for url in mute} == {FailureReason.TIMEOUT}
    assert GIVEN_UP_LATELY == {}


def test_each_video_of_a_dead_host_has_a_fault_of_its_own(web: Site, config: Config) -> None:
    web.pages["/a.mp4"] = Page(CONTENT)
    services, urls = Services(config()), [f"http://127.0.0.1:1/{number}.mp4" for number in range(50)]
    assert isinstance(services.judged(urls[0], NO_HOST, Witnesses([*urls, web.url("/a.mp4")])), FetchError)
    faults = []
    for url in urls:
        with pytest.raises(ServiceFault, match="it cannot be reached") as raised:
            services.of(url)
        faults.append(raised.value)
    assert len({id(fault) for fault in [*faults, NO_HOST]}) == len(urls) + 1
    assert {(fault.kind, fault.remedy) for fault in faults} == {(NO_HOST.kind, NO_HOST.remedy)}
    # A traceback would grow by each of them.
    assert {_depth(fault.__traceback__) for fault in faults} == {2}
    assert NO_HOST.__traceback__ is None


def _depth(trace: TracebackType | None) -> int:
    return 0 if trace is None else 1 + _depth(trace.tb_next)


@pytest.mark.slow
def test_silence_of_an_object_store_is_no_fault_of_a_video(
    s3: ObjectStore, web: Site, config: Config, impatient: Impatient
) -> None:
    web.pages["/a.mp4"] = Page(CONTENT)
    urls = put(s3, *(f"{number}.mp4" for number in range(5)))
    everything = [*urls, web.url("/a.mp4")]
    # One object of a store that answers: its content does not come, though what is said of it does.
    s3.fail(Fault(seconds=2, meant=lambda each: each.method == "GET" and "0.mp4" in each.path))
    impatient(urls[:1])
    found = fetched(FetchedFiles(config(retries=0), dict.fromkeys(everything)), everything)
    assert reason(found[urls[0]]) is FailureReason.TIMEOUT
    assert all(isinstance(found[url], bytes) for url in everything[1:])
    s3.heal()
    s3.fail(Fault(seconds=2))
    impatient(urls)
    found = fetched(FetchedFiles(config(retries=0), dict.fromkeys(everything)), everything)
    assert {type(found[url]) for url in urls} == {InfrastructureError}
    assert found[web.url("/a.mp4")] == CONTENT
    assert GIVEN_UP_LATELY == {}
