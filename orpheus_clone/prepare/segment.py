"""Where to cut a recording: in pauses, never inside a word, at the ends of sentences.

speech        Silero VAD's probability that somebody speaks, every 32 ms
windows       stretches of at most 28 s that end in pauses, for the ASR to listen to
clips         2 to 20 s, whole sentences where there are some, cut in the quietest 20 ms of a pause
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orpheus_clone.asr import Word
from orpheus_clone.prepare.transcripts import Cue

SPEECH_HOP_S = 0.032
Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class Span:
    """A stretch of a recording, in seconds from its start."""

    start_s: float
    end_s: float


@dataclass(frozen=True)
class Cut:
    """A stretch that becomes a clip, and what is said in it (None: nobody knows)."""

    span: Span
    text: str | None


def speech(copy: Path) -> Probabilities:
    """(hops,) probabilities of speech in a working copy, in flat memory."""
    raise NotImplementedError


def windows(copy: Path, probabilities: Probabilities, longest_s: float = 28.0) -> list[Span]:
    """Stretches with speech for the ASR, in order, each at most `longest_s`, ending in pauses."""
    raise NotImplementedError


def clips(
    copy: Path,
    probabilities: Probabilities,
    *,
    shortest_s: float,
    longest_s: float,
    words: Sequence[Word] | None,
    text: str | None,
    cues: Sequence[Cue],
) -> list[Cut]:
    """What a recording longer than `longest_s` is cut into.

    `words` is what the ASR heard, in the recording's time (None: no ASR). The text of a clip is,
    in this order: what its `cues` say (timed transcripts), the part of `text` (a transcript of all
    of it) that aligns with its words, None.
    """
    raise NotImplementedError
