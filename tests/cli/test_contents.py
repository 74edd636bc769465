"""`reeldex ls` and `show`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reeldex.storage.growth import plan_growth
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.store import FeatureStore
from tests.conftest import Reeldex

SPACES = (FeatureSpace("net2d.v1", {"weights": {"sha256": "aa"}, "fps": 1}), FeatureSpace("net3d.v1", {"fps": 24}))
IDS = ["cooking/a.mp4", "cooking/b\n.mp4", "garden.mp4", "new.mp4"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of one shard with a success, a truncated video and a failure, and one that is planned."""
    found = FeatureStore(tmp_path / "store", create=True)
    entries = [VideoEntry(each, f"/videos/{each}", 1500, 1_700_000_000_000_000_000) for each in IDS]
    for part in (entries[:3], entries[3:]):
        growth = plan_growth(
            found.manifests(), part, videos_per_shard=3, spaces=[each.name for each in SPACES], exists=lambda _: True
        )
        found.add_shards(growth.new_shards)
    rows = {
        space: FeatureRows(np.ones((6, 4), np.float16), 0.5, 1.0, 6.0, truncated=False, source="x") for space in SPACES
    }
    outcomes = [
        VideoOutcome(IDS[0], entries[0].path, "ok", None, "", 1, duration_seconds=6.0),
        VideoOutcome(IDS[1], entries[1].path, "ok", "truncated", "It ends early.", 1, truncated=True),
        VideoOutcome(IDS[2], entries[2].path, "failed", "timeout", "It took too long.", 1),
    ]
    for position, outcome in enumerate(outcomes):
        found.staging(0).put(position, outcome, rows if outcome.status == "ok" else {})
    found.publish_shard(0, SPACES, provenance={"ffmpeg": "9.0.2"}, seconds_of_work=1.0)
    return found.path


def test_ls_lists_every_video_on_a_line(reeldex: Reeldex, store: Path) -> None:
    answer = reeldex("ls", store)
    assert answer.status == 0
    assert answer.out.splitlines() == [
        "cooking/a.mp4\tok\t6.0\tnet2d.v1=6,net3d.v1=6\t/videos/cooking/a.mp4",
        "'cooking/b\\n.mp4'\ttruncated\t6.5\tnet2d.v1=6,net3d.v1=6\t'/videos/cooking/b\\n.mp4'",
        "garden.mp4\ttimeout\t\t\t/videos/garden.mp4",
        "new.mp4\tpending\t\t\t/videos/new.mp4",
    ]


def test_ls_of_some(reeldex: Reeldex, store: Path) -> None:
    def ids(*arguments: str) -> list[str]:
        return [each["video_id"] for each in reeldex("ls", store, *arguments, "--json").json["videos"]]

    assert ids("cooking/*") == IDS[:2]
    assert ids("new*", "garden.mp4") == IDS[2:]
    assert ids("--outcome", "truncated") == [IDS[1]]
    assert ids("cooking/*", "--outcome", "timeout") == []
    assert reeldex("ls", store, "nothing*").status == 1
    empty = FeatureStore(store.parent / "empty", create=True).path
    assert reeldex("ls", empty).status == 0


def test_show_describes_the_spaces(reeldex: Reeldex, store: Path) -> None:
    answer = reeldex("show", store)
    assert answer.status == 0
    assert "net2d.v1: 2 videos, 12 rows, " in answer.out
    assert ', extracted\n  fps: 1\n  weights.sha256: "aa"\n  made with ffmpeg: 9.0.2 (1 shard)' in answer.out
    found = reeldex("show", store, "--json").json
    assert (found["videos"], found["shards"]) == (4, 2)
    assert [(each["name"], each["videos"], each["rows"]) for each in found["spaces"]] == [
        ("net2d.v1", 2, 12),
        ("net3d.v1", 2, 12),
    ]
    (store / "features/net3d.v1/shard-00000.h5").write_bytes(b"damaged")
    answer = reeldex("show", store)
    assert answer.status == 0
    assert ", unknown\n  1 file cannot be read: see `reeldex verify`" in answer.out
    assert reeldex("show", store, IDS[2]).status == 0


