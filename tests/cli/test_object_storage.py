"""The commands on a store in an object store: the real client against a server of S3 on this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reeldex.embedding.training.checkpoint import load_checkpoint
from reeldex.storage.store import FeatureStore
from tests import object_services
from tests.conftest import MakeVideo, Reeldex
from tests.flows.captioned import TRAIN, make_captioned, own_words
from tests.flows.stores import RANDOM, WIDE_SPACES
from tests.object_services import ACCOUNT_KEY, url_of
from tests.object_store import KEY, SECRET, Fault, ObjectStore, client
from tests.search.library import write_checkpoint
from tests.waiting import wait_until

URL = "s3://lab/features"
ONE = ("--extractors", "wide2d", *RANDOM)


def objects(s3: ObjectStore) -> dict[str, bytes]:
    plain = client(s3)
    listed = plain.list_objects_v2(Bucket="lab").get("Contents", [])
    return {each["Key"]: plain.get_object(Bucket="lab", Key=each["Key"])["Body"].read() for each in listed}


def contents(service: ObjectStore) -> dict[str, bytes]:
    plain = object_services.client(service)
    return {path.removeprefix("lab/"): plain.cat_file(path) for path in plain.find("lab")}


@pytest.fixture
def videos(tmp_path: Path, make_video: MakeVideo) -> Path:
    for name in ("a", "b", "c"):
        make_video(tmp_path / "videos" / f"{name}.mp4", seconds=0.6)
    return tmp_path / "videos"


@pytest.mark.slow
def test_the_commands_take_a_url(reeldex: Reeldex, service: ObjectStore, tmp_path: Path, videos: Path) -> None:
    url = url_of(service, "features")
    (videos / "broken.mp4").write_text("no video\n", encoding="utf-8")
    extracted = reeldex("extract", videos, "--store", url, *ONE, "--shard-videos", 2, "--json")
    assert extracted.status == 1, "one video is broken"
    assert (extracted.json["extracted_ok"], extracted.json["shards_done"]) == (3, 2)
    for name, content in contents(service).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    local = tmp_path / "features"
    for video_id in ("a", "b", "c"):
        rows = FeatureStore(url).read(WIDE_SPACES[0], video_id)
        np.testing.assert_array_equal(rows, FeatureStore(local).read(WIDE_SPACES[0], video_id))

    status = reeldex("status", url, "--json", "--failures")
    assert (status.json["ok"], status.json["failed"], status.json["shards_done"]) == (3, 1, 2)
    assert reeldex("ls", url).out.count(".mp4") == 4
    assert f"features/{WIDE_SPACES[0]}/shard-00000.h5" in reeldex("show", url, "b").out
    assert reeldex("verify", url).status == 0
    assert "3 identical" in reeldex("compare", url, local).out
    nothing = reeldex("compare", local, f"{url}-nothing")
    assert (nothing.status, f"{url}-nothing is not a feature store" in nothing.err) == (2, True)
    again = reeldex("extract", videos, "--store", url, *ONE, "--json")
    assert (again.json["extracted_ok"], again.json["unchanged"]) == (0, 4)

    file = f"features/features/{WIDE_SPACES[0]}/shard-00000.h5"
    content = contents(service)[file]
    object_services.client(service).pipe_file(f"lab/{file}", content[:-100] + bytes(100))
    damaged = reeldex("verify", url)
    assert damaged.status == 1
    assert "rerun" in damaged.out
    assert "0 failed" in reeldex("rerun", url).out
    assert reeldex("verify", url).status == 0
    assert reeldex("forget", url, "c").status == 0
    assert FeatureStore(url).ids() == ["a", "b"]
    # Claims are given back, and nothing that was written has a secret.
    assert not [each for each in contents(service) if "/claims/" in each and not each.endswith(".folder")]
    written = [
        *contents(service).values(),
        *(path.read_bytes() for path in (tmp_path / "user cache").rglob("*") if path.is_file()),
    ]
    assert not [each for each in written if any(secret.encode() in each for secret in (KEY, SECRET, ACCOUNT_KEY))]


@pytest.mark.slow
def test_a_training_on_a_store_at_a_url_has_the_same_weights_and_an_outage_is_no_wrong_use(
    reeldex: Reeldex, tmp_path: Path, s3: ObjectStore
) -> None:
    make_captioned(tmp_path)
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file() and path.name[0] != ".":
            client(s3).put_object(Bucket="lab", Key=path.relative_to(tmp_path).as_posix(), Body=path.read_bytes())
    data = ("--dataset", "msrvtt", "--data", tmp_path)
    train = ("train", *data, *own_words(tmp_path), *TRAIN, "--epochs", 2)
    assert reeldex(*train, "--store", tmp_path / "store", "--out", tmp_path / "here").status == 0
    there = reeldex(*train, "--store", "s3://lab/store", "--workers", 2, "--out", tmp_path / "there")
    assert there.status == 0, there.err
    weights = [load_checkpoint(tmp_path / name / "last.pth").weights for name in ("here", "there")]
    own, other = ({name: value.numpy().tobytes() for name, value in each.items()} for each in weights)
    assert own == other
    s3.fail(Fault(503, "ServiceUnavailable", meant=lambda request: request.method == "GET" and ".h5" in request.path))
    use = ("--store", "s3://lab/store", "--checkpoint", tmp_path / "here/last.pth", "--word-cache", tmp_path / "cache")
    for command in (("evaluate", *data), ("index", "--index", tmp_path / "index")):
        failed = reeldex(*command, *use, "--device", "cpu")
        assert failed.status == 1, "the machine failed, not the user"
        assert "the service failed (ServiceUnavailable). Run it again later." in failed.err


@pytest.mark.slow
def test_a_killed_run_loses_only_what_is_in_progress(s3: ObjectStore, videos: Path, reeldex: Reeldex) -> None:
    """Killed while the feature file of the only shard is uploaded: its videos are staged on this machine."""
    s3.fail(
        Fault(
            500,
            "InternalError",
            seconds=60.0,
            meant=lambda request: request.method == "PUT" and request.path.endswith(".h5"),
        )
    )
    command = [sys.executable, "-m", "reeldex", "extract", str(videos), "--store", URL, *ONE]
    run = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: [each for each in s3.asked("PUT") if each.path.endswith(".h5")], 240)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    s3.heal()
    assert not [each for each in objects(s3) if each.endswith(".h5")]
    assert reeldex("status", URL, "--json").json["staged"] == 3
    staging = FeatureStore(URL).staging(0)
    tokens = tuple(staging.token(position) for position in staging.positions())
    again = reeldex("extract", videos, "--store", URL, *ONE, "--json")
    assert again.status == 0, again.err
    outcomes = FeatureStore(URL).outcomes(0)
    assert outcomes is not None
    assert outcomes.absorbed == tokens, "no video was extracted again"
    assert reeldex("verify", URL).status == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status", "s3://nobody/store"), "the bucket or container 'nobody' does not exist"),
        (("status", "s3://lab/nothing"), "s3://lab/nothing is not a feature store"),
        (("status", "s3://key:hunter2@lab/store"), "carries credentials"),
        (("status", "s5://lab/store"), "s5://lab/store cannot be opened"),
        (("status", "https://host/store"), "the web has no folders"),
        (("verify", "file:///data/store"), "Pass its path"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_in_words(
    s3: ObjectStore, reeldex: Reeldex, arguments: tuple[str, ...], words: str
) -> None:
    refused = reeldex(*arguments)
    assert refused.status == 2
    assert words in " ".join(refused.err.split())
    assert "hunter2" not in refused.err
    assert "Traceback" not in refused.err


@pytest.mark.slow
def test_a_fault_of_an_object_store_is_stated_once_with_what_to_do(
    reeldex: Reeldex, s3: ObjectStore, videos: Path
) -> None:
    assert s3.conditional
    answer = reeldex("extract", videos, "--store", "s3://nobody/store", *ONE)
    assert answer.status != 0
    assert "the bucket or container 'nobody' does not exist" in answer.err
    assert answer.err.count("Create it") == 1
    assert ".." not in answer.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cause", "status", "words"),
    [
        ("bucket", 2, "the bucket or container 'nobody' does not exist. Create it, or correct the URL"),
        ("refused", 2, r"(the credentials were refused \(InvalidAccessKeyId\)|access is denied \(403\))"),
        ("none", 2, "no credentials were found. Set AWS_ACCESS_KEY_ID"),
        ("dead", 1, "the service cannot be reached. Check the network, the URL, and the endpoint"),
        ("busy", 1, r"the service (asks for fewer requests|failed \(503\))"),
    ],
)
def test_one_cause_has_one_exit_status_and_the_same_words_in_all_commands(  # noqa: PLR0917 - fixtures
    reeldex: Reeldex,
    s3: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cause: str,
    status: int,
    words: str,
) -> None:
    import s3fs

    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "a.mp4").write_bytes(b"no video")
    captions, words_file, out, checkpoint = (tmp_path / name for name in ("c.csv", "words.txt", "out", "model.pt"))
    write_checkpoint(checkpoint)
    words_of = ("--set", f"words.file={words_file}")
    captions.write_text("video,start,end,text,split\na,0,1,a cat,train\n")
    words_file.write_text("cat 1 2\n")
    url = "s3://nobody/store" if cause == "bucket" else URL
    s3fs.S3FileSystem.clear_instance_cache()
    if cause == "none":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            monkeypatch.setenv(name, "/nonexistent")
    elif cause == "dead":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    elif cause == "refused":
        s3.fail(Fault(403, "InvalidAccessKeyId"))
    elif cause == "busy":
        s3.fail(Fault(503, "SlowDown"))
    monkeypatch.setattr("reeldex.remote_faults.ATTEMPTS", 2)
    brief = ("--set", "fetch.retries=0", *ONE)
    commands: tuple[tuple[object, ...], ...] = (
        ("extract", videos, "--store", url, *brief),
        ("extract", videos, "--store", url, *brief, "--dry-run"),
        ("extract", f"{url}/videos", "--store", tmp_path / "store", *brief),
        ("status", url),
        ("verify", url),
        ("rerun", url),
        ("ls", url),
        ("rm", url, "a"),
        ("forget", url, "a"),
        ("export", url, tmp_path / "npy"),
        ("index", "--store", url, "--checkpoint", checkpoint),
        ("train", "--dataset", "captions", "--store", url, "--captions", captions, *words_of, "--out", out),
    )
    for command in commands:
        answer = reeldex(*command)
        assert (answer.status, bool(re.search(words, " ".join(answer.err.split())))) == (status, True), (
            command,
            answer.status,
            answer.err,
        )
