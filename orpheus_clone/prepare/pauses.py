"""Pauses of a recording, and where in each of them to cut.

    p(speech) ▇▇▇▇▇▇▇▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▇▇▇▇▇▇▇      a pause: Silero hears nobody
    level     ▅▇▆▇▅▆▃▁▁▁▁▁▁▁▂▃▃▃▂▁▁▁▁▁▁▁▂▅▆▇▆▅▇      in it, quiet runs around a breath
    words     …word]                     [word…
                     └──┬──┘ cut: the quietest 20 ms of the first quiet run

A quiet run is within 6 dB of the pause's quietest 20 ms. Of the runs the first is taken that is at
least half as long as the longest: so a cut never goes through a breath, and a breath belongs,
wherever there is quiet before it, to the clip that it precedes. (The closure of a "t" or "p" at a
word's end is quiet too, but too short to be taken.) In a pause over 1.2 s there are two cuts: the
clip before ends within its first 0.6 s, the clip after begins within its last; the middle, and
what sounds in it without being speech, belongs to neither.

Words, where they are known, bound the cut: a word that the VAD does not hear counts as speech, and
a word that reaches into a pause by up to 0.15 s is left whole. What reaches further is the ASR's
habit of stretching a word over the pause beside it. What the VAD takes for a pause of less than
0.25 s with speech of the same word before and after it is a closure within that word. And between
words with a gap there may be a brief pause that the VAD passes over: a gap counts if its quietest
20 ms are 25 dB below the speech around it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from orpheus_clone import silence
from orpheus_clone.asr import Word
from orpheus_clone.prepare.silero import HOP, RATE, Probabilities
from orpheus_clone.tokens import SAMPLE_RATE

SPEECH_HOP_S = HOP / RATE
SPEECH_FROM = 0.5
SPEECH_UNTIL = 0.35
"""Silero's own thresholds: speech begins above the first and ends below the second."""
SHORTEST_S = 0.09
"""Three hops; less is a closure."""
QUIET_DB = 6.0
SIDE_S = 0.6
WORD_REACH_S = 0.15
INSIDE_WORD_S = 0.25
BLIP_S = 0.2
INSIDE_WORD_SPEECH_S = 0.05
GAP_S = 0.06
GAP_BELOW_DB = 25.0
AROUND_S = 1.0

_LEVEL_HOP_S = silence.HOP_MS / 1000
_TROUGH_S = 0.02
_BLOCK = 60 * SAMPLE_RATE

Levels = NDArray[np.float32]
Stretch = tuple[float, float]
"""Start and end in seconds."""


@dataclass(frozen=True)
class Pause:
    """Where nobody speaks, and the two cuts in it, in seconds: `end <= left_s <= right_s`.

    A clip before it ends at `left_s`, one after it begins at `right_s`.
    """

    start_s: float
    end_s: float
    left_s: float
    right_s: float
    is_brief: bool = False
    """Found between two words and not by the VAD."""

    @property
    def seconds(self) -> float:
        """How long nobody speaks."""
        return self.end_s - self.start_s


def levels(copy: Path) -> Levels:
    """(n,) RMS in dBFS of 20 ms of a working copy, every 5 ms, in flat memory.

    Made of `silence.levels_dbfs`; entry i is of [5 i, 5 i + 20) ms.
    """
    hop = round(SAMPLE_RATE * _LEVEL_HOP_S)
    overlap = round(SAMPLE_RATE * _TROUGH_S) - hop
    found = [np.zeros(0, np.float32)]
    for block in soundfile.blocks(copy, _BLOCK + overlap, overlap, dtype="float32"):
        power = 10 ** (silence.levels_dbfs(block, SAMPLE_RATE) / 10)
        found.append((10 * np.log10((power[:-2] + power[2:]) / 2)).astype(np.float32))
    return np.concatenate(found)


def stretches(probabilities: Probabilities) -> list[Stretch]:
    """Where somebody speaks, by the VAD alone; between them are pauses of `SHORTEST_S` or more.

    What is under 0.2 s long and less than 0.25 s beside another belongs to that: it is the "s" or
    the released "t" of its last word.
    """
    found: list[Stretch] = []
    for start, end in _hysteresis(probabilities):
        one = (start * SPEECH_HOP_S, end * SPEECH_HOP_S)
        if found and _belong_together(found[-1], one):
            found[-1] = (found[-1][0], one[1])
        else:
            found.append(one)
    return found


def _belong_together(before: Stretch, after: Stretch) -> bool:
    shorter_s = min(before[1] - before[0], after[1] - after[0])
    return after[0] - before[1] < (INSIDE_WORD_S if shorter_s < BLIP_S else SHORTEST_S)


def with_words(spoken: Sequence[Stretch], words: Iterable[Word]) -> list[Stretch]:
    """The stretches, and the words that lie outside of all of them."""
    starts = np.array([start for start, _ in spoken])
    ends = np.array([end for _, end in spoken])
    alone = [
        (word.start_s, word.end_s)
        for word in words
        if word.end_s > word.start_s and not ((starts < word.end_s) & (ends > word.start_s)).any()
    ]
    merged: list[Stretch] = []
    for start, end in sorted([*spoken, *alone]):
        if merged and start - merged[-1][1] < SHORTEST_S:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def centres(words: Sequence[Word], spoken: Sequence[Stretch]) -> NDArray[np.float64]:
    """(words,) the time at which each word is surely being said, in order.

    That is the middle of the longest part of it that is speech: an ASR stretches words over the
    pauses beside them.
    """
    ends = np.array([end for _, end in spoken])
    found = []
    for word in words:
        parts = [(word.start_s, word.end_s, 0.0)]
        for start, end in spoken[int(np.searchsorted(ends, word.start_s, "right")) :]:
            if start >= word.end_s:
                break
            begins, stops = max(start, word.start_s), min(end, word.end_s)
            parts.append((begins, stops, stops - begins))
        begins, stops, _ = max(parts, key=lambda part: part[2])
        found.append((begins + stops) / 2)
    return np.maximum.accumulate(np.array(found, np.float64))


