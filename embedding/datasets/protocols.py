"""Named test protocols of the data sets, and the identification of published test sets by their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from reeldex.embedding.errors import DatasetError
from reeldex.quantities import counted


@dataclass(frozen=True, slots=True)
class Protocol:
    """A published test protocol: how many candidates (videos or clips) are ranked by how many sentences."""

    name: str
    candidates: int
    sentences: int
    source: str


PROTOCOLS: Mapping[str, tuple[Protocol, ...]] = MappingProxyType(
    {
        "msrvtt": (
            Protocol("1k-A", 1000, 1000, "Yu et al., JSFusion, ECCV 2018"),
            Protocol("1k-B", 1000, 1000, "Miech et al., arXiv 1804.02516: the first sentence of each video"),
            Protocol("full", 2990, 59800, "Xu et al., MSR-VTT, CVPR 2016: 20 sentences per video"),
        ),
        "youcook2": (Protocol("validation", 3350, 3350, "Miech et al., arXiv 1906.03327"),),
        "lsmdc": (Protocol("1k", 1000, 1000, "LSMDC 2016 movie retrieval: the 1,000 public test clips"),),
        "epic-retrieval": (Protocol("test", 9668, 3842, "Damen et al., arXiv 2006.13256"),),
    }
)
"""Protocols by data set. Splits of MSR-VTT are named as in Liu et al., Use What You Have, BMVC 2019."""

PUBLISHED_SHA256: Mapping[tuple[str, str], str] = MappingProxyType(
    {("epic-retrieval", "test"): "77ddb95c6fd931d8c41654a5beb2903a1b9df1c44e5e413710eb8dd3bdec196a"}
)
"""`set_sha256` of published test sets by (data set, protocol): only those computed from the published files."""


@dataclass(frozen=True, slots=True)
class ProtocolClaim:
    """What a user states about a test set: its protocol, and the `set_sha256` of the published one."""

    protocol: str | None = None
    published_sha256: str | None = None


def claimed(test_set: str, protocol: str | None, published_sha256: str | None) -> ProtocolClaim:
    """Return the claim of these options; a hash without a protocol belongs to the test set's only protocol."""
    if published_sha256 is not None and protocol is None:
        protocol = PROTOCOLS[test_set][0].name
    return ProtocolClaim(protocol, published_sha256)


def require_counts(
    test_set: str, protocol: str | None, counts: tuple[int, int], path: Path, unusable_rows: int = 0
) -> None:
    """Raise DatasetError when a file does not have the counts (candidates, sentences) of the stated protocol.

    Each of the `unusable_rows`, which are not among the counts, may be a sentence, and that of a further candidate.
    """
    for each in PROTOCOLS.get(test_set, ()):
        lacking = [wanted - found for wanted, found in zip((each.candidates, each.sentences), counts, strict=True)]
        if each.name == protocol and not all(0 <= number <= unusable_rows for number in lacking):
            bad = f", and {counted(unusable_rows, 'row')} that cannot be used" if unusable_rows else ""
            raise DatasetError(
                f"{path}: the protocol {protocol} of {test_set} has {each.candidates} candidates and "
                f"{each.sentences} sentences, the file {counts[0]} and {counts[1]}{bad}. Give the file of that "
                "protocol, or leave protocol out."
            )


def fitting_protocols(test_set: str, candidates: int, sentences: int) -> tuple[str, ...]:
    """Return the names of the protocols that have these counts."""
    return tuple(
        each.name
        for each in PROTOCOLS.get(test_set, ())
        if (each.candidates, each.sentences) == (candidates, sentences)
    )


def set_sha256(candidate_ids: Iterable[str], sentences: Iterable[tuple[str, str]]) -> str:
    """Return the SHA-256 of a test set's content, independent of the order of its rows.

    `sentences` are pairs of the right candidate's id and the sentence. Hashed are the lines
    `["candidate", id]` and `["sentence", id, sentence]`, each as JSON without spaces in UTF-8, sorted, and each
    followed by a line feed.
    """
    lines = [_line("candidate", name) for name in candidate_ids]
    lines += [_line("sentence", name, sentence) for name, sentence in sentences]
    return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogatepass")).hexdigest()


def _line(*values: str) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n"


@dataclass(frozen=True, slots=True)
class SetIdentity:
    """Which test set was evaluated on.

    - `protocol`: the stated one, else the one known by its content, else the only one with these counts.
    - `published`: whether the content is known to be the published one of this protocol.
    - `possible`: the protocols with these counts, when they are several.
    """

    sha256: str
    protocol: str | None = None
    published: bool = False
    possible: tuple[str, ...] = ()
    stated_sha256: str | None = None


def identify(
    test_set: str, sha256: str, counts: tuple[int, int], claim: ProtocolClaim, *, complete: bool
) -> SetIdentity:
    """Return the identity of a test set with this content and these counts of candidates and sentences.

    A set with anything left out follows no protocol.
    """
    if not complete:
        return SetIdentity(sha256, stated_sha256=claim.published_sha256)
    fitting = fitting_protocols(test_set, *counts)
    recorded = next((name for name in fitting if PUBLISHED_SHA256.get((test_set, name)) == sha256), None)
    protocol = claim.protocol or recorded or (fitting[0] if len(fitting) == 1 else None)
    published = protocol in fitting and (protocol == recorded or claim.published_sha256 == sha256)
    possible = fitting if protocol is None else ()
    return SetIdentity(sha256, protocol, published, possible, claim.published_sha256)
