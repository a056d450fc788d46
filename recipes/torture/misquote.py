"""Transcripts that are not what was said: another's, one word changed, the end missing."""

import re
from collections.abc import Sequence

from numpy.random import Generator

WORDS_PER_CHANGE = 8
"""One content word in so many is changed, and always at least one."""
CLAUSE_SHARE = (0.2, 0.6)
"""The part of the words that is taken for the last clause where a comma stands there."""
FEWEST_WORDS = 5
"""A text must have so many for a change or a lost clause to leave something."""
ATTEMPTS = 10_000
COMMON = 4
"""A word of fewer letters is no content word."""
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """that this with from have will your been they them their there then than what when where
        which were would could should about into over only also does each some such these those
        very upon shall being please here""",
    )
)


def words(text: str) -> list[str]:
    """The words in lower case without punctuation."""
    return re.findall(r"[\w']+", text.lower())


def is_content(word: str) -> bool:
    """Whether a word says something: long enough, and no function word."""
    return len(word) >= COMMON and word.isalpha() and word not in _FUNCTION_WORDS


def swapped(texts: Sequence[str], rng: Generator) -> list[str]:
    """The same texts in other places; none shares more than a quarter of its content words.

    ValueError where no such exchange is found.
    """
    for _ in range(ATTEMPTS):
        taken = [texts[i] for i in rng.permutation(len(texts))]
        if all(_differ(one, other) for one, other in zip(texts, taken, strict=True)):
            return taken
    raise ValueError("the texts are too alike to be swapped; draw others")


def changed(text: str, vocabulary: Sequence[str], rng: Generator) -> str:
    """One content word in eight replaced by another of the vocabulary, of about its length."""
    pieces = re.split(r"([\w']+)", text)
    places = [n for n in range(1, len(pieces), 2) if is_content(pieces[n].lower())]
    if not places:
        places = [max(range(1, len(pieces), 2), key=lambda n: len(pieces[n]))]
    count = max(1, round(len(places) / WORDS_PER_CHANGE))
    for place in rng.choice(places, size=min(count, len(places)), replace=False):
        old = pieces[place]
        pieces[place] = _cased(_another(old.lower(), vocabulary, rng), old)
    return "".join(pieces)


def cut(text: str) -> str:
    """The text without its last clause: from the last comma, else without its last third."""
    said = text.split()
    few, many = (max(2, round(len(said) * share)) for share in CLAUSE_SHARE)
    ends = [n for n, word in enumerate(said, start=1) if word[-1] in ",;:.?!" and n < len(said)]
    keep = next((n for n in reversed(ends) if few <= len(said) - n <= many), None)
    if keep is None:
        keep = len(said) - max(2, round(len(said) / 3))
    return " ".join(said[:keep]).rstrip(",;:") + "."


def _differ(one: str, other: str) -> bool:
    mine, theirs = _gist(one), _gist(other)
    return len(mine & theirs) <= min(len(mine), len(theirs)) / 4


def _gist(text: str) -> set[str]:
    """Its content words, or all where it has none."""
    said = words(text)
    return {word for word in said if is_content(word)} or set(said)


def _another(old: str, vocabulary: Sequence[str], rng: Generator) -> str:
    """A word of about the same length that begins otherwise and shares no long part."""
    near = [w for w in vocabulary if abs(len(w) - len(old)) <= 2 and w[:2] != old[:2]]
    candidates = [w for w in near if w[-3:] != old[-3:] and w not in old and old not in w]
    return str(rng.choice(candidates or [w for w in vocabulary if w != old]))


def _cased(new: str, old: str) -> str:
    return new.capitalize() if old[:1].isupper() else new
