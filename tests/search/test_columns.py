"""Records in columns are what was put in, and take a bounded number of bytes each."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from reeldex.search.store_videos import StoreVideo, StoreVideos, compare
from reeldex.search.video_records import VideoRecord, VideoRecords

RECORD = VideoRecord("a", "/a", 1.5, "sig", 0, 1, 0, 0, 5)
ODD = ("", "a/ü.mp4", "u\u0308", "\udce9\ud800", "\U0001f3ac", "nul\0", " ")
LARGEST_RECORD_BYTES = 260


def videos(count: int) -> VideoRecords:
    """Records with ids, paths and signatures as long as those of real videos."""
    return VideoRecords(
        VideoRecord(
            f"folder-{at // 9:05d}/video-{at:05d}.mp4", f"/videos/{at:020d}.mp4", 4.0, f"{at:064x}", 1, 1, at, at, 1
        )
        for at in range(count)
    )


def test_records_are_what_was_put_in_whatever_their_texts() -> None:
    records = [replace(RECORD, video_id=odd, path=odd * 3, first_id=at, moments=2**62) for at, odd in enumerate(ODD)]
    columns = VideoRecords(records)
    assert len(columns) == len(ODD)
    assert list(columns) == [columns[at] for at in range(len(ODD))] == records
    assert (columns[-1], list(columns[1:3]), list(columns[::-1])) == (records[-1], records[1:3], records[::-1])
    assert list(columns.texts("video_id")) == list(ODD)
    assert columns.numbers("first_id").tolist() == list(range(len(ODD)))
    assert list(columns.chosen([4, 1])) == [records[4], records[1]]
    assert list(columns.chosen([4, 1, 0])[1:]) == [records[1], records[0]]
    for beyond in (len(ODD), -len(ODD) - 1):
        with pytest.raises(IndexError):
            columns[beyond]
    with pytest.raises(OverflowError):
        columns.append(replace(RECORD, first_row=2**63))
    assert list(VideoRecords()) == []


def test_what_is_unknown_stays_unknown_and_flags_stay_flags() -> None:
    video = StoreVideo("a", "/a", None, "sig", 3, captioned=True)
    columns = StoreVideos([video, replace(video, duration_seconds=0.0, captioned=False)])
    assert columns[0] == video
    assert (columns[0].duration_seconds, columns[0].captioned) == (None, True)
    assert [(each.duration_seconds, each.captioned) for each in columns] == [(None, True), (0.0, False)]


def test_a_record_takes_a_few_hundred_bytes() -> None:
    tracemalloc.start()
    try:
        records = videos(20_000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / len(records) < LARGEST_RECORD_BYTES


def test_videos_are_compared_by_their_content_and_place() -> None:
    held = videos(6)
    now = [StoreVideo(each.video_id, each.path, 4.0, each.signature, each.shard, captioned=False) for each in held]
    same = compare(held, StoreVideos(reversed(now)))
    assert (same.any, same.kept, len(same.gone)) == (False, held, 0)
    new = replace(now[0], video_id="new")
    changes = compare(
        held,
        StoreVideos(
            [new, replace(now[5], signature="x"), replace(now[4], path="/moved"), replace(now[2], shard=7), now[1]]
        ),
    )
    assert [each.video_id for each in changes.added] == ["new"]
    assert [each.video_id for each in changes.changed] == [held[5].video_id]
    assert (changes.removed, changes.moved, changes.any) == (2, 2, True)
    assert list(changes.gone) == [held[0], held[3], held[5]], "what was removed or changed"
    assert list(changes.kept) == [held[1], replace(held[2], shard=7), replace(held[4], path="/moved")]