def test_show_describes_videos(reeldex: Reeldex, store: Path) -> None:
    answer = reeldex("show", store, IDS[0], IDS[2], IDS[3])
    assert answer.status == 0
    first, failed, pending = answer.out.split("\n\n")
    assert "  path      /videos/cooking/a.mp4\n  file      1.5 kB, changed 2023-11-14 22:13:20+00:00" in first
    assert "  outcome   ok, shard 0\n  duration  6.000 s (6 s)" in first
    assert "  net2d.v1: 6 rows of 4 dimensions, from 0.5 s on every 1 s" in first
    assert "    made with ffmpeg: 9.0.2" in first
    assert "  outcome   timeout, shard 0\n  message   It took too long." in failed
    assert "  outcome   pending, shard 1" in pending
    found = reeldex("show", store, IDS[0], "--json").json["videos"][0]
    extent = found["rows"]["net2d.v1"]["extent"]
    file = store / found["rows"]["net2d.v1"]["file"]
    rows = np.fromfile(file, "<f2", 24, offset=extent["offset_bytes"])
    assert rows.tolist() == [1.0] * 24
    answer = reeldex("show", store, "gardn.mp4")
    assert answer.status == 2
    assert "has no video 'gardn.mp4'" in answer.err
    assert "reeldex ls" in answer.err


def test_rm_removes_videos_and_spaces(reeldex: Reeldex, store: Path) -> None:
    with FeatureStore(store).lock():  # only looking needs no lock
        dry = reeldex("rm", store, IDS[0], "--dry-run")
    assert (dry.status, dry.out) == (0, "Would remove features of 1 video: 12 rows, 96 bytes\n")
    assert reeldex("rm", store, IDS[0]).out.startswith("Removed features of 1 video: 12 rows, ")
    assert reeldex("ls", store).out.startswith(repr(IDS[1]))
    answer = reeldex("rm", store, "--space", "net3d.v1", "--json")
    assert (answer.status, answer.json["videos"], answer.json["rows"]) == (0, 1, 6)
    assert FeatureStore(store).spaces() == ["net2d.v1"]
    assert reeldex("verify", store).status == 0


def test_verify_reads_a_sample_and_says_what_it_did_not_check(reeldex: Reeldex, store: Path) -> None:
    answer = reeldex("verify", store, "--sample", "1%", "--seed", "7", "--json")
    assert (answer.status, answer.json["checked_shards"], answer.json["total_shards"]) == (0, 1, 2)
    assert answer.json["sample"] == "1%, seed 7"
    assert (
        "Sample: 1 of 2 shards (1, seed 0) read; the other 1 was NOT checked."
        in reeldex("verify", store, "--sample", "1").out
    )
    assert "NOT checked" not in reeldex("verify", store, "--sample", "100%").out
    for arguments, said in [
        (("--sample", "0%"), "above 0% and at most 100%"),
        (("--sample", "some"), "'some' is neither a share of the shards, such as 1%, nor a number of them, such as 50"),
        (("--sample", "200%"), "a share of the shards is above 0% and at most 100%, not 200%"),
        (("--seed", "1"), "--seed chooses the shards of a --sample; give both."),
    ]:
        refused = reeldex("verify", store, *arguments)
        assert refused.status == 2
        assert said in refused.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name the videos to remove by their ids, or a feature space with --space."),
        ((IDS[0], "--space", "net2d.v1"), "Name the videos to remove by their ids, or a feature space"),
        (("--space", "net2d.v1", "--space", "net9d.v1"), "only feature space|no feature space"),
        (("gardn.mp4",), "no video with the id or path 'gardn.mp4'. Did you mean 'garden.mp4'"),
    ],
)
def test_rm_of_what_is_not_there(reeldex: Reeldex, store: Path, arguments: tuple[str, ...], said: str) -> None:
    answer = reeldex("rm", store, *arguments, "--dry-run")
    assert answer.status == 2
    assert any(each in answer.err for each in said.split("|"))
    assert len(FeatureStore(store).ids()) == 2
