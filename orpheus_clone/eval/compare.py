"""Two voices that spoke the same prompts, or one voice in two precisions: which is better, surely?

Utterances are paired by their prompt (a prompt that is spoken twice, in order), the figures are of
the pairs alone, and a difference counts as one only where its interval leaves out 0. There are many
figures, of which one may differ by chance: so the intervals are wider than a single figure's, and
in 95 of 100 comparisons all of them hold the true difference (Bonferroni).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orpheus_clone.errors import DataError
from orpheus_clone.eval import bootstrap
from orpheus_clone.eval.lines import Line
from orpheus_clone.eval.measures import MEASURES, Measure

FEWEST_TEXTS = 20
"""Of fewer nothing is sure: one voice compared with itself then differed in some figure in 14 of
100 comparisons of 10 texts, and in 6 of 100 of 20."""
_LEVEL = 1 - (1 - bootstrap.LEVEL) / len(MEASURES)


@dataclass(frozen=True)
class Compared:
    """One figure of both; None for "never" and for what one of them lacks."""

    name: str
    unit: str
    this: float | None
    other: float | None
    difference: float | None
    """This less the other."""
    low: float | None
    """Of the interval; None for "never", and of too few texts."""
    high: float | None
    pairs: int
    result: Literal["better", "worse", "unclear", "different"]
    """`different` is surely so, of a figure whose best lies between."""


@dataclass(frozen=True)
class Comparison:
    """This run against another."""

    other: str
    """Its directory."""
    voice: str
    measured_on: str
    notes: list[str]
    """What is different about them beside the voice."""
    rows: list[Compared]


def compare(these: Sequence[Line], others: Sequence[Line]) -> list[Compared]:
    """Every figure of the prompts that both spoke; DataError where there is none."""
    pairs = _pairs(these, others)
    if not pairs:
        raise DataError("the two spoke no prompt in common; evaluate both with the same prompts")
    return [_compared(measure, pairs) for measure in MEASURES]


def _pairs(these: Sequence[Line], others: Sequence[Line]) -> list[tuple[Line, Line]]:
    theirs = dict(zip(_places(others), others, strict=True))
    return [
        (line, theirs[place])
        for place, line in zip(_places(these), these, strict=True)
        if place in theirs
    ]


def _places(lines: Sequence[Line]) -> list[tuple[str, int]]:
    """Each line's text, and how often it came before."""
    seen: Counter[str] = Counter()
    places = []
    for line in lines:
        places.append((line.text, seen[line.text]))
        seen[line.text] += 1
    return places


def _compared(measure: Measure, pairs: Sequence[tuple[Line, Line]]) -> Compared:
    mine, theirs, texts = [], [], []
    for one, its in pairs:
        a, b = measure.row(one), measure.row(its)
        if a is not None and b is not None:
            mine.append(a)
            theirs.append(b)
            texts.append(one.text)
    this, other = measure.figure(mine), measure.figure(theirs)
    found = None
    if len(set(texts)) >= FEWEST_TEXTS:
        found = bootstrap.difference(mine, theirs, measure.statistic, texts, level=_LEVEL)
    low, high = found.finite if found else (None, None)
    return Compared(
        name=measure.name,
        unit=measure.unit,
        this=_finite(this, measure.digits),
        other=_finite(other, measure.digits),
        difference=None if this is None or other is None else _finite(this - other, measure.digits),
        low=low,
        high=high,
        pairs=len(mine),
        result=_result(measure, found),
    )


def _result(
    measure: Measure, found: bootstrap.Interval | None
) -> Literal["better", "worse", "unclear", "different"]:
    if found is None or math.isnan(found.low + found.high) or found.low <= 0 <= found.high:
        return "unclear"
    if measure.is_better_high is None:
        return "different"
    return "better" if (found.low > 0) == measure.is_better_high else "worse"


def _finite(value: float | None, digits: int) -> float | None:
    return round(value, digits) if value is not None and math.isfinite(value) else None
