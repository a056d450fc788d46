"""What was said, in words: a text against what a recogniser heard of it.

Both are put into words without case, punctuation, tags, digits or abbreviations, and aligned word
by word so that as little as possible is unlike:

    text    please  hang   up  your  phone  and  call  back
    heard   please   -     up  your   fone  and   pull   -
                 unspoken       sounds alike     substituted

A recogniser spells what it hears its own way (grey and gray, a name, two words as one). Such
pairs sound alike. They are told by their letters and by their sound: vowels are all alike, and so
are consonants that are made alike.

An error rate is the field's: substitutions, insertions and deletions over the text's words, where
another spelling is a substitution. Only where words are parted is no error. Whether a word was
said at all is asked more kindly: by something that sounds like it.

Limits: what sounds alike is judged by English spelling, roughly; where scripts have no spaces,
each character counts as a word. Vowel signs are letters, as in Hindi, but where a script may leave
them out, as Arabic and Hebrew do, they are left out.
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby

from rapidfuzz.distance import Levenshtein

from orpheus_clone.text.spoken import normalise

ALIKE = 0.6
"""Words at least so like, 0 to 1, are taken for one word in two spellings."""
GAP_COST = 0.7
"""Of a word that has no partner; two of them cost more than one pair that is not alike."""
JOINED = 0.8
"""Two words at least so like one are that one, written apart."""
REJOINED = 0.7
"""A stretch at least so like another is that, with its words parted elsewhere."""
JOIN_COST = 0.05
"""Where they would do singly, that is preferred."""

_YEAR = re.compile(r"\b(1[1-9]|20)([1-9]\d)\b")
_TAG = re.compile(r"</?[A-Za-z][A-Za-z _-]{1,24}/?>")
_WITHOUT_SPACES = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_WITHOUT_SPACES}]|[^\s{_WITHOUT_SPACES}]+")
_WITHIN_WORDS = re.compile(r"(?<=\w)['’ʼ`](?=\w)")


@dataclass(frozen=True)
class Difference:
    """Between a text and what was heard; counts, so that a corpus can be summed up."""

    words: int
    """Of the text."""
    word_edits: int
    """Words substituted, inserted and deleted; over `words` they are the word error rate."""
    letters: int
    """Of the text, without spaces."""
    letter_edits: int
    words_said: int
    """Of the text's words, those for which something was heard that sounds alike."""


def difference(text: str, heard: str, language: str) -> Difference:
    """Of `heard` from `text`; where years may be read in two ways, the nearer one."""
    said = words(text, language)
    found = [_difference(said, words(reading, language)) for reading in readings(heard)]
    return min(found, key=lambda d: d.word_edits)


def _difference(said: list[str], told: list[str]) -> Difference:
    steps = aligned(said, told)
    # "seashells" for "sea shells" is as it should be.
    pairs = [(a, a if a.replace(" ", "") == b.replace(" ", "") else b) for a, b in steps]
    as_parted = [word for _, heard in pairs for word in heard.split()]
    letters = "".join(said)
    return Difference(
        words=len(said),
        word_edits=Levenshtein.distance(said, as_parted),
        letters=len(letters),
        letter_edits=Levenshtein.distance(letters, "".join(told)),
        words_said=sum(len(a.split()) for a, b in steps if likeness(a, b) >= ALIKE),
    )


def readings(heard: str) -> tuple[str, str]:
    """As it is, and with what may be years read so: Whisper writes 1828 where either was said."""
    return heard, _YEAR.sub(r"\1 \2", heard)


def words(text: str, language: str) -> list[str]:
    """What is to be said, as words that can be compared: "It's No. 3!" is its number three."""
    plain = unicodedata.normalize("NFKC", _TAG.sub(" ", text))
    spoken = _WITHIN_WORDS.sub("", normalise(plain, language).casefold())
    return _WORD.findall("".join(map(_letter, spoken)))


def _letter(character: str) -> str:
    """A letter, digit or mark as it is; nothing of what only shapes those; of the rest a space."""
    kind = unicodedata.category(character)
    if kind == "Cf" or (kind == "Mn" and "\u0590" <= character <= "\u06ff"):
        return ""
    return character if kind[0] in "LMN" else " "


