"""Texts that voices stumble over: an emotion tag, and a text of one word.

    with     I did not expect that.  ▂▅▇▅▂▅  Anyway, let us go on.      sound outside all words
    without  I did not expect that.          Anyway, let us go on.      much less of it

A tag is heard where, with it, there are `HEARD_S` more of loud sound outside the words that a
recogniser found than without it. What kind of sound that is nobody judges but who listens; and a
laugh that the recogniser takes for a word is missed. One word is said, or answered with silence,
or with a noise in which no such word is heard.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from orpheus_clone import silence
from orpheus_clone.asr import Asr, Word
from orpheus_clone.audio import Waveform
from orpheus_clone.eval.prompts import CARRIERS
from orpheus_clone.eval.speed import Utterance
from orpheus_clone.listening.hear import Hearing
from orpheus_clone.tokens import SAMPLE_RATE

HEARD_S = 0.2
"""Shorter than any laugh; more than the inexactness of the words' times, which cancels out."""
WORD_REACH_S = 0.1
"""Loud sound this near to a word is the word's."""
LOUD_BELOW_LOUD_DB = 20.0


@dataclass(frozen=True)
class Tag:
    """An emotion tag, over all its carriers."""

    tag: str
    pairs: int
    heard: int
    """Pairs in which there was a sound."""
    extra_s: float
    """Of sound outside the words, more with the tag than without; median."""


@dataclass(frozen=True)
class OneWord:
    """What came of a text of one word."""

    text: str
    result: Literal["said", "silence", "noise", "not measured"]
    heard: str | None


def tag_prompts(tags: Sequence[str]) -> list[str]:
    """Of each tag each carrier with it, and then the same without it."""
    return [
        " ".join(carrier.replace("{tag}", written).split())
        for tag in tags
        for carrier in CARRIERS
        for written in (f"<{tag}>", "")
    ]


def hear_tags(
    tags: Sequence[str], utterances: Sequence[Utterance], asr: Asr, language: str
) -> list[Tag]:
    """What came of `tag_prompts(tags)`."""
    heard = asr.hear([one.samples for one in utterances], language)
    outside = [
        outside_words_s(one.samples, found.words)
        for one, found in zip(utterances, heard, strict=True)
    ]
    extra = [a - b for a, b in zip(outside[::2], outside[1::2], strict=True)]
    each = len(CARRIERS)
    return [_tag(tag, extra[i * each : (i + 1) * each]) for i, tag in enumerate(tags)]


def outside_words_s(samples: Waveform, words: Sequence[Word]) -> float:
    """Seconds of loud sound that belong to no word."""
    db = silence.levels_dbfs(samples, SAMPLE_RATE)
    loud = float(np.percentile(db, 95))
    is_loud = db > max(silence.SILENT_DBFS, loud - LOUD_BELOW_LOUD_DB)
    hop_s = silence.HOP_MS / 1000
    for word in words:
        first = max(0, round((word.start_s - WORD_REACH_S) / hop_s))
        is_loud[first : max(first, round((word.end_s + WORD_REACH_S) / hop_s))] = False
    return float(is_loud.sum() * hop_s)


def one_word(hearing: Hearing) -> OneWord:
    """Said, silence or noise."""
    if hearing.speech_s is None:
        return OneWord(hearing.text, "silence", hearing.heard)
    if hearing.difference is None:
        return OneWord(hearing.text, "not measured", hearing.heard)
    is_said = hearing.difference.words_said > 0
    return OneWord(hearing.text, "said" if is_said else "noise", hearing.heard)


def _tag(tag: str, extra: Sequence[float]) -> Tag:
    return Tag(tag, len(extra), sum(s >= HEARD_S for s in extra), round(median(extra), 2))
