"""`reeldex weights`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reeldex.cli.command import Output, command
from reeldex.cli.settings import Given
from reeldex.extractors.errors import InvalidExtractorError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reeldex.extractors.weights import PretrainedWeights


@command(
    "weights",
    details="fetch downloads missing weights and verifies them; list checks present ones without downloading, "
    "those of networks of other installed packages too. The "
    "weights of the published text-video embedding (a few hundred MB) are downloaded only with --embedding.\n\n"
    "Exit status: 0 all present and verified; 1 something is missing or damaged; 2 wrong usage.",
    example="reeldex weights fetch",
)
def weights(
    action: Annotated[Literal["fetch", "list"], Parameter(help="fetch or list.")],
    /,
    *,
    embedding: Annotated[bool, Parameter(help="Also the published text-video embedding.")] = False,
    given: Given,
    output: Output,
) -> int:
    """Fetch the published weights, or show where they are stored."""
    from reeldex.extractors.registry import extractor, extractor_names
    from reeldex.flows.learning.published_files import published_checkpoint

    config = given.configuration().weights
    rows = {}
    for name in extractor_names():
        try:
            pretrained = extractor(name).pretrained
        except InvalidExtractorError as error:
            rows[name] = {"file": None, "url": None, "sha256": None, "state": "invalid", "error": str(error)}
            continue
        rows[name] = _weights_row(pretrained, config.files.get(name), config.folder, fetch=action == "fetch")
    fetch = embedding and action == "fetch"
    of_embedding = _weights_row(published_checkpoint(), None, config.folder, fetch=fetch)
    asked_for = [*rows.values(), *([of_embedding] if embedding else [])]
    lines = [
        "\n  ".join(filter(None, (f"{name}: {row['state']}", row["file"], _about(row))))
        for name, row in {**rows, "embedding (HowTo100M)": of_embedding}.items()
    ]
    listed = [{"extractor": name, **row} for name, row in rows.items()]
    output.respond({"weights": listed, "embedding": of_embedding}, "\n".join(lines))
    return 0 if all(row["state"] == "sound" for row in asked_for) else 1


def _about(row: Mapping[str, Any]) -> str:
    return str(row.get("error") or row["sha256"] or f"from {row['url']}")


def _weights_row(
    published: PretrainedWeights, local: Path | None, folder: Path | None, *, fetch: bool
) -> dict[str, Any]:
    from reeldex.extractors import weights as files
    from reeldex.flows.progress.downloads import find_or_fetch_shown

    path = files.file_of(published, local, folder)
    row: dict[str, Any] = {"file": str(path), "url": published.url, "sha256": None}
    try:
        if fetch:
            find_or_fetch_shown(published, local, folder)
        row["sha256"] = files.verify(path) if path.is_file() else None
        row["state"] = "sound" if row["sha256"] else "missing"
    except WeightsError as error:
        row["state"], row["error"] = ("damaged" if path.is_file() else "missing"), str(error)
    return row
