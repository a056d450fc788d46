"""Where speech starts and ends: one definition, for prepare (trim), eval (measure), serve (drop).

Levels are RMS in dBFS over 10 ms windows, 5 ms apart, after removal of DC. Two thresholds, both
relative to the clip, tell speech from what lies around it:

    dBFS
     -15 ─ ─ ─ ─ ─ ─ ─ ─ ─ ─▄▆█▇▅▆█▄─ ─ ─ ─   loud: the 95th percentile
     -35 ━━━━━━━━━━━━━━━━━━█━━━━━━━━█━━━━━━  core = loud - 20, and above the floor: surely speech
     -49 ──────────────▂▃▅█        █▆▃──────  edge = floor + 6: an "s" or an "m" fading in
     -55 ▁▁▁▁▁▂▁▁▁▁▁▁▂▁                ▁▂▁▁  floor: the clip's room tone
                       ^onset           ^offset

The onset is where the first core run of at least 40 ms begins, moved back over the windows that
touch it and lie above the edge (at most 150 ms). So a click before speech is too short to be
core, and a breath is too soft, unless it runs into the first word. The offset mirrors it.

The floor is the 10th percentile, or the quietest 50 ms where that is less: a trimmed clip has no
more room tone than that. The edge is never below loud - 35, so a muted stretch (-120 dBFS) does
not turn the room tone beside it into speech.

Limits: a clip that is loud throughout counts as speech throughout; a steady loud noise cannot be
told from a steady vowel by level alone. Constants are argued in tests/test_silence.py.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orpheus_clone.errors import NoSpeechError

WINDOW_MS = 10.0
HOP_MS = 5.0
CORE_BELOW_LOUD_DB = 20.0
CORE_ABOVE_FLOOR_DB = 10.0
EDGE_ABOVE_FLOOR_DB = 6.0
EDGE_BELOW_LOUD_DB = 35.0
FLOOR_MS = 50.0
CORE_RUN_MS = 40.0
BEGINNING_RUN_MS = 15.0
EDGE_REACH_MS = 150.0
SILENT_DBFS = -50.0
"""A clip whose loud windows stay below this holds no speech."""

HEARD_DBFS = (SILENT_DBFS, -35.0)
"""Before a stream has been loud nobody knows how loud it will be. Speech lies above its floor by
`CORE_ABOVE_FLOOR_DB`; nothing below the first of these is speech, and all above the second is."""
_DIGITAL_SILENCE_DBFS = -120.0


@dataclass(frozen=True)
class SpeechSpan:
    """Where speech lies in a clip, in milliseconds from its start; `onset_ms < offset_ms`."""

    onset_ms: float
    offset_ms: float
    clip_ms: float

    @property
    def head_ms(self) -> float:
        """Silence before the speech."""
        return self.onset_ms

    @property
    def tail_ms(self) -> float:
        """Silence after the speech."""
        return self.clip_ms - self.offset_ms


def levels_dbfs(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """RMS in dBFS of each 10 ms window, 5 ms apart; shape (windows,), at least one."""
    window = max(1, round(rate * WINDOW_MS / 1000))
    hop = max(1, round(rate * HOP_MS / 1000))
    x = samples.astype(np.float64)
    if len(x) < window:
        x = np.pad(x, (0, window - len(x)))
    x = x - x.mean()
    power = np.lib.stride_tricks.sliding_window_view(x**2, window)[::hop].mean(axis=1)
    floored = np.maximum(power, 10 ** (_DIGITAL_SILENCE_DBFS / 10))
    return np.asarray(10 * np.log10(floored))


def speech_span(samples: NDArray[np.float32], rate: int) -> SpeechSpan:
    """Onset and offset of the speech in a mono waveform of shape (samples,).

    Raises NoSpeechError where nobody speaks.
    """
    if not len(samples):
        raise NoSpeechError("the clip has no samples")
    db = levels_dbfs(samples, rate)
    core, edge = _thresholds(db)
    runs = _runs(db >= core, round(CORE_RUN_MS / HOP_MS))
    if not runs:
        raise NoSpeechError(f"nothing stays above {core:.0f} dBFS for {CORE_RUN_MS:.0f} ms")
    reach = round(EDGE_REACH_MS / HOP_MS)
    first = _extend(db >= edge, runs[0][0], -1, reach)
    last = _extend(db >= edge, runs[-1][1] - 1, +1, reach)
    clip_ms = 1000 * len(samples) / rate
    # A window above the threshold says that its middle is; its own width is no silence.
    onset_ms = 0.0 if first == 0 else first * HOP_MS + WINDOW_MS / 2
    offset_ms = min(clip_ms, last * HOP_MS + WINDOW_MS / 2)
    return SpeechSpan(onset_ms, clip_ms if last == len(db) - 1 else offset_ms, clip_ms)


def pauses(
    samples: NDArray[np.float32], rate: int, shortest_ms: float
) -> list[tuple[float, float]]:
    """Where nobody speaks between the first word and the last: (start, end) in milliseconds.

    Raises NoSpeechError where nobody speaks at all.
    """
    span = speech_span(samples, rate)
    db = levels_dbfs(samples, rate)
    _, edge = _thresholds(db)
    found = [
        (start * HOP_MS + WINDOW_MS / 2, (end - 1) * HOP_MS + WINDOW_MS / 2)
        for start, end in _runs(db < edge, round(shortest_ms / HOP_MS))
    ]
    return [(a, b) for a, b in found if a >= span.onset_ms and b <= span.offset_ms]


class HeadTrim:
    """A stream without the silence before its speech, let through as soon as somebody speaks."""

    def __init__(self, rate: int, *, keep_ms: float, limit_ms: float) -> None:
        """`keep_ms` stay before the speech; no more than `limit_ms` are dropped."""
        self._rate = rate
        self._keep = round(rate * keep_ms / 1000)
        self._limit = round(rate * limit_ms / 1000)
        self._held = np.zeros(0, np.float32)
        self._is_open = False
        self.dropped = 0
        """Samples."""

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """What may be heard now, of shape (n,); often nothing before the speech."""
        if self._is_open:
            return samples
        self._held = np.concatenate([self._held, samples])
        onset = self._onset()
        if onset is None and len(self._held) < self._limit + self._keep:
            return np.zeros(0, np.float32)
        return self._open(len(self._held) if onset is None else onset)

    def finish(self) -> NDArray[np.float32]:
        """What is left where nobody has spoken: all of it."""
        return np.zeros(0, np.float32) if self._is_open else self._open(0)

    def _open(self, onset: int) -> NDArray[np.float32]:
        self._is_open = True
        self.dropped = min(max(0, onset - self._keep), self._limit)
        return self._held[self.dropped :]

    def _onset(self) -> int | None:
        """The sample where speech begins, once it is there."""
        if len(self._held) < self._rate * CORE_RUN_MS / 1000:
            return None
        db = levels_dbfs(self._held, self._rate)
        floor = _floor(db)
        core = float(np.clip(floor + CORE_ABOVE_FLOOR_DB, *HEARD_DBFS))
        runs = [
            (start, end)
            for start, end in _runs(db >= core, round(BEGINNING_RUN_MS / HOP_MS))
            # At the end of what has come, a run may be the beginning of a longer one.
            if end == len(db) or (end - start) * HOP_MS >= CORE_RUN_MS
        ]
        if not runs:
            return None
        edge = min(core, max(floor + EDGE_ABOVE_FLOOR_DB, HEARD_DBFS[0] - CORE_BELOW_LOUD_DB))
        first = _extend(db >= edge, runs[0][0], -1, round(EDGE_REACH_MS / HOP_MS))
        return round(first * HOP_MS * self._rate / 1000)


def _thresholds(db: NDArray[np.float64]) -> tuple[float, float]:
    """Core and edge, in dBFS; see the module docstring. NoSpeechError where all is silent."""
    floor, loud = _floor(db), float(np.percentile(db, 95))
    if loud < SILENT_DBFS:
        raise NoSpeechError(f"the loudest parts are at {loud:.0f} dBFS: nobody speaks in it")
    core = min(max(loud - CORE_BELOW_LOUD_DB, floor + CORE_ABOVE_FLOOR_DB), loud - 1.0)
    return core, min(max(floor + EDGE_ABOVE_FLOOR_DB, loud - EDGE_BELOW_LOUD_DB), core)


def _floor(db: NDArray[np.float64]) -> float:
    """The level of the room tone; see the module docstring."""
    return float(np.sort(db)[min(len(db) // 10, round(FLOOR_MS / HOP_MS))])


def _runs(is_core: NDArray[np.bool_], shortest: int) -> list[tuple[int, int]]:
    """Half-open index ranges of at least `shortest` consecutive True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_core, [False]]).astype(np.int8)))
    pairs = edges.reshape(-1, 2)
    return [(int(a), int(b)) for a, b in pairs if b - a >= shortest]


def _extend(is_edge: NDArray[np.bool_], start: int, step: int, reach: int) -> int:
    """The furthest window from `start` in direction `step` that is_edge without a gap."""
    at = start
    for _ in range(reach):
        if not 0 <= at + step < len(is_edge) or not is_edge[at + step]:
            break
        at += step
    return at
