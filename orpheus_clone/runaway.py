"""A voice that has lost its way: it says the same again and again, or nothing, and does not stop.

Watched a frame at a time, while it speaks:

    silence   nothing is heard, before the first word or after one
    loop      what the first codebook says comes back, at the same distance and at least three
              times; one frame in ten may differ

for two and a half seconds.

Of 68 recordings of a real speaker none does either.
What is too long for its text is the engine's limit, from `text.longest_s`.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from orpheus_clone import tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.silence import EDGE_BELOW_LOUD_DB, SILENT_DBFS, levels_dbfs
from orpheus_clone.tokens import FRAME_SAMPLES, SAMPLE_RATE

Runaway = Literal["silence", "loop"]

SECONDS = 2.5
FRAMES = math.ceil(SECONDS * SAMPLE_RATE / FRAME_SAMPLES)
LONGEST_LOOP = FRAMES
TIMES = 3
MISMATCH = 2
"""What a frame that differs takes back of the frames that do not; it is met twice, as what comes
back and as what should come back."""
_ENOUGH = np.maximum(FRAMES, (TIMES - 1) * np.arange(1, LONGEST_LOOP + 1))
"""By distance, from 1 on: the frames that have to come back."""


class Watch:
    """Of one utterance."""

    def __init__(self) -> None:
        self._position = 0
        self._said: list[int] = []
        """The first codebook's ids."""
        self._alike = np.zeros(LONGEST_LOOP, np.int64)
        """By distance, from 1 on: how many frames have come back at it lately."""
        self._loud = SILENT_DBFS
        self._silent = 0
        """Samples since somebody was heard."""

    def look(self, new_tokens: Sequence[int], samples: Waveform) -> Runaway | None:
        """What is wrong, given the tokens and the samples that have come since the last look."""
        if self._is_loop(new_tokens):
            return "loop"
        return "silence" if self._is_silence(samples) else None

    def _is_loop(self, new_tokens: Sequence[int]) -> bool:
        first = -self._position % tokens.FRAME
        self._position += len(new_tokens)
        for code in new_tokens[first :: tokens.FRAME]:
            before = np.array(self._said[: -LONGEST_LOOP - 1 : -1])
            is_same = np.zeros(LONGEST_LOOP, bool)
            is_same[: len(before)] = before == code
            self._said.append(code)
            self._alike = np.maximum(0, self._alike + np.where(is_same, 1, -MISMATCH))
            if (self._alike >= _ENOUGH).any():
                return True
        return False

    def _is_silence(self, samples: Waveform) -> bool:
        if not len(samples):
            return False
        db = levels_dbfs(samples, SAMPLE_RATE)
        self._loud = max(self._loud, float(np.percentile(db, 95)))
        heard = np.flatnonzero(db > max(SILENT_DBFS, self._loud - EDGE_BELOW_LOUD_DB))
        if len(heard):
            self._silent = len(samples) - round(len(samples) * (heard[-1] + 1) / len(db))
        else:
            self._silent += len(samples)
        return self._silent >= SECONDS * SAMPLE_RATE
