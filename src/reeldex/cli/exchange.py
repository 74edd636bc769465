"""`reeldex export` and `import`: features as .npy files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from reeldex.cli import terminal
from reeldex.cli.command import NonEmptyPath, Output, command
from reeldex.cli.settings import pairs
from reeldex.errors import UsageError
from reeldex.quantities import counted, data_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reeldex.storage.npy_import import ImportReport
    from reeldex.storage.npy_space import NpySpace
    from reeldex.storage.schema import JSON, FeatureSpace


@command(
    "export",
    details="The published layout is OUT/<space>/<video id>.npy. Each file is a (rows, 2048) float16 array. "
    "OUT/<space>/features.json records the fingerprint, and the path, duration, times and SHA-256 of each video: "
    "`reeldex import` restores them.\n\n"
    "Exit status: 0 exported; 2 wrong usage.",
    example="reeldex export ~/features ~/npy",
)
def export(
    store: Annotated[str, Parameter(help="Folder of the feature store, or its URL (s3://...).")],
    out: Annotated[NonEmptyPath, Parameter(help="Folder for the .npy files.")],
    /,
    *,
    space: Annotated[tuple[str, ...], Parameter(metavar="NAME", help="Only this feature space (repeatable).")] = (),
    overwrite: Annotated[bool, Parameter(help="Replace files with other content.")] = False,
    output: Output,
) -> int:
    """Write features as .npy files in the published layout."""
    from reeldex.storage.npy_export import export_npy
    from reeldex.storage.store import FeatureStore

    report = export_npy(FeatureStore(store), out, list(space) or None, overwrite=overwrite)
    answer = {"written": report.written, "unchanged": report.unchanged, "written_bytes": report.written_bytes}
    text = (
        f"Wrote {counted(report.written, 'file')} ({data_size(report.written_bytes)}), "
        f"skipped {report.unchanged:,} already present"
    )
    output.respond(answer, f"{text}: {out}")
    return 0


@command(
    "import",
    details="NPY_DIR holds <space>/<video id>.npy. Arrays must be (rows, dimensions) float16. Files that "
    "`reeldex export` wrote get back their fingerprint, durations and video paths; others are recorded as of unknown "
    "origin, with durations from their rows. With --as, NPY_DIR holds <video id>.npy of one feature space, which the "
    "store records as claimed: claimed features never mix with extracted ones in one store. Videos of which the "
    "store already has features are skipped.\n\n"
    "Exit status: 0 imported; 1 some were not, because their extraction failed or is unfinished in the store; 2 wrong "
    "usage.",
    example="reeldex import ~/npy ~/features",
)
def import_(  # noqa: PLR0913 - the command's options
    npy_dir: Annotated[NonEmptyPath, Parameter(help="Folder with one folder of .npy files per feature space.")],
    store: Annotated[str, Parameter(help="Folder of the feature store, or its URL (s3://...); created if absent.")],
    /,
    *,
    as_: Annotated[
        tuple[str, ...],
        Parameter(
            name="--as",
            metavar="SPACE",
            help="Claim that the files are features of this space, such as resnet152.imagenet1k_v1 (with --trust). "
            "Repeat it to import NPY_DIR/SPACE of several spaces at once.",
        ),
    ] = (),
    trust: Annotated[
        bool, Parameter(help="Accept the claim of --as, although .npy files do not record how they were made.")
    ] = False,
    without_record: Annotated[
        bool, Parameter(help="Ignore features.json, as if the files were of unknown origin.")
    ] = False,
    seconds_per_row: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="SPACE=S",
            help="Seconds of video per row, for a space of an extractor that is not registered (repeatable).",
        ),
    ] = (),
    output: Output,
) -> int:
    """Import .npy features into a store."""
    from reeldex.storage.npy_import import import_spaces
    from reeldex.storage.store import FeatureStore

    if not npy_dir.is_dir():
        raise UsageError(f"No such folder: {str(npy_dir)!r}.")
    given = _given_rates(seconds_per_row)
    _require_claim_with_trust(as_, trust=trust)
    spaces = _spaces(npy_dir, as_, given, records=not without_record)
    opened = FeatureStore(store, create=True)
    with opened.lock():
        report = import_spaces(spaces, opened)
    claimed = sorted(spaces) if as_ else []
    _warn(report, npy_dir, store, claimed=bool(claimed))
    answer = {
        "imported": report.imported,
        "already_there": report.already_there,
        "claimed": claimed,
        "not_normalised": report.not_normalised,
        "differing": report.differing,
        "lacking": report.lacking,
    }
    claim = f", recorded as claimed {' and '.join(claimed)}" if claimed else ""
    output.respond(
        answer,
        f"Imported {counted(report.imported, 'video')}, skipped {report.already_there:,} already present{claim}",
    )
    return 1 if report.lacking else 0


def _warn(report: ImportReport, npy_dir: Path, store: str, *, claimed: bool) -> None:
    """Report what a user should know of the files that were imported, or were not."""
    if claimed and report.not_normalised:
        terminal.report(
            f"the rows of {counted(report.not_normalised, 'file')} are not L2-normalised, as those of reeldex and of "
            "the published extractor are. Check the claim with `reeldex compare`.",
            logging.WARNING,
        )
    if report.differing:
        terminal.report(
            f"the store has other rows of {counted(report.differing, 'video')} than these files, and keeps them. "
            f"`reeldex compare {store} {npy_dir}` shows the differences.",
            logging.WARNING,
        )
    if report.lacking:
        terminal.report(
            f"{counted(report.lacking, 'video')} not imported: in the store, they failed or are not extracted in these "
            f"feature spaces yet (`reeldex ls {store}`). To use these files for them, `reeldex forget` their ids and "
            "import again.",
            logging.WARNING,
        )


def _require_claim_with_trust(claimed: tuple[str, ...], *, trust: bool) -> None:
    if claimed and not trust:
        raise UsageError(
            f"--as {claimed[0]}: .npy files do not record how they were made. Add --trust if you know that these are "
            "such features; the store records it as claimed."
        )
    if trust and not claimed:
        raise UsageError("--trust accepts the claim of --as SPACE; name the feature space.")


def _spaces(
    folder: Path, claimed: tuple[str, ...], rates: Mapping[str, float], *, records: bool
) -> dict[str, NpySpace]:
    """Return the feature spaces of a folder, by name: those that are claimed, or else its subfolders."""
    from reeldex.storage.npy_space import find_spaces

    if claimed:
        return _claimed(folder, claimed, rates, records=records)
    return find_spaces(folder, {**_registered_rates(folder), **rates}, records=records)


def _given_rates(seconds_per_row: tuple[str, ...]) -> dict[str, float]:
    seconds = {}
    for space, text in pairs(seconds_per_row, "--seconds-per-row SPACE=S").items():
        try:
            seconds[space] = float(text)
        except ValueError as error:
            raise UsageError(f"--seconds-per-row {space}={text}: {text!r} is not a number.") from error
        if not 0 < seconds[space] < float("inf"):
            raise UsageError(f"--seconds-per-row {space}={text}: it must be finite and above 0.")
    return seconds


def _registered_rates(folder: Path) -> dict[str, float]:
    """Return the seconds per row of the subfolders that are named after a registered extractor."""
    from reeldex.extractors.registry import extractor, extractor_names

    registered = extractor_names()
    return {
        each.name: extractor(each.name.partition(".")[0]).spec.seconds_per_row
        for each in sorted(folder.iterdir())
        if each.name.partition(".")[0] in registered
    }


def _claimed(folder: Path, names: tuple[str, ...], rates: Mapping[str, float], *, records: bool) -> dict[str, NpySpace]:
    from reeldex.storage.npy_space import claimed_space

    if len(set(names)) < len(names):
        raise UsageError(f"--as names a feature space twice: {', '.join(names)}.")
    if len(names) > 1 and (absent := [name for name in names if not (folder / name).is_dir()]):
        raise UsageError(f"With several --as, each needs a folder of its own: there is no {folder / absent[0]}.")
    found = {}
    for name in names:
        space, rate = _claim(name, rates)
        found[name] = claimed_space(folder, space, rate, records=records)
    return found


def _claim(name: str, rates: Mapping[str, float]) -> tuple[FeatureSpace, float]:
    """Return a claimed feature space: what its name says of the numbers, marked as claimed, and its seconds per row."""
    from reeldex.extractors.registry import extractor, extractor_names
    from reeldex.storage.schema import FeatureSpace

    registered, network = extractor_names(), name.partition(".")[0]
    record = extractor(network) if network in registered else None
    rate = rates.get(name, record.spec.seconds_per_row if record else None)
    if rate is None:
        raise UsageError(
            f"--as {name}: no registered extractor has this name ({', '.join(registered)}). Correct it, or give "
            f"--seconds-per-row {name}=S."
        )
    settings: dict[str, JSON] = {"origin": "imported npy", "claimed": True, "seconds_per_row": float(rate)}
    if record:
        settings |= {"extractor": record.spec.definition(), "dimensions": record.spec.feature_dim}  # type: ignore[dict-item]
    try:
        return FeatureSpace(name, settings), float(rate)
    except ValueError as error:
        raise UsageError(f"--as {name}: {error}") from error
