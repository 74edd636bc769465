"""Stop words: frequent words without a content of their own, which the HowTo100M paper leaves out of captions."""

from __future__ import annotations

from pathlib import Path

from reeldex.embedding.datasets.text_files import read_text
from reeldex.embedding.errors import DatasetError
from reeldex.embedding.words.vectors import tokenise

BUILT_IN = "english"
"""Stands for ENGLISH where a file of stop words is expected."""

# Articles, determiners and pronouns; forms of be, have and do; modal verbs; prepositions; conjunctions; adverbs.
_FUNCTION_WORDS = """
a an the this that these those some any each every all both few many much more most other another such same own
i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers
herself it its itself they them their theirs themselves one who whom whose which what
am is are was were be been being have has had having do does did doing
can could will would shall should may might must ought
about above across after against along among around as at before behind below beneath beside between beyond by down
during for from in inside into near of off on onto out outside over past since through throughout to toward towards
under until up upon with within without
and but or nor so yet if because although though unless while whereas than whether
not no only just very too also again further then once here there when where why how now
i'm i've i'll i'd we're we've we'll we'd you're you've you'll you'd he's he'll he'd she's she'll she'd it's it'll
they're they've they'll they'd that's there's here's what's who's let's
isn't aren't wasn't weren't hasn't haven't hadn't doesn't don't didn't can't cannot couldn't won't wouldn't shouldn't
mustn't
"""

ENGLISH = frozenset(_FUNCTION_WORDS.split())
"""English function words, in lower case."""


def load_stop_words(path: Path | None) -> frozenset[str]:
    """Read the words of a UTF-8 text file, in lower case; those of ENGLISH for `english`, none for None.

    Raises DatasetError for a file that is absent or has no words.
    """
    if path is None:
        return frozenset()
    if str(path) == BUILT_IN:
        return ENGLISH
    words = frozenset(word.lower() for word in tokenise(read_text(path)))
    if not words:
        raise DatasetError(f"{path} has no words. List stop words in it, or leave stop_words out.")
    return words


def content_words(text: str, stop_words: frozenset[str]) -> list[str]:
    """Return the words of a text that are not stop words, in its order; case does not count in the comparison."""
    return [word for word in tokenise(text) if word.lower() not in stop_words]
