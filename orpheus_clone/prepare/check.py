"""Whether a text is what was said: the transcript against what the ASR heard.

Both are put into words without case, punctuation, tags, digits or abbreviations, and aligned word
by word so that as little as possible is unlike:

    text    please  hang   up  your  phone  and  call  back
    heard   please   -     up  your   fone  and   pull   -
                 unspoken       sounds alike     substituted

A recogniser spells what it hears its own way (grey and gray, a name, two words as one). Such
pairs sound alike and are no fault. They are told by their letters and by their sound: vowels are
all alike, and so are consonants that are made alike.

Limits: what sounds alike is judged by English spelling, roughly; where scripts have no spaces,
each character counts as a word.
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
_WORD = re.compile(rf"[{_WITHOUT_SPACES}]|[^\W_{_WITHOUT_SPACES}]+")
_WITHIN_WORDS = re.compile(r"(?<=\w)['’ʼ`](?=\w)")


@dataclass(frozen=True)
class Match:
    """How a clip's text and what was heard in it agree, after both are normalised."""

    cer: float
    """Character error rate, edits over the text's characters; can exceed 1. Spaces do not count,
    nor do words that sound alike."""
    unspoken: str
    """The longest run of words of the text that was not heard; "" if there is none."""
    untold: str
    """The longest run of words that was heard and is not in the text."""
    substituted: tuple[tuple[str, str], ...]
    """Words of the text and what was heard in their place, where they do not sound alike."""
    words: int
    """Of the text. One or two are too few to be sure: Whisper needs a context."""


def match(text: str, heard: str, language: str) -> Match:
    """Align `text` and `heard`."""
    said = words(text, language)
    matches = [_match(said, words(reading, language)) for reading in _readings(heard)]
    return min(matches, key=lambda m: m.cer)


def _match(said: list[str], told: list[str]) -> Match:
    steps = _rejoined(_aligned(said, told))
    wrong = [(a, b) for a, b in steps if likeness(a, b) < ALIKE]
    edits = sum(Levenshtein.distance(a.replace(" ", ""), b.replace(" ", "")) for a, b in wrong)
    return Match(
        cer=edits / max(1, sum(map(len, said))),
        unspoken=_longest_run([a if not b else "" for a, b in steps]),
        untold=_longest_run([b if not a else "" for a, b in steps]),
        substituted=tuple((a, b) for a, b in wrong if a and b),
        words=len(said),
    )


def _readings(heard: str) -> tuple[str, str]:
    """As it is, and with what may be years read so: Whisper writes 1828 where either was said."""
    return heard, _YEAR.sub(r"\1 \2", heard)


def words(text: str, language: str) -> list[str]:
    """What is to be said, as words that can be compared: "It's No. 3!" is its number three."""
    plain = unicodedata.normalize("NFKC", _TAG.sub(" ", text))
    return _WORD.findall(_WITHIN_WORDS.sub("", normalise(plain, language).casefold()))


@lru_cache(maxsize=2**16)  # a long corpus has millions of pairs
def likeness(a: str, b: str) -> float:
    """How like two words are to look at or to hear, 0 to 1; spaces in them do not count."""
    a, b = a.replace(" ", ""), b.replace(" ", "")
    return max(
        Levenshtein.normalized_similarity(a, b),
        Levenshtein.normalized_similarity(_sound(a), _sound(b)),
    )


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


def _longest_run(alone: Sequence[str]) -> str:
    """The most words in a row, then the most letters; an empty entry ends a run."""
    runs: list[list[str]] = [[]]
    for word in alone:
        if word:
            runs[-1].append(word)
        else:
            runs.append([])
    return max((" ".join(run) for run in runs), key=lambda run: (len(run.split()), len(run)))
