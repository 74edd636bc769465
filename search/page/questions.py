"""Validates query parameters: bounded strings and numbers."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reeldex.search.page.problems import bad_request

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

    from reeldex.search.page.options import PageOptions

_WHOLE_NUMBER = re.compile(r"[0-9]{1,4}")
_SECONDS = re.compile(r"[0-9]{1,7}(\.[0-9]{1,6})?")
_DEFAULT_RESULTS = 24
MOST_SECONDS = 10_000_000


@dataclass(frozen=True)
class Question:
    """The number of results, whether to merge them, and the only video to search, if any."""

    most: int
    merge: bool
    within: str | None


def sentence_of(query: QueryParams, options: PageOptions) -> str:
    """Return the sentence to search for. Raises Problem (400)."""
    sentence = query.get("q", "").strip()
    if not sentence:
        raise bad_request("query_empty", "The query is empty. Type a few words, such as: chop the onion.")
    if len(sentence) > options.query_characters:
        raise bad_request(
            "query_too_long",
            f"The query has {len(sentence):,} characters; {options.query_characters} are allowed. Use fewer words.",
        )
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in sentence):
        raise bad_request("query_characters", "The query holds control characters. Type it again, on one line.")
    return sentence


def question_of(query: QueryParams, options: PageOptions) -> Question:
    """Return the result options of a request. Raises Problem (400)."""
    most = query.get("k", str(min(_DEFAULT_RESULTS, options.most_results)))
    if not _WHOLE_NUMBER.fullmatch(most) or not 1 <= int(most) <= options.most_results:
        raise bad_request("k", f"k, the number of results, is a whole number from 1 to {options.most_results}.")
    merge = query.get("merge", "1")
    if merge not in {"0", "1"}:
        raise bad_request("merge", "merge is 1 (overlapping moments are shown as one) or 0.")
    return Question(int(most), merge == "1", query.get("in"))


def seconds_of(text: str, name: str) -> float:
    """Return a time within a video, in seconds. Raises Problem (400)."""
    if not _SECONDS.fullmatch(text):
        raise bad_request(name, f"{name} is a time in seconds, such as 12.5.")
    seconds = float(text)
    if not math.isfinite(seconds) or seconds > MOST_SECONDS:
        raise bad_request(name, f"{name} is a time in seconds, at most {MOST_SECONDS:,}.")
    return seconds
