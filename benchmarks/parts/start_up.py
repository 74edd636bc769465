"""Whole commands from the shell with warm caches, and the estimate of `--dry-run` against the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.clips import make_clip, make_mixed
from benchmarks.measuring import Figure, Spread, run_module
from benchmarks.parts.published_ratio import extract
from benchmarks.search_index import write_index
from benchmarks.sizes import Size
from reeldex.embedding.model import ModelSpec

_QUESTION = "word5 word77 word1234 word99999 word3"


def measure(size: Size, folder: Path) -> Iterator[Figure]:
    """Measure `search`, `extract` of one short clip, and estimates."""
    part = "from the shell, start-up included"
    spec = ModelSpec(embed_dim=size.embed_dim)
    index = write_index(folder, spec, videos=min(50, size.stored_videos))
    ask = ("search", _QUESTION, "--index", index, "-k", 5, "--json")
    first = json.loads(run_module("reeldex", *ask).out)  # keeps the text tower
    answered = [run_module("reeldex", *ask) for _ in range(2 * size.runs)]
    assert all(json.loads(each.out) == first for each in answered)
    assert len(first["moments"]) == 5
    checked = "the same answer each time"
    yield Figure(
        part, "reeldex search", "s", Spread.of([each.wall_seconds for each in answered]), checked, "at most", 1.5
    )
    yield Figure(part, "reeldex search, CPU time", "s", Spread.of([each.cpu_seconds for each in answered]), checked)

    clip = make_clip(folder / "one" / "clip.mp4", "640x360", 25, 0.4)
    if size.warm_up:
        extract(clip, folder / "warm")
    ran = [extract(clip, folder / f"short-{number}") for number in range(size.runs)]
    checked = "features of the clip"
    assert all(json.loads(each.out)["extracted_ok"] == 1 for each in ran)
    yield Figure(
        part, "reeldex extract of a clip of 0.4 s, to its end", "s",
        Spread.of([each.wall_seconds for each in ran]), checked, "at most", 4,
    )  # fmt: skip

    make_mixed(folder / "clips", size)
    shares = []
    # The first estimate of several has no run to learn from.
    first_counted = 1 if size.runs > 1 else 0
    for number in range(size.runs + first_counted):
        store = folder / f"estimated-{number}"
        options = ("--weights", "random", "--video-id", "path", "--no-server", "--json", "--dry-run")
        said = json.loads(run_module("reeldex", "extract", folder / "clips", "--store", store, *options).out)
        run = extract(folder / "clips", store)
        assert abs(json.loads(run.out)["seconds_of_video"] - said["seconds_of_video"]) < 1
        shares.append(said["total_seconds"] / run.wall_seconds)
    checked = "of the same videos"
    yield Figure(
        "--dry-run", "estimate / time of the run", "ratio", Spread.of(shares[first_counted:]), checked, "at least", 0.75
    )
    worst = [max(share, 1 / share) for share in shares[first_counted:]]
    yield Figure("--dry-run", "the larger of both / the smaller", "ratio", Spread.of(worst), checked, "at most", 1.25)
