"""Each video or clip is one candidate, however many sentences it has; and by which protocol a test set is ranked."""

from __future__ import annotations

import csv
import hashlib
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reeldex.embedding.datasets import epic_retrieval, lsmdc, msrvtt, youcook2
from reeldex.embedding.datasets.epic_options import EpicRetrievalOptions
from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.options import LsmdcOptions, MsrvttOptions, Youcook2Options
from reeldex.embedding.datasets.protocols import PROTOCOLS, ProtocolClaim, SetIdentity, identify, set_sha256
from reeldex.embedding.datasets.records import EvaluationSet
from reeldex.embedding.errors import DatasetError, MissingVideosError
from reeldex.embedding.evaluation.evaluate import SetResult, measure
from reeldex.embedding.evaluation.published_results import PUBLISHED_RESULTS
from tests.embedding.feature_files import VIDEOS
from tests.embedding.test_datasets import write_vectors

CASE = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "evaluation__two-captions-a-video.csv"


def msrvtt_set(
    folder: Path,
    pairs: Sequence[tuple[str, str]],
    without: Sequence[str] = (),
    **options: Any,  # noqa: ANN401
) -> EvaluationSet:
    """Write and open a test set of (video, sentence) rows with random vectors of its videos."""
    with (folder / "test.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("video_id", "sentence"), *pairs])
    generator = np.random.default_rng(0)
    ids = [each for each in sorted({video for video, _ in pairs}) if each not in without]
    vectors = {
        stream: {each: torch.from_numpy(generator.normal(size=width)) for each in ids}
        for stream, width in (("2d", 24), ("3d", 24))
    }
    torch.save(vectors, folder / "test.pth")
    return msrvtt.open_evaluation(
        MsrvttOptions(test_csv=folder / "test.csv", test_features=folder / "test.pth", **options)
    )


def perfect(test_set: EvaluationSet) -> SetResult:
    """Measure a model whose every sentence has its video's own vector."""
    videos = test_set.videos(0, len(test_set.clips))
    return measure(videos[test_set.right_clips] @ videos.T, test_set)


def recalls_at_1(result: SetResult) -> list[float]:
    return [each.retrieval.recall_at_1 for each in result.directions.values()]


@pytest.mark.skipif(not CASE.is_file(), reason="the cases lie outside this repository")
def test_two_sentences_a_video_are_ranked_as_one(tmp_path: Path) -> None:
    with CASE.open(encoding="utf-8", newline="") as file:
        pairs = [(row["video_id"], row["sentence"]) for row in csv.DictReader(file)]
    result = perfect(msrvtt_set(tmp_path, pairs))
    assert (result.clip_count, result.sentence_count) == (36, 72)
    assert recalls_at_1(result) == [1, 1]
    counts = [each.retrieval.query_count for each in result.directions.values()]
    assert counts == [72, 36]


def test_twenty_sentences_in_any_order_make_one_candidate(tmp_path: Path) -> None:
    pairs = [(f"video{at}", f"sentence {number} of {at}") for at in range(30) for number in range(20)]
    shuffled = [pairs[at] for at in np.random.default_rng(0).permutation(len(pairs))]
    sets = [msrvtt_set(tmp_path, each) for each in (pairs, shuffled)]
    for found in sets:
        assert (len(found.clips), len(found.captions)) == (30, 600)
        assert recalls_at_1(perfect(found)) == [1, 1]
        for caption, right in zip(found.captions, found.right_clips, strict=True):
            assert found.clips[right].clip_id == f"video{caption.split()[-1]}"
        assert all(len(clip.captions) == 20 for clip in found.clips)
    assert sets[1].captions == tuple(sentence for _, sentence in shuffled), "sentences stay in the file's order"
    assert sets[0].identity().sha256 == sets[1].identity().sha256


def test_one_sentence_that_several_videos_have_asks_for_each(tmp_path: Path) -> None:
    pairs = [(f"v{at}", "a man is talking" if at < 3 else f"a man with hat {at}") for at in range(8)]
    found = msrvtt_set(tmp_path, [*pairs, ("v5", "a man is talking"), ("v5", "a man is talking")])
    assert (len(found.clips), len(found.captions)) == (8, 10)
    assert found.right_clips.tolist() == [*range(8), 5, 5]


def test_a_video_without_features_leaves_with_all_its_sentences(tmp_path: Path) -> None:
    pairs = [(f"v{at}", f"s{number}") for at in range(10) for number in range(3)]
    with pytest.raises(MissingVideosError, match="2 of 10 videos"):
        msrvtt_set(tmp_path, pairs, without=("v1", "v4"))
    found = msrvtt_set(tmp_path, pairs, without=("v1", "v4"), max_missing_share=0.2)
    assert (len(found.clips), len(found.captions)) == (8, 24)
    assert (list(found.unusable.reasons), found.unusable.sentences) == (["v1", "v4"], 6)
    assert not found.unusable.complete
    assert recalls_at_1(perfect(found)) == [1, 1]


def test_a_clip_of_lsmdc_with_several_sentences_is_one_candidate(tmp_path: Path, store: FeatureLocation) -> None:
    lines = [f"{each}\t1\t2\t1\t2\tsentence {number}" for number in range(4) for each in VIDEOS]
    (tmp_path / "l.csv").write_text("\n".join(lines) + "\n")
    found = lsmdc.open_evaluation(LsmdcOptions(test_csv=tmp_path / "l.csv", features=store))
    assert [clip.clip_id for clip in found.clips] == VIDEOS
    assert found.right_clips.tolist() == [*range(6)] * 4
    assert recalls_at_1(perfect(found)) == [1, 1]


def test_a_span_of_youcook2_with_several_captions_is_one_candidate(tmp_path: Path, store: FeatureLocation) -> None:
    rows = ["video0,2,5.5,cut it", "video3,1,4,fry", "video0,2.0,00:00:05.5,chop it", "video0,2,5.6,cut on"]
    (tmp_path / "y.csv").write_text("video_id,start,end,text\n" + "\n".join(rows) + "\n")
    options = Youcook2Options(train_csv=tmp_path / "y.csv", test_csv=tmp_path / "y.csv", features=store)
    found = youcook2.open_evaluation(options)
    assert [clip.captions for clip in found.clips] == [("cut it", "chop it"), ("fry",), ("cut on",)]
    assert found.right_clips.tolist() == [0, 1, 0, 2]
    assert len(youcook2.open_training(options)) == 4, "each row is trained on"


def test_clips_of_youcook2_under_one_name_are_one_if_their_features_are(tmp_path: Path) -> None:
    first, second = (np.full(3, value, np.float32) for value in (1, 2))
    held = [
        {"id": "a_0", "caption": "x", "2d": first, "3d": first},
        {"id": "a_0", "caption": "y", "2d": first, "3d": first},
        {"id": "a_0", "caption": "z", "2d": first, "3d": second},
    ]
    (tmp_path / "y.pkl").write_bytes(pickle.dumps(held))
    found = youcook2.open_evaluation(Youcook2Options(test_pkl=tmp_path / "y.pkl"))
    assert [(clip.clip_id, clip.captions) for clip in found.clips] == [("a_0", ("x", "y")), ("a_0#3", ("z",))]


# Protocols


def pairs_of(videos: int, sentences: int) -> list[tuple[str, str]]:
    return [(f"video{at}", f"s{number}") for at in range(videos) for number in range(sentences)]


def test_a_stated_protocol_has_its_counts(tmp_path: Path) -> None:
    for protocol, rows in (("1k-A", pairs_of(36, 2)), ("full", pairs_of(1000, 1)), ("1k-B", pairs_of(500, 2))):
        with pytest.raises(DatasetError, match=f"test.csv: the protocol {protocol} of msrvtt has"):
            msrvtt_set(tmp_path, rows, protocol=protocol)
    found = msrvtt_set(tmp_path, pairs_of(1000, 1), protocol="1k-B")
    assert (found.identity().protocol, found.identity().published) == ("1k-B", False)


def test_other_sets_check_their_counts_too(tmp_path: Path, store: FeatureLocation) -> None:
    (tmp_path / "l.csv").write_text("".join(f"{each}\t1\t2\t1\t2\tsaid\n" for each in VIDEOS))
    with pytest.raises(DatasetError, match="1k of lsmdc has 1000 candidates and 1000 sentences, the file 6 and 6"):
        lsmdc.open_evaluation(LsmdcOptions(test_csv=tmp_path / "l.csv", features=store, protocol="1k"))
    (tmp_path / "y.csv").write_text("video_id,start,end,text\nvideo0,0,1,a\nvideo0,0,1,b\n")
    with pytest.raises(DatasetError, match="has 3350 candidates and 3350 sentences, the file 1 and 2"):
        youcook2.open_evaluation(Youcook2Options(test_csv=tmp_path / "y.csv", features=store, protocol="validation"))


@pytest.mark.slow
@pytest.mark.parametrize("bad", ["video1000\t1\t2\t1\t2\t\n", "video1000\t1\t2\n", "video0\t1\t2\t1\t2\tnan\n"])
def test_a_single_bad_row_does_not_refuse_a_stated_protocol(tmp_path: Path, bad: str) -> None:
    videos = [f"video{at}" for at in range(1001)]
    vectors = write_vectors(tmp_path / "t.pth", videos)
    rows = [f"{each}\t1\t2\t1\t2\tsaid\n" for each in videos]

    def opened(content: list[str]) -> EvaluationSet:
        (tmp_path / "l.csv").write_text("".join(content))
        return lsmdc.open_evaluation(LsmdcOptions(test_csv=tmp_path / "l.csv", test_features=vectors, protocol="1k"))

    held = opened([*rows[:999], bad])
    assert (len(held.clips), len(held.unusable.rows), held.identity().protocol) == (999, 1, None)
    with pytest.raises(DatasetError, match=r"the file 998 and 998, and 1 row that cannot be used\. Give"):
        opened([*rows[:998], bad])
    with pytest.raises(DatasetError, match=r"the file 1001 and 1001\. Give"):
        opened(rows)


@pytest.mark.slow
def test_the_full_test_split_of_msrvtt(tmp_path: Path) -> None:
    found = msrvtt_set(tmp_path, pairs_of(2990, 20), protocol="full")
    assert (len(found.clips), len(found.captions)) == (2990, 59800)
    assert found.identity().protocol == "full"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"protocol": "1k-C"}, "'1k-A', '1k-B' or 'full'"),
        ({"protocol": "1k-A", "published_sha256": "AB" * 32}, "published_sha256"),
        ({"published_sha256": "ab" * 32}, "needs protocol, which is one of 1k-A, 1k-B, full"),
    ],
)
def test_statements_that_cannot_be(options: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        MsrvttOptions(**options)  # type: ignore[arg-type]


def test_the_hash_is_of_ids_and_sentences_whatever_their_order(tmp_path: Path) -> None:
    found = msrvtt_set(tmp_path, [("v2", "b"), ("v1", 'größe, "quoted"'), ("v2", "a")])
    # The recipe as docs/datasets.md tells it.
    lines = ['["candidate","v1"]', '["candidate","v2"]', '["sentence","v1","größe, \\"quoted\\""]']
    lines += ['["sentence","v2","a"]', '["sentence","v2","b"]']
    assert found.identity().sha256 == hashlib.sha256("".join(f"{each}\n" for each in lines).encode()).hexdigest()
    others = ([("v2", "b"), ("v1", "a")], [("v1", "b"), ("v2", "a")], [("v1", "a"), ("v1", "a"), ("v2", "b")])
    hashes = {msrvtt_set(tmp_path, each).identity().sha256 for each in others}
    assert len(hashes) == 3
    assert json.loads(lines[2])[2] == 'größe, "quoted"'


@pytest.mark.slow
def test_a_thousand_sentences_are_not_yet_the_published_set(tmp_path: Path) -> None:
    rows = pairs_of(1000, 1)
    unknown = msrvtt_set(tmp_path, rows).identity()
    assert (unknown.protocol, unknown.published, unknown.possible) == (None, False, ("1k-A", "1k-B"))
    stated = msrvtt_set(tmp_path, rows, protocol="1k-A", published_sha256=unknown.sha256).identity()
    assert (stated.protocol, stated.published) == ("1k-A", True)
    other = msrvtt_set(tmp_path, [*rows[:-1], ("video999", "t")], protocol="1k-A", published_sha256=unknown.sha256)
    assert (other.identity().protocol, other.identity().published) == ("1k-A", False)
    part = msrvtt_set(tmp_path, rows, ["video3"], protocol="1k-A", published_sha256=unknown.sha256).identity()
    assert (part.protocol, part.published) == (None, False)


def test_what_the_only_fitting_protocol_is_and_what_a_record_shows() -> None:
    recorded = "77ddb95c6fd931d8c41654a5beb2903a1b9df1c44e5e413710eb8dd3bdec196a"
    counts = (9668, 3842)
    assert identify("epic-retrieval", recorded, counts, ProtocolClaim(), complete=True) == SetIdentity(
        recorded, "test", published=True
    )
    assert not identify("epic-retrieval", "00" * 32, counts, ProtocolClaim(), complete=True).published
    assert not identify("epic-retrieval", recorded, counts, ProtocolClaim(), complete=False).published
    assert identify("epic", "00" * 32, counts, ProtocolClaim(), complete=True) == SetIdentity("00" * 32)


def test_the_paper_s_figures_are_of_named_protocols_with_their_counts() -> None:
    for each in PUBLISHED_RESULTS:
        protocol = next(found for found in PROTOCOLS[each.test_set] if found.name == each.protocol)
        assert protocol.sentences == each.query_count


OFFICIAL = CASE.parents[1] / "epic"


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the official annotations lie outside this repository")
def test_the_recorded_hash_is_that_of_the_official_files() -> None:
    clips = epic_retrieval.read_actions(OFFICIAL / "EPIC_100_retrieval_test.csv")
    with (OFFICIAL / "EPIC_100_retrieval_test_sentence.csv").open(encoding="utf-8", newline="") as file:
        sentences = [(row["narration_id"], row["narration"]) for row in csv.DictReader(file)]
    sha256 = set_sha256([clip.narration_id for clip in clips], sentences)
    identity = identify("epic-retrieval", sha256, (len(clips), len(sentences)), ProtocolClaim(), complete=True)
    assert identity.published


def test_options_of_every_data_set_with_protocols_take_a_claim() -> None:
    for options in (MsrvttOptions(), LsmdcOptions(), Youcook2Options()):
        with pytest.raises(ValueError, match="protocol"):
            options.replaced(protocol="none")
    with pytest.raises(ValueError, match="should be 'test'"):
        EpicRetrievalOptions.model_validate({"protocol": "none"})
