"""The whole way, from pictures to sentences that find them: real ffmpeg, random weights, a real training."""

from pathlib import Path

from extractors import planted
from flows.quickstart import TRAINING
from tests.flows.conftest import Reeldex


def test_what_is_planted_is_told_apart_and_never_tested_on_what_was_trained_on() -> None:
    train, test = planted.split()
    assert len({video.video_id for video in [*train, *test]}) == len(train) + len(test) == 4 * 3 * 3 * 3
    assert {said for video in train for said in video.captions()}.isdisjoint(
        {said for video in test for said in video.captions()}
    )
    assert planted.split() == (train, test)
    for kinds, of in (
        (planted.COLOURS, "colour"),
        (planted.TEXTURES, "texture"),
        (planted.SHAPES, "shape"),
        (planted.MOTIONS, "motion"),
    ):
        assert {getattr(video, of) for video in train} == set(kinds), "every word was heard while training"


def test_the_embedding_finds_planted_videos_it_has_not_seen(reeldex: Reeldex, tmp_path: Path) -> None:
    _, test = planted.make_planted(tmp_path)
    store = tmp_path / "store"
    extracted = reeldex(
        "extract", tmp_path / "videos", "--store", store, "--weights", "random", "--device", "cpu", "--json"
    )
    assert extracted.status == 0, extracted.err
    assert extracted.json["extracted_ok"] == 4 * 3 * 3 * 3
    data = ("--dataset", "msrvtt", "--store", store, "--data", tmp_path, "--word-cache", tmp_path / "cache")
    trained = reeldex("train", *data, "--out", tmp_path / "run", "--train-word-vectors", *TRAINING, "--device", "cpu")
    assert trained.status == 0, trained.err
    # The last checkpoint: which one is best was not chosen by the videos it is tested on.
    answer = reeldex("evaluate", *data, "--checkpoint", tmp_path / "run" / "last.pth", "--device", "cpu", "--json")
    assert answer.status == 0, answer.err
    found = answer.json["sets"]["msrvtt"]
    assert (found["sentences"], found["clips"], found["unusable_videos"]) == (len(test), len(test), 0)
    chance = 1 / len(test)
    for direction in ("text_to_video", "video_to_text"):
        assert found["directions"][direction]["retrieval"]["recall_at_1"] >= 10 * chance
