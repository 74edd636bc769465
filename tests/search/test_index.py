from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from reeldex.search.errors import IndexClosedError, IndexNotFoundError, QueryError, UnknownWordsError
from reeldex.search.index import LONGEST_QUERY, SearchIndex
from reeldex.search.options import IndexOptions
from tests.search.library import IVF, Library, eight_videos, make_library

SENTENCES = ("chop the onion", "boil water", "slice bread pan", "soup", "stir the soup in salt water")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    made = make_library(tmp_path_factory.mktemp("library"), eight_videos())
    made.build("exact")
    made.build("ivf", options=IVF)
    return made


def opened(library: Library, kind: str) -> SearchIndex:
    return SearchIndex.open(library.folder / kind)


@pytest.mark.parametrize("kind", ["exact", "ivf"])
@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_search_gives_what_comparing_with_every_moment_gives(library: Library, kind: str, sentence: str) -> None:
    query = library.sentence(sentence)
    twin = [(float(embedded @ query), video_id, window) for video_id, window, embedded in library.brute_force()]
    twin.sort(key=lambda each: -each[0])
    with opened(library, kind) as index:
        found = index.search(sentence, k=15, merge=False)
        assert index.about().moments == len(twin)
    assert [(moment.video_id, moment.start_seconds, moment.end_seconds) for moment in found] == [
        (video_id, window.start_seconds, window.end_seconds) for _, video_id, window in twin[:15]
    ]
    assert [moment.score for moment in found] == pytest.approx([score for score, _, _ in twin[:15]], abs=2e-3)
    assert all(moment.path == str(library.folder / "videos" / moment.video_id) for moment in found)


@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_all_moments_can_be_asked_for(library: Library, kind: str) -> None:
    with opened(library, kind) as index:
        found = index.search("soup", k=1000, merge=False)
        assert len(found) == index.about().moments
        assert len({moment.moment_id for moment in found}) == len(found)
        assert [moment.score for moment in found] == sorted((moment.score for moment in found), reverse=True)


@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_merged_answers_do_not_overlap_and_are_as_many_as_asked_for(library: Library, kind: str) -> None:
    with opened(library, kind) as index:
        merged = index.search("chop bread", k=12)
        assert len(merged) == 12
        assert not any(a.overlaps(b) for at, a in enumerate(merged) for b in merged[at + 1 :])
        assert merged[0].score == index.search("chop bread", k=12, merge=False)[0].score


@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_a_filter_by_id_gives_the_best_of_the_videos_that_match(library: Library, kind: str) -> None:
    with opened(library, kind) as index:
        everything = index.search("boil the soup", k=1000, merge=False)
        for pattern in ("part1/*", "*/video2.mp4", "part0/video[04].mp4"):
            found = index.search("boil the soup", k=4, merge=False, videos=pattern)
            assert list(found) == [moment for moment in everything if fnmatchcase(moment.video_id, pattern)][:4]
        with pytest.raises(QueryError, match=r"No video of the index has an id like 'PART1/\*'"):
            index.search("soup", videos="PART1/*")


@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_moments_like_another_are_the_nearest_ones_without_itself(library: Library, kind: str) -> None:
    moments = library.brute_force()
    own = next(each for each in moments if each[0] == "part1/video7.mp4" and each[1].start_seconds == 12)
    scores = sorted(
        ((float(embedded @ own[2]), video_id, window) for video_id, window, embedded in moments),
        key=lambda each: -each[0],
    )
    wanted = [(video_id, window.start_seconds) for _, video_id, window in scores if (video_id, window) != own[:2]]
    with opened(library, kind) as index:
        for name in ("part1/video7.mp4", "video7"):
            found = index.like(name, 16.2, k=9, merge=False)
            assert [(moment.video_id, moment.start_seconds) for moment in found] == wanted[:9]
        merged = index.like("part1/video7.mp4", 16.2, k=9)
        assert len(merged) == 9
        assert not any(
            moment.video_id == own[0] and moment.start_seconds < 20 and moment.end_seconds > 12 for moment in merged
        )


