"""The figures of a voice by name, each with its interval; and how each is drawn from utterances.

    Line, Line, …  ──▶ rows: what one utterance adds to a figure ──▶ statistic ──▶ interval
    Hearing, …     ──▶ listening.figures.add_up ──▶ the figure itself

Train chooses an epoch by the same figures. A median counts an utterance in which nobody speaks as
never; a mean, and a sum over words, are of the utterances that have one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from orpheus_clone.eval import bootstrap
from orpheus_clone.eval.bootstrap import Interval, Statistic
from orpheus_clone.eval.gates import Measured
from orpheus_clone.eval.lines import Line
from orpheus_clone.listening.figures import CUT_MS, RANDOM_BASE, Figure, Figures, percentile

NEVER = (math.inf,)

Row = tuple[float, ...] | None
"""What an utterance adds; None where it adds nothing."""


@dataclass(frozen=True)
class Measure:
    """A figure that can be drawn anew from any utterances."""

    name: str
    unit: str
    row: Callable[[Line], Row]
    statistic: Statistic
    is_better_high: bool | None
    """None where the best lies between."""
    digits: int = 3

    def figure(self, rows: Sequence[tuple[float, ...]]) -> float | None:
        """Of these rows; None of none, infinite for never."""
        return float(self.statistic(bootstrap.rows(rows), np.ones(len(rows)))) if rows else None

    def interval(self, lines: Sequence[Line]) -> Interval | None:
        """How sure the figure of these utterances is; of those that add something to it."""
        known = [(row, line.text) for line in lines if (row := self.row(line)) is not None]
        if not known:
            return None
        rows, texts = zip(*known, strict=True)
        return bootstrap.interval(rows, self.statistic, texts)


def _once(value: Callable[[Line], float | None]) -> Callable[[Line], Row]:
    """The value, of utterances that have one."""

    def row(line: Line) -> Row:
        found = value(line)
        return None if found is None else (found,)

    return row


def _or_never(value: Callable[[Line], float | None]) -> Callable[[Line], Row]:
    """The value, of every utterance."""

    def row(line: Line) -> Row:
        found = value(line)
        return NEVER if found is None else (found,)

    return row


def _is_cut(line: Line) -> bool:
    return line.tail_ms is not None and line.tail_ms < CUT_MS


def _words(line: Line) -> Row:
    return None if line.words is None else (line.word_edits or 0, line.words)


def _letters(line: Line) -> Row:
    return None if line.letters is None else (line.letter_edits or 0, line.letters)


_SHARE, _MEAN, _MEDIAN, _RATIO = bootstrap.share, bootstrap.mean, bootstrap.median, bootstrap.ratio
MEASURES = (
    Measure("stream rate P5", "tok/s", lambda line: (line.rate,), bootstrap.p5, True, 1),
    Measure("first audio P50", "ms", lambda line: (line.first_audio_ms,), _MEDIAN, False, 1),
    Measure("first speech P50", "ms", _or_never(lambda x: x.first_speech_ms), _MEDIAN, False, 1),
    Measure("head silence P50", "ms", _or_never(lambda x: x.head_ms), _MEDIAN, False, 1),
    Measure("tail silence P50", "ms", _or_never(lambda x: x.tail_ms), _MEDIAN, None, 1),
    Measure("stop rate", "", lambda x: (x.finish == "stop",), _SHARE, True),
    Measure("loops", "", lambda x: (x.finish in ("loop", "silence"),), _SHARE, False),
    Measure("cut endings", "", lambda x: (_is_cut(x),), _SHARE, False),
    Measure("word error rate", "", _words, _RATIO, False),
    Measure("character error rate", "", _letters, _RATIO, False),
    Measure("similarity", "", _once(lambda x: x.similarity), _MEAN, True),
    Measure("pace", "x", _or_never(lambda x: x.pace), _MEDIAN, None),
    Measure("sound quality", "MOS", _once(lambda x: x.mos), _MEAN, True, 2),
    Measure("pitch", "Hz", _once(lambda x: x.pitch_hz), _MEDIAN, None, 1),
)
BY_NAME = {measure.name: measure for measure in MEASURES}


def measure(
    lines: Sequence[Line], figures: Figures, stock: Figure, *, is_random: bool
) -> dict[str, Measured]:
    """What the gates look at, by their names; `stock` is how near the nearest stock voice is."""
    first_speech = percentile([line.first_speech_ms for line in lines], 50)
    by_name = {
        "stream rate P5": Figure(float(np.percentile([line.rate for line in lines], 5))),
        "first speech P50": Figure(None, RANDOM_BASE) if is_random else first_speech,
        "head silence P50": figures.head_p50_ms,
        "tail silence P50": figures.tail_p50_ms,
        "stop rate": figures.stop_rate,
        "loops": figures.loop_rate,
        "cut endings": figures.cut_rate,
        "word error rate": figures.wer,
        "similarity": figures.similarity,
        "sound quality": figures.mos,
    }
    measured = {
        name: Measured(figure, None if figure.value is None else BY_NAME[name].interval(lines))
        for name, figure in by_name.items()
    }
    pace = Measured(
        figures.pace, None if figures.pace.value is None else BY_NAME["pace"].interval(lines)
    )
    over = _over(measured["similarity"], stock)
    return measured | {"slow pace": pace, "fast pace": pace, "similarity over stock": over}


def _over(clone: Measured, stock: Figure) -> Measured:
    """How much nearer the clone is; the interval is the clone's, as if the other were sure."""
    if clone.figure.value is None or stock.value is None:
        return Measured(clone.figure if clone.figure.value is None else stock)
    between = clone.interval
    return Measured(
        Figure(clone.figure.value - stock.value),
        between and Interval(between.low - stock.value, between.high - stock.value),
    )
