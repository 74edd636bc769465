from __future__ import annotations

from reeldex.storage import layout
from reeldex.storage.schema import FeatureSpace
from reeldex.storage.store import FeatureStore
from tests.storage.conftest import Fill, Grow, MakeEntry


def test_a_store_lists_its_videos_as_a_table(
    store: FeatureStore, grow: Grow, fill: Fill, make_entry: MakeEntry, two_d: FeatureSpace
) -> None:
    odd = make_entry("odd", "/videos/[red]\udcff.mp4")
    grow("a", "b", odd)
    fill(0, failing={"b": "decode_error"})
    grow("later")
    videos = store.videos()
    assert [video.video_id for video in videos] == ["a", "b", "later", "odd"]
    assert [video.outcome for video in videos] == ["ok", "decode_error", "pending", "ok"]
    assert [video.path for video in videos] == [
        "/videos/a.mp4",
        "/videos/b.mp4",
        "/videos/later.mp4",
        "/videos/[red]\udcff.mp4",
    ]
    first = videos[0]
    rows = store.rows(two_d.name, "a")
    assert first.rows == {two_d.name: len(rows.rows)}
    outcome = store.outcome("a")
    assert outcome is not None
    assert first.duration_seconds == outcome.duration_seconds
    assert videos[1].message
    lines = repr(videos).splitlines()
    assert lines[0].split() == ["path", "duration", "(s)", "rows", two_d.name, "outcome"]
    assert lines[2].split()[0] == "/videos/a.mp4"
    assert lines[2].split()[-2:] == [str(len(rows.rows)), "ok"]
    assert lines[3].split() == ["/videos/b.mp4", "decode_error"]
    assert lines[5].startswith("/videos/[red]\\udcff.mp4 ")
    assert len(videos[1:3]) == 2
    assert "/videos/a.mp4" not in repr(videos[1:3])


def test_a_long_table_says_how_many_videos_it_leaves_out(store: FeatureStore, grow: Grow) -> None:
    grow(*(f"video{at:03d}" for at in range(50)), videos_per_shard=64)
    lines = repr(store.videos()).splitlines()
    assert lines[-1] == "... and 10 more of 50 videos"
    assert len(store.videos()) == 50


def test_repr_says_what_a_store_holds(store: FeatureStore, grow: Grow, fill: Fill, two_d: FeatureSpace) -> None:
    assert repr(store) == f"FeatureStore({str(store.path)!r}, videos=0, shards=0, spaces=[])"
    grow("a", "b")
    fill(0)
    assert repr(store) == f"FeatureStore({str(store.path)!r}, videos=2, shards=1, spaces=['{two_d.name}'])"


def test_repr_of_a_damaged_store_is_no_error(store: FeatureStore, grow: Grow) -> None:
    grow("a")
    layout.manifest_file(store.path, 0).write_text("{")
    assert "StoreDamagedError: " in repr(FeatureStore(store.path))


def test_rows_say_when_they_begin(store: FeatureStore, grow: Grow, fill: Fill, two_d: FeatureSpace) -> None:
    grow("a")
    fill(0)
    rows = store.rows(two_d.name, "a")
    assert rows.row_seconds.shape == (len(rows.rows),)
    assert rows.row_seconds.tolist() == [rows.start_seconds + at * rows.seconds_per_row for at in range(len(rows.rows))]
