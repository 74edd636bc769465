"""A store that was exported and imported is indexed, searched and played like the one it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from reeldex.search.index import SearchIndex
from reeldex.storage.npy_export import export_npy
from reeldex.storage.npy_import import import_npy
from reeldex.storage.store import FeatureStore
from tests.search.library import OPTIONS, answers, eight_videos, make_library


@pytest.mark.slow
def test_the_index_of_an_imported_store_gives_the_same_answers_and_files(tmp_path: Path) -> None:
    library = make_library(tmp_path, eight_videos())
    library.build("index")
    export_npy(library.store, tmp_path / "npy")
    with FeatureStore(tmp_path / "imported", create=True).lock():
        import_npy(tmp_path / "npy", FeatureStore(tmp_path / "imported"), seconds_per_row={})
    # The files of the videos are there: with `drop`, one without its file would be left out.
    options = OPTIONS.replaced(missing_files="drop")
    report = library.build("again", store=tmp_path / "imported", options=options)
    assert (report.videos_added, report.videos_without_file) == (8, 0)
    assert answers(tmp_path / "again") == answers(tmp_path / "index")
    with SearchIndex.open(tmp_path / "again") as index:
        for video_id, video in index.videos().items():
            assert Path(video.path).read_text() == f"{video_id} 0"
            assert video.duration_seconds == eight_videos()[video_id]
