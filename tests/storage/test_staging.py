from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reeldex.storage.errors import FingerprintError, StoreDamagedError
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoOutcome
from reeldex.storage.staging import Staging

MakeRows = Callable[..., FeatureRows]

OK = VideoOutcome("a", "/videos/\udcff.mp4", "ok", None, "", 1)
FAILED = VideoOutcome("b", "/b", "failed", "decode_error", "x" * 200_000, 1)


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    (tmp_path / "manifest").mkdir()
    return Staging(tmp_path, 7)


def test_a_video_comes_back(
    staging: Staging, tmp_path: Path, make_rows: MakeRows, two_d: FeatureSpace, three_d: FeatureSpace
) -> None:
    rows = make_rows("source")
    staging.put(12, OK, {two_d: rows})
    assert (tmp_path / "staging/shard-00007/00012.h5").is_file()
    assert staging.outcome(12).rows == {two_d.name: 6}
    assert staging.outcome(12).path == OK.path
    back = staging.rows(12, two_d)
    assert back
    assert np.array_equal(back.rows, rows.rows)
    assert (back.start_seconds, back.seconds_per_row, back.duration_seconds, back.truncated, back.source) == (
        0.0, 1.0, 6.0, False, "source",
    )  # fmt: skip
    assert staging.rows(12, three_d) is None
    assert staging.spaces(12) == {two_d.name: two_d}


def test_positions_are_in_order_whatever_their_number(staging: Staging) -> None:
    for position in (100_000, 3, 0, 99_999):
        staging.put(position, FAILED, {})
    assert staging.positions() == (0, 3, 99_999, 100_000)
    assert staging.outcome(3) == FAILED
    assert staging.positions(without={staging.token(3)}) == (0, 99_999, 100_000)
    staging.clear()
    assert staging.positions() == ()
    staging.clear()


def test_a_second_put_replaces_the_first(staging: Staging, make_rows: MakeRows, two_d: FeatureSpace) -> None:
    staging.put(0, FAILED, {})
    token = staging.token(0)
    staging.put(0, OK, {two_d: make_rows()})
    assert staging.outcome(0).status == "ok"
    assert staging.token(0) != token


def test_other_settings_are_refused(staging: Staging, make_rows: MakeRows, two_d: FeatureSpace) -> None:
    staging.put(0, OK, {two_d: make_rows()})
    with pytest.raises(FingerprintError, match=r"(?s)shard-00007.*fps: the store has 1, this run has 2.*--store"):
        staging.rows(0, FeatureSpace(two_d.name, {"weights": "aa", "fps": 2}))


def test_an_outcome_must_agree_with_its_features(staging: Staging, make_rows: MakeRows, two_d: FeatureSpace) -> None:
    with pytest.raises(ValueError, match="no features were given"):
        staging.put(0, OK, {})
    counted = VideoOutcome("a", "/a", "ok", None, "", 1, rows={two_d.name: 5})
    with pytest.raises(ValueError, match="given were"):
        staging.put(0, counted, {two_d: make_rows()})
    with pytest.raises(ValueError, match="one space twice"):
        staging.put(0, OK, {two_d: make_rows(), FeatureSpace(two_d.name, {}): make_rows()})
    assert staging.positions() == ()


def test_what_is_not_there_and_what_is_damaged(
    staging: Staging, tmp_path: Path, make_rows: MakeRows, two_d: FeatureSpace
) -> None:
    with pytest.raises(KeyError, match="Nothing is staged"):
        staging.outcome(0)
    rows = make_rows()
    staging.put(0, OK, {two_d: rows})
    path = tmp_path / "staging/shard-00007/00000.h5"
    content = bytearray(path.read_bytes())
    content[content.index(rows.rows.tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreDamagedError, match=r"00000.h5 is not an intact staged video: .*SHA-256.*`reeldex rerun`"):
        staging.rows(0, two_d)
    path.write_text(json.dumps({}))
    with pytest.raises(StoreDamagedError, match="not an intact staged video"):
        staging.outcome(0)
