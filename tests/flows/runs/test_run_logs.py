"""What Prefect's log of a run shows of messages with several lines, flags and waits."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from prefect.logging.handlers import APILogHandler

from reeldex.flows.runs.logs import FormWordsHandler, leave_out_traces


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    found = logging.getLogger("prefect.task_runs")
    before = list(found.filters)
    leave_out_traces((OSError,))
    yield found
    found.filters[:] = before


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (r"failed: KeyError('a\nb') - Retry 1/3 will start immediately", "failed: KeyError('a\nb') - Retry 1/3"),
        (r"Finished in state 'two\nlines'", "Finished in state 'two\nlines'"),
        (r"Finished in state 'a file \\n of that name'", r"Finished in state 'a file \\n of that name'"),
        ("100 % done", "100 % done"),
    ],
)
def test_a_line_of_prefect_is_legible(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture, said: str, shown: str
) -> None:
    with caplog.at_level(logging.INFO, "prefect.task_runs"):
        logger.propagate, before = True, logger.propagate
        logger.addHandler(caplog.handler)
        try:
            logger.info("%s", said)
        finally:
            logger.removeHandler(caplog.handler)
            logger.propagate = before
    assert caplog.messages[0] == shown


def test_only_prefect_is_sent_the_words_of_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    # The base class needs a flow run; what it is handed is the subject.
    monkeypatch.setattr(APILogHandler, "emit", lambda _, record: sent.append(record.getMessage()))
    record = logging.LogRecord("reeldex", logging.ERROR, "f.py", 1, "Use %s, 100 %%.", ("--precision fp32",), None)
    FormWordsHandler().emit(record)
    assert sent == ['Use "Precision" (compute.precision): fp32, 100 %.']
    assert record.getMessage() == "Use --precision fp32, 100 %."