@lru_cache(maxsize=2**16)  # a long corpus has millions of pairs
def likeness(a: str, b: str) -> float:
    """How like two words are to look at or to hear, 0 to 1; spaces in them do not count."""
    a, b = a.replace(" ", ""), b.replace(" ", "")
    return max(
        Levenshtein.normalized_similarity(a, b),
        Levenshtein.normalized_similarity(_sound(a), _sound(b)),
    )


def aligned(said: Sequence[str], told: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of what was to be said and what was heard, in order; "" where one has no partner.

    What does not fit word by word but does as a whole is one pair.
    """
    return _rejoined(_aligned(said, told))


_SOUNDS = tuple(
    (re.compile(pattern), sound)
    for pattern, sound in (
        (r"^kn|^gn|^pn", "n"),
        (r"^wr", "r"),
        (r"^ps", "s"),
        (r"^x", "s"),
        (r"ph", "f"),
        (r"gh(?=[^aeiouy]|$)", ""),
        (r"(?<=[aeiouy])r(?=[^aeiouy]|$)", ""),
        (r"t?ch|sh|ti(?=o)|ci(?=a)|dg|j", "C"),
        (r"[cs]?c(?=[eiy])|z", "s"),
        (r"ck|q|c|g", "k"),
        (r"x", "ks"),
        (r"d|th", "t"),
        (r"b", "p"),
        (r"v", "f"),
        (r"wh", "w"),
        (r"[aeiouyhw]+", "a"),
        (r"(.)\1+", r"\1"),
        (r"(?<=..)a$", ""),
    )
)
"""Spelling to rough sound, in this order: voiced and unvoiced are one, so are all vowels."""


@cache
def _sound(word: str) -> str:
    sound = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    for pattern, replacement in _SOUNDS:
        sound = pattern.sub(replacement, sound)
    return sound


def _aligned(said: Sequence[str], told: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of what was to be said and what was heard, in order; "" where one has no partner.

    The pairs of least total cost: a pair costs its unlikeness, a word alone `GAP_COST`. Two words
    may be paired with one.
    """
    rows, columns = len(said) + 1, len(told) + 1
    cost = [[0.0] * columns for _ in range(rows)]
    came: list[list[tuple[int, int]]] = [[(0, 0)] * columns for _ in range(rows)]
    for i in range(rows):
        for j in range(columns):
            if i or j:
                cost[i][j], came[i][j] = min(
                    (cost[i - a][j - b] + _cost(said[i - a : i], told[j - b : j]), (a, b))
                    for a, b in _MOVES
                    if a <= i and b <= j
                )
    steps: list[tuple[str, str]] = []
    i, j = rows - 1, columns - 1
    while i or j:
        a, b = came[i][j]
        steps.append((" ".join(said[i - a : i]), " ".join(told[j - b : j])))
        i, j = i - a, j - b
    return steps[::-1]


def _rejoined(steps: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What does not fit word by word but does as a whole is one step: N B S and NBS."""
    joined: list[tuple[str, str]] = []
    for is_same, group in groupby(steps, key=lambda step: step[0] == step[1]):
        block = list(group)
        said, told = (" ".join(filter(None, side)) for side in zip(*block, strict=True))
        as_many = said.count(" ") == told.count(" ")
        fits = not is_same and not as_many and likeness(said, told) >= REJOINED
        joined += [(said, told)] if fits else block
    return joined


_MOVES = ((1, 1), (1, 0), (0, 1), (2, 1), (1, 2))
"""How many words of the text and of what was heard one step takes."""


def _cost(said: Sequence[str], told: Sequence[str]) -> float:
    if not said or not told:
        return GAP_COST
    if len(said) == len(told):
        return 1.0 - likeness(said[0], told[0])
    # By letters only: a short word beside another may vanish in the sound of the two.
    likely = Levenshtein.normalized_similarity("".join(said), "".join(told))
    return 1.0 - likely + JOIN_COST if likely >= JOINED else math.inf