def test_what_cannot_be_answered_is_refused_with_the_reason(library: Library) -> None:
    with opened(library, "exact") as index:
        with pytest.raises(UnknownWordsError, match=r"none of these words are in the vocabulary: 'zwiebel', 'hacken'"):
            index.search("zwiebel hacken")
        with pytest.raises(QueryError, match="has no words"):
            index.search(" \0 ... ")
        with pytest.raises(QueryError, match=f"has {LONGEST_QUERY + 1} characters; at most {LONGEST_QUERY}"):
            index.search("x" * (LONGEST_QUERY + 1))
        with pytest.raises(QueryError, match="Between 1 and 1000 moments"):
            index.search("soup", k=0)
        with pytest.raises(QueryError, match=r"no video 'part1/video77.mp4'. Did you mean .*'part1/video7.mp4'"):
            index.like("part1/video77.mp4", 3)
        with pytest.raises(QueryError, match=r"lasts 12.3 seconds and has no moment at 12.4"):
            index.like("video1", 12.4)
        with pytest.raises(QueryError, match="has no moment at nan"):
            index.like("video1", float("nan"))
    with pytest.raises(IndexNotFoundError, match=r"There is no index at .*nowhere"):
        SearchIndex.open(library.folder / "nowhere")


def test_words_without_a_vector_are_named_once(library: Library) -> None:
    with opened(library, "exact") as index:
        found = index.search("Chop the zwiebel, the zwiebel!", k=3)
        assert found.unknown_words == ("Chop", "zwiebel")
        assert list(found) == list(index.search("the the", k=3))


def test_an_index_tells_what_it_is_made_of(library: Library) -> None:
    with opened(library, "exact") as exact, opened(library, "ivf") as ivf:
        about = exact.about()
        assert (about.factory, about.exact, about.videos, about.embed_dim, about.searched_dim) == (
            "SQfp16",
            True,
            8,
            24,
            24,
        )
        assert about.recall_at_10 == 1
        assert about.recall_queries == "synthetic queries"
        assert about.spaces == {"2d": "resnet152.test", "3d": "resnext101_3d.test"}
        assert about.size_bytes == sum(
            path.stat().st_size
            for path in (library.folder / "exact").iterdir()
            if path.name not in {"index.json", ".lock"}
        )
        assert (ivf.about().factory, ivf.about().exact, ivf.about().searched_dim) == ("IVF8,SQ8", False, 16)
        videos = exact.videos()
        assert list(videos) == sorted(eight_videos())
        assert videos["part1/video7.mp4"].duration_seconds == pytest.approx(56.1)
        assert sum(video.moments for video in videos.values()) == about.moments
        assert exact.refreshed() is exact


@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_many_threads_get_the_answers_of_one(library: Library, kind: str) -> None:
    with opened(library, kind) as index:
        alone = {sentence: index.search(sentence, k=7) for sentence in SENTENCES}
    with opened(library, kind) as index, ThreadPoolExecutor(8) as pool:
        asked = list(SENTENCES) * 8
        for sentence, found in zip(asked, pool.map(lambda each: index.search(each, k=7), asked), strict=True):
            assert [moment.moment_id for moment in found] == [moment.moment_id for moment in alone[sentence]]
            assert [moment.score for moment in found] == pytest.approx([moment.score for moment in alone[sentence]])


def test_a_closed_index_says_so_and_can_be_closed_again(library: Library) -> None:
    index = opened(library, "exact")
    index.videos()
    index.close()
    index.close()
    uses: list[Callable[[], object]] = [
        lambda: index.search("soup"),
        lambda: index.search("no word of it is known"),
        lambda: index.like("part0/video4.mp4", 3.0),
        index.videos,
        index.about,
        index.refreshed,
    ]
    for use in uses:
        with pytest.raises(IndexClosedError, match=r"was closed\. Open it again"):
            use()
    with index:
        pass


def test_equal_scores_come_in_the_order_of_videos_and_times(tmp_path: Path) -> None:
    library = make_library(tmp_path, {})
    library.add({f"still{at}": 30.0 for at in (3, 1, 2)}, still=True)
    library.build(options=IndexOptions(rerank_candidates=4, recall_sample=4, device="cpu"))
    with SearchIndex.open(tmp_path / "index") as index:
        found = index.search("soup", k=10, merge=False)
    assert [(moment.video_id, moment.start_seconds) for moment in found] == [
        *[("still1", 4.0 * at) for at in range(7)],
        *[("still2", 4.0 * at) for at in range(3)],
    ]