def pauses(
    spoken: Sequence[Stretch], db: Levels, words: Sequence[Word], middles: NDArray[np.float64]
) -> list[Pause]:
    """The pauses between the stretches, with cuts; the first and last reach the file's ends."""
    if not spoken:
        return []
    duration_s = max(0, len(db) - 1) * _LEVEL_HOP_S + _TROUGH_S
    ends = [0.0, *(end for _, end in spoken)]
    starts = [*(start for start, _ in spoken), duration_s]
    found = [
        _pause(start, max(start, min(end, duration_s)), db, words, middles)
        for start, end in zip(ends, starts, strict=True)
        if not _is_in_word(start, end, words)
    ]
    return sorted([*found, *_gaps(db, words, found)], key=lambda pause: pause.left_s)


def _pause(
    start_s: float,
    end_s: float,
    db: Levels,
    words: Sequence[Word],
    middles: NDArray[np.float64],
) -> Pause:
    """With its cuts; the words beside it are left whole as far as they are believed."""
    after = int(np.searchsorted(middles, (start_s + end_s) / 2))
    from_s, until_s = start_s, end_s
    if after > 0:
        from_s = min(max(start_s, words[after - 1].end_s), start_s + WORD_REACH_S)
    if after < len(words):
        until_s = max(min(end_s, words[after].start_s), end_s - WORD_REACH_S)
    if until_s - from_s < 2 * _TROUGH_S:
        from_s, until_s = start_s, end_s
    return Pause(start_s, end_s, *_cuts(from_s, until_s, db))


def _is_in_word(start_s: float, end_s: float, words: Sequence[Word]) -> bool:
    if end_s - start_s >= INSIDE_WORD_S:
        return False
    at = bisect_right(words, start_s - INSIDE_WORD_SPEECH_S, key=lambda word: word.start_s) - 1
    return at >= 0 and words[at].end_s >= end_s + INSIDE_WORD_SPEECH_S


def _gaps(db: Levels, words: Sequence[Word], found: Sequence[Pause]) -> list[Pause]:
    """Brief pauses between words, where the VAD has none."""
    starts = np.array([pause.start_s for pause in found])
    ends = np.array([pause.end_s for pause in found])
    brief = []
    for word, following in pairwise(words):
        start_s, end_s = word.end_s, following.start_s
        if end_s - start_s < GAP_S or ((starts < end_s) & (ends > start_s)).any():
            continue
        around = db[_index(start_s - AROUND_S) : _index(end_s + AROUND_S)]
        quietest = db[_index(start_s) : _index(end_s - _TROUGH_S) + 1]
        if not quietest.size or quietest.min() > np.percentile(around, 90) - GAP_BELOW_DB:
            continue
        brief.append(Pause(start_s, end_s, *_cuts(start_s, end_s, db), is_brief=True))
    return brief


def _cuts(start_s: float, end_s: float, db: Levels) -> tuple[float, float]:
    """The times in a pause at which the clip before ends and the clip after begins."""
    if end_s - start_s <= 2 * SIDE_S:
        cut_s = _cut(start_s, end_s, db)
        return cut_s, cut_s
    return _cut(start_s, start_s + SIDE_S, db), _cut(end_s - SIDE_S, end_s, db)


def _cut(start_s: float, end_s: float, db: Levels) -> float:
    """The quietest 20 ms between two times, of the quiet run that is taken."""
    first = _index(start_s)
    inside = db[first : max(first + 1, _index(end_s - _TROUGH_S) + 1)]
    if not inside.size:  # at the recording's end
        return end_s
    begin, end = _quiet_run(inside)
    quietest = first + begin + int(np.argmin(inside[begin:end]))
    # In the shortest gaps, the middle of 20 ms of level is outside of them.
    return min(max(quietest * _LEVEL_HOP_S + _TROUGH_S / 2, start_s), end_s)


def _quiet_run(inside: Levels) -> tuple[int, int]:
    """The first quiet run that is at least half as long as the longest."""
    is_quiet = inside <= inside.min() + QUIET_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_quiet, [False]]).astype(np.int8)))
    runs = [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
    longest = max(end - start for start, end in runs)
    return next(run for run in runs if 2 * (run[1] - run[0]) >= longest)


def _index(seconds: float) -> int:
    return max(0, round(seconds / _LEVEL_HOP_S))


def _hysteresis(probabilities: Probabilities) -> list[tuple[int, int]]:
    """Half-open ranges of hops from a rise to `SPEECH_FROM` until a fall below `SPEECH_UNTIL`."""
    may_go_on = np.concatenate([[False], probabilities >= SPEECH_UNTIL, [False]])
    edges = np.flatnonzero(np.diff(may_go_on.astype(np.int8))).reshape(-1, 2)
    found = []
    for start, end in edges:
        above = np.flatnonzero(probabilities[start:end] >= SPEECH_FROM)
        if above.size:
            found.append((int(start + above[0]), int(end)))
    return found
