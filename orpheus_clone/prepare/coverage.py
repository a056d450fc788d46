"""Which letters and sounds the texts hold, and which never or hardly.

Of English, sounds are told by how they are written: th, sh, ng, oo. That is coarse ("th" stands for
two sounds, "ough" for six) and says so; a phonemizer would be a dependency of some weight for one
table. Of other languages only letters are counted.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

RARE = 5
"""Seen fewer times than this, a sound is hardly taught."""

_ALPHABETS = {
    "en": "abcdefghijklmnopqrstuvwxyz",
    "de": "abcdefghijklmnopqrstuvwxyzäöüß",
    "fr": "abcdefghijklmnopqrstuvwxyzàâçéèêëîïôùûœ",
    "es": "abcdefghijklmnopqrstuvwxyzáéíóúñ",
    "it": "abcdefghilmnopqrstuvzàèéìòù",
}
_SPELLINGS = {
    "en": (
        *("th", "sh", "ch", "ng", "nk", "wh", "ph", "qu", "ck", "tch", "dge", "str", "spl", "ght"),
        *("ee", "ea", "oo", "ai", "ay", "oa", "ow", "ou", "oi", "oy", "au", "aw", "ew", "ie"),
        *("ar", "er", "ir", "or", "ur", "air", "ear", "tion", "sion", "ture", "ough"),
    ),
}


@dataclass(frozen=True)
class Coverage:
    """Counts over all texts, the most frequent first."""

    letters: dict[str, int]
    spellings: dict[str, int]
    """Groups of letters that stand for a sound; empty where no list of them is known."""
    missing: tuple[str, ...]
    """Letters of the alphabet and groups that never occur."""
    rare: tuple[str, ...]
    """Those that occur fewer than `RARE` times."""


def coverage(texts: Iterable[str], language: str) -> Coverage:
    """What `texts`, normalised, hold of the sounds of `language` (ISO 639-1)."""
    joined = "\n".join(texts).lower()
    alphabet = _ALPHABETS.get(language, "")
    found = Counter(c for c in joined if unicodedata.category(c)[0] == "L")
    letters = {c: found[c] for c in {*alphabet, *found}}
    spellings = {group: joined.count(group) for group in _SPELLINGS.get(language, ())}
    wanted = {c: found[c] for c in alphabet} | spellings
    return Coverage(
        letters=_by_count(letters),
        spellings=_by_count(spellings),
        missing=tuple(sound for sound, n in wanted.items() if n == 0),
        rare=tuple(sound for sound, n in wanted.items() if 0 < n < RARE),
    )


def _by_count(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
