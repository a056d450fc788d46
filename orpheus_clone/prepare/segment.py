"""Where to cut a recording: in pauses, never inside a word, at the ends of sentences.

    silero.py    speech       Silero VAD's probability that somebody speaks, every 32 ms
    here         windows      stretches of at most 28 s that end in pauses, for the ASR to listen to
    pauses.py                 the pauses, and the quietest 20 ms of each
    plan.py                   which of the possible cuts to take
    slices.py                 which part of a given text lies between two cuts
    here         clips        all of it: 2 to 20 s, whole sentences where there are some

With timed texts (cues) a clip is made of whole cues, and its edges are the pauses nearest to
theirs; cues without a pause within 0.3 s of their border stay together. Without words or cues the
longest pauses are taken. Speech in stretches without a pause is in no clip; `lost_s` counts it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from orpheus_clone.asr import Word
from orpheus_clone.prepare import pauses as trough
from orpheus_clone.prepare.cues import Cue
from orpheus_clone.prepare.pauses import SPEECH_FROM, Pause
from orpheus_clone.prepare.pauses import SPEECH_HOP_S as SPEECH_HOP_S
from orpheus_clone.prepare.plan import Edge, divide
from orpheus_clone.prepare.silero import Probabilities as Probabilities
from orpheus_clone.prepare.silero import speech as speech
from orpheus_clone.prepare.slices import Slices, ends_after

WINDOW_PAD_S = 0.3
"""Of the pause beside it, for soft sounds that the VAD passes over."""
WINDOW_PAUSE_S = 5.0
"""A longer pause is in no window: Whisper hears words in long silences."""
WINDOW_FULL = 2 / 3
"""A window ends in the longest pause of its last third."""

CUE_REACH_S = 0.3
UNTOLD_S = 0.5
"""More speech than this between two cues is what neither of them tells."""
SENTENCE, CLAUSE, INSIDE, BRIEF = 0.0, 0.6, 1.0, 3.0
"""What an edge costs (see plan.py): after a sentence, a comma, another word, in a brief pause."""
WORDLESS_PAUSE_S = 0.2
WORTHY_S = 0.5
PAUSE_WORTH = 0.2
"""What a pause of half a second or more makes an edge cheaper that ends no sentence."""
_CLAUSE_MARKS = tuple(",;:–—，；：、")


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


def windows(copy: Path, probabilities: Probabilities, longest_s: float = 28.0) -> list[Span]:
    """Stretches with speech for the ASR, in order, each at most `longest_s`, ending in pauses.

    They cover all speech. Only where somebody speaks for `longest_s` without a pause does a window
    end in the quietest 20 ms instead.
    """
    duration_s = _duration_s(copy)
    spoken = _padded(trough.stretches(probabilities), duration_s)
    parts = [part for one in spoken for part in _unbroken(one, copy, longest_s)]
    found: list[Span] = []
    at = 0
    while at < len(parts):
        last = _last_of_window(parts, at, longest_s)
        found.append(Span(parts[at][0], parts[last][1]))
        at = last + 1
    return found


def clips(
    copy: Path,
    probabilities: Probabilities,
    *,
    shortest_s: float,
    longest_s: float,
    words: Sequence[Word] | None,
    text: str | None,
    cues: Sequence[Cue],
    language: str = "en",
) -> list[Cut]:
    """What a recording longer than `longest_s` is cut into, in order, without overlaps.

    `words` is what the ASR heard, in the recording's time (None: no ASR). The text of a clip is,
    in this order: what its `cues` say (timed transcripts), the part of `text` (a transcript of all
    of it) that aligns with its words, None. The `language` tells abbreviations from sentence ends.
    """
    db = trough.levels(copy)
    heard = list(words or ())
    spoken = trough.with_words(trough.stretches(probabilities), heard)
    middles = trough.centres(heard, spoken)
    pauses = trough.pauses(spoken, db, heard, middles)
    before = _Speech(probabilities)
    if cues:
        return _of_cues(cues, pauses, before, shortest_s, longest_s, language)
    if not heard:  # nobody knows whether a short one is the closure of a "t"
        inner = [pause for pause in pauses[1:-1] if pause.seconds >= WORDLESS_PAUSE_S]
        pauses = [*pauses[:1], *inner, *pauses[-1:]]
    counts = [int(np.searchsorted(middles, (p.left_s + p.right_s) / 2)) for p in pauses]
    slices = None
    ends = ends_after([word.text for word in heard], language)
    if text is not None and heard and spoken:
        slices = Slices(text, heard, spoken[-1][1], language)
        ends = {count for count in counts if slices.ends_sentence(count)}
    edges = [
        _edge(pause, before, _cost(pause, count, heard, count in ends))
        for pause, count in zip(pauses, counts, strict=True)
    ]
    return [
        Cut(
            Span(pauses[first].right_s, pauses[last].left_s),
            slices.between(counts[first], counts[last]) or None if slices else None,
        )
        for first, last in divide(edges, shortest_s, longest_s)
    ]


def lost_s(probabilities: Probabilities, cuts: Sequence[Cut]) -> float:
    """Seconds of speech that are in none of the clips."""
    before = _Speech(probabilities)
    kept = sum(before(cut.span.end_s) - before(cut.span.start_s) for cut in cuts)
    return max(0.0, before(len(probabilities) * SPEECH_HOP_S) - kept)


class _Speech:
    """Seconds of speech before a time."""

    def __init__(self, probabilities: Probabilities) -> None:
        spoken = (probabilities >= SPEECH_FROM) * SPEECH_HOP_S
        self._sums: NDArray[np.float64] = np.concatenate([[0.0], np.cumsum(spoken)])
        self._times = np.arange(len(self._sums)) * SPEECH_HOP_S

    def __call__(self, time_s: float) -> float:
        return float(np.interp(time_s, self._times, self._sums))


def _duration_s(copy: Path) -> float:
    return float(soundfile.info(copy).duration)


def _padded(spoken: Sequence[tuple[float, float]], duration_s: float) -> list[tuple[float, float]]:
    """Each stretch with a part of the pauses beside it, never more than half of them."""
    ends = [-WINDOW_PAD_S, *(end for _, end in spoken)]
    starts = [*(start for start, _ in spoken), duration_s + WINDOW_PAD_S]
    pads = [min(WINDOW_PAD_S, (b - a) / 2) for a, b in zip(ends, starts, strict=True)]
    return [
        (max(0.0, start - before), min(duration_s, end + after))
        for (start, end), (before, after) in zip(spoken, pairwise(pads), strict=True)
    ]


def _unbroken(
    stretch: tuple[float, float], copy: Path, longest_s: float
) -> list[tuple[float, float]]:
    """A stretch without a pause, cut in its quietest 20 ms where it is longer than a window."""
    from orpheus_clone.prepare.decode import read_span
    from orpheus_clone.silence import HOP_MS, WINDOW_MS, levels_dbfs
    from orpheus_clone.tokens import SAMPLE_RATE

    start_s, end_s = stretch
    parts = []
    while end_s - start_s > longest_s:
        from_s = start_s + WINDOW_FULL * longest_s
        db = levels_dbfs(read_span(copy, from_s, start_s + longest_s), SAMPLE_RATE)
        power = 10 ** (db / 10)
        quietest = int(np.argmin(power[:-2] + power[2:]))
        cut_s = from_s + (quietest * HOP_MS + WINDOW_MS) / 1000
        parts.append((start_s, cut_s))
        start_s = cut_s
    return [*parts, (start_s, end_s)]


def _last_of_window(parts: Sequence[tuple[float, float]], first: int, longest_s: float) -> int:
    """The last part of the window that begins with `first`."""
    start_s = parts[first][0]
    last = first
    while (
        last + 1 < len(parts)
        and parts[last + 1][1] - start_s <= longest_s
        and parts[last + 1][0] - parts[last][1] <= WINDOW_PAUSE_S
    ):
        last += 1
    is_open = last + 1 < len(parts) and parts[last + 1][0] - parts[last][1] <= WINDOW_PAUSE_S
    late = [
        i
        for i in range(first, last + 1)
        if is_open and parts[i][1] - start_s >= WINDOW_FULL * longest_s
    ]
    return max(late, key=lambda i: (parts[i + 1][0] - parts[i][1], i), default=last)


def _edge(pause: Pause, before: _Speech, cost: float) -> Edge:
    middle_s = (pause.left_s + pause.right_s) / 2
    return Edge(pause.left_s, pause.right_s, cost, before(middle_s), pause.seconds)


def _cost(pause: Pause, count: int, words: Sequence[Word], is_end: bool) -> float:
    """What it costs to cut in a pause after `count` words; see `SENTENCE`."""
    if pause.is_brief:
        return BRIEF
    worth = min(1.0, pause.seconds / WORTHY_S)
    if not words:  # nobody knows where sentences end: the longer the pause, the likelier
        return INSIDE - worth
    if is_end:
        return SENTENCE
    is_clause = words[count - 1].text.endswith(_CLAUSE_MARKS)
    return (CLAUSE if is_clause else INSIDE) - PAUSE_WORTH * worth


def _of_cues(
    cues: Sequence[Cue],
    pauses: Sequence[Pause],
    before: _Speech,
    shortest_s: float,
    longest_s: float,
    language: str,
) -> list[Cut]:
    """Clips of whole cues."""
    ends = ends_after([cue.text for cue in cues], language)
    borders = zip([None, *cues], [*cues, None], strict=True)
    edges = [
        _cue_edge(first, second, pauses, before, SENTENCE if count in ends else INSIDE)
        for count, (first, second) in enumerate(borders)
    ]
    found = []
    for first, last in divide(edges, shortest_s, longest_s):
        right_s, left_s = edges[first].right_s, edges[last].left_s
        assert right_s is not None
        assert left_s is not None
        said = " ".join(cue.text for cue in cues[first:last])
        found.append(Cut(Span(right_s, left_s), said))
    return found


def _cue_edge(
    first: Cue | None, second: Cue | None, pauses: Sequence[Pause], before: _Speech, cost: float
) -> Edge:
    """The border between two cues, moved into a pause; None: the recording's beginning or end."""
    from_s = first.end_s if first else -inf
    until_s = second.start_s if second else inf
    if first and second and before(until_s) - before(from_s) < UNTOLD_S:
        pause = _beside(pauses, from_s, until_s)
        left = right = pause
    else:
        left = _beside(pauses, from_s, from_s) if first else None
        right = _beside(pauses, until_s, until_s) if second else None
    return Edge(
        left.left_s if left else None,
        right.right_s if right else None,
        cost,
        before(from_s if first else until_s),
        left.seconds if left else 0.0,
        is_barrier=left is not right,  # in between, somebody says what no cue tells
    )


def _beside(pauses: Sequence[Pause], from_s: float, until_s: float) -> Pause | None:
    """The longest pause near a border, which lies between two times; nearness counts as well."""
    first = max(0, bisect_right(pauses, from_s - CUE_REACH_S, key=lambda pause: pause.start_s) - 1)
    last = bisect_right(pauses, until_s + CUE_REACH_S, key=lambda pause: pause.start_s)

    def distance(pause: Pause) -> float:
        return max(pause.start_s - until_s, from_s - pause.end_s, 0.0)

    near = [pause for pause in pauses[first:last] if distance(pause) <= CUE_REACH_S]
    return max(near, key=lambda p: min(p.seconds, WORTHY_S) - distance(p), default=None)
