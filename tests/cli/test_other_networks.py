"""Networks that another installed package registers, from the command line to the rows of a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.extract import extract
from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo, Reeldex
from tests.flows.stores import RANDOM
from tests.networks import packages


@pytest.mark.slow
def test_a_network_joins_a_store_without_touching_its_files(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo
) -> None:
    store, video = tmp_path / "store", make_video(tmp_path / "videos" / "a.mp4", seconds=2.0)
    asked = ("extract", video.parent, "--store", store, *RANDOM, "--extractors")
    assert reeldex(*asked, "tiny2d").status == 0
    files = {path: path.read_bytes() for path in (store / "features").rglob("*.h5")}
    assert [path.parent.name for path in files] == ["tiny2d.random"]
    assert reeldex(*asked, "tiny3d", "--json").json["extracted_now"] == 1
    assert {path: path.read_bytes() for path in files} == files
    assert reeldex(*asked, "tiny2d,tiny3d", "--json").json["extracted_now"] == 0
    rows = {space: FeatureStore(store).read(space, "a") for space in ("tiny2d.random", "tiny3d.random")}
    assert {space: each.shape for space, each in rows.items()} == {"tiny2d.random": (2, 16), "tiny3d.random": (3, 16)}
    assert all(each.any(axis=1).all() for each in rows.values())
    assert reeldex("verify", store).status == 0
    # A rerun finds the networks by the names of the spaces.
    next(iter(files)).unlink()
    assert reeldex("rerun", store).status == 0
    assert (FeatureStore(store).read("tiny2d.random", "a") == rows["tiny2d.random"]).all()
    assert (FeatureStore(store).read("tiny2d.random", "a") == rows["tiny2d.random"]).all()


def test_weights_are_listed_and_a_misspelt_network_is_named(reeldex: Reeldex, tmp_path: Path) -> None:
    listed = reeldex("weights", "list", "--json")
    assert listed.status == 1
    rows = {row["extractor"]: (row["state"], row["url"]) for row in listed.json["weights"]}
    assert list(rows)[:2] == ["resnet152", "resnext101_3d"]
    assert rows["tiny2d"] == ("missing", "http://127.0.0.1:9/tiny.pth")
    (tmp_path / "a.mp4").write_bytes(b"any")
    answer = reeldex("extract", tmp_path, "--store", tmp_path / "store", *RANDOM, "--extractors", "tiny2e")
    assert answer.status == 2
    assert "There is no extractor 'tiny2e'. Did you mean 'tiny2d'?" in answer.err


def test_a_package_that_cannot_be_used_is_listed_and_the_others_too(
    reeldex: Reeldex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.install(tmp_path, monkeypatch, "1/0", "mine = other:RECORD")
    listed = reeldex("weights", "list", "--json")
    assert listed.status == 1
    rows = {row["extractor"]: row for row in listed.json["weights"]}
    assert rows["mine"]["state"] == "invalid"
    assert "'mine' of the package 'other' cannot be loaded (ZeroDivisionError" in rows["mine"]["error"]
    assert rows["tiny2d"]["state"] == "missing"
    assert "mine: invalid\n  The extractor 'mine' of the package" in reeldex("weights", "list").out


def test_forms_offer_the_networks_of_other_packages_and_the_default_stays() -> None:
    described = PipelineConfig.model_json_schema()["$defs"]["ExtractConfig"]["properties"]["extractors"]
    assert described["items"]["enum"] == ["resnet152", "resnext101_3d", "tiny2d", "tiny3d", "wide2d", "wide3d"]
    assert PipelineConfig().extract.extractors == ("resnet152", "resnext101_3d")
    form = extract.parameters.model_dump()["properties"]["extractors"]
    assert form["items"]["enum"] == described["items"]["enum"]
