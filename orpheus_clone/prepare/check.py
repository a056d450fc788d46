"""Whether a text is what was said: the transcript against what the ASR heard.

    text    please  hang   up  your  phone  and  call  back
    heard   please   -     up  your   fone  and   pull   -
                 unspoken       sounds alike     substituted

Words that sound alike (see listening/words.py) are no fault: a recogniser spells what it hears its
own way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from orpheus_clone.listening.words import ALIKE, aligned, likeness, readings, words


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
    matches = [_match(said, words(reading, language)) for reading in readings(heard)]
    return min(matches, key=lambda m: m.cer)


def _match(said: list[str], told: list[str]) -> Match:
    steps = aligned(said, told)
    wrong = [(a, b) for a, b in steps if likeness(a, b) < ALIKE]
    edits = sum(Levenshtein.distance(a.replace(" ", ""), b.replace(" ", "")) for a, b in wrong)
    return Match(
        cer=edits / max(1, sum(map(len, said))),
        unspoken=_longest_run([a if not b else "" for a, b in steps]),
        untold=_longest_run([b if not a else "" for a, b in steps]),
        substituted=tuple((a, b) for a, b in wrong if a and b),
        words=len(said),
    )


def _longest_run(alone: Sequence[str]) -> str:
    """The most words in a row, then the most letters; an empty entry ends a run."""
    runs: list[list[str]] = [[]]
    for word in alone:
        if word:
            runs[-1].append(word)
        else:
            runs.append([])
    return max((" ".join(run) for run in runs), key=lambda run: (len(run.split()), len(run)))
