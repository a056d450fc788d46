"""Which letters are heard when, as ElevenLabs' clients are told: an estimate, at the voice's pace.

No model says where it is in its text. The letters of an utterance are laid along its sound at the
pace of those before it, and what is left when the sound ends comes in its last message. A word is
off by what its letters differ from the mean, some tenths of a second; the order is exact, and
every letter comes once.

Offsets are from the start of the message that brings them, or of those without letters just before
it, and the last letter of a message lasts until its end, so that a client may add the messages up,
as Pipecat does. LiveKit adds nothing up: who asks for `sync_alignment`, as it does, gets offsets
from the start of the context.
"""

from collections import deque

from orpheus_clone.text import letters

USUAL_PACE = 15.0
"""Of `text.letters` a second, until an utterance has been measured."""

Times = dict[str, list[str] | list[int]]
"""chars, charStartTimesMs and charDurationsMs, equally long."""


class Alignment:
    """Of one stream of sound."""

    def __init__(self, *, is_synchronised: bool = False) -> None:
        """`is_synchronised` counts from the start of the stream."""
        self._is_synchronised = is_synchronised
        self._left: deque[tuple[str, float]] = deque()
        """Characters of the utterance that is being heard, and the letters' time each takes."""
        self._letters = 0.0
        """Of the whole utterance."""
        self._pace = USUAL_PACE
        self._began = self._now = self._sent = 0.0
        """Seconds of sound: where the utterance began, what was made, what was told of."""
        self._next_at = 0.0
        self._due: list[tuple[str, float]] = []
        """Characters, and the second at which each starts."""

    def begin(self, utterance: str) -> None:
        """What is heard from here on."""
        self._left = deque((char, letters(char)) for char in utterance + " ")
        self._letters = sum(weight for _, weight in self._left)
        self._began = self._next_at = self._now

    def sounded(self, seconds: float, *, is_end: bool) -> None:
        """So much sound more was made, the last of the utterance if `is_end`."""
        self._now += seconds
        if is_end:
            if self._left and self._now > self._began:
                self._pace = self._letters / (self._now - self._began)
            self._squeeze()
            return
        while self._left and self._next_at + self._left[0][1] / self._pace <= self._now:
            self._place(1 / self._pace)

    def take(self) -> Times | None:
        """The characters of the sound since the last call; None where there are none."""
        if not self._due:
            return None
        origin = 0.0 if self._is_synchronised else self._sent
        starts = [round(1000 * max(0.0, at - origin)) for _, at in self._due]
        chars = [char for char, _ in self._due]
        ends = [*starts[1:], max([round(1000 * (self._now - origin)), *starts[-1:]])]
        durations = [end - start for start, end in zip(starts, ends, strict=False)]
        self._due, self._sent = [], self._now
        return {"chars": chars, "charStartTimesMs": starts, "charDurationsMs": durations}

    def _squeeze(self) -> None:
        """All that is left, in what is left of the sound."""
        to_go = sum(weight for _, weight in self._left)
        seconds_each = max(0.0, self._now - self._next_at) / to_go if to_go else 0.0
        while self._left:
            self._place(seconds_each)

    def _place(self, seconds_each: float) -> None:
        char, weight = self._left.popleft()
        self._due.append((char, min(self._next_at, self._now)))
        self._next_at += weight * seconds_each
