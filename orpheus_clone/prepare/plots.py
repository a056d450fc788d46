"""Histograms and a stacked bar as inline SVG: colours from the page's style, so dark and light.

Each has a title that a screen reader says. Nothing here holds text of others, only numbers and
what the caller names.
"""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BINS = 24
_WIDTH, _HEIGHT = 360, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 8, 22, 24
SHADES = 8
"""The page's style has colours c0 to c7."""


@dataclass(frozen=True)
class Series:
    """Values of one kind; `name` is shown where there is more than one."""

    name: str
    values: Sequence[float]


def histogram(
    title: str, unit: str, series: Sequence[Series], *, longest: float | None = None
) -> str:
    """An SVG of how often which value occurs; what exceeds `longest` is in the last bin."""
    shown = [one for one in series if one.values]
    if not shown:
        return ""
    everything = [value for one in shown for value in one.values]
    low, high = min(everything), max(everything)
    high = min(high, longest) if longest is not None else high
    low, step = _bins(min(low, high), high)
    counts = [_count(one.values, low, step) for one in shown]
    top = max(max(row) for row in counts)
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    bars = []
    for number, row in enumerate(counts):
        for at, count in enumerate(row):
            if count:
                tall = max(1.0, height * count / top)
                wide = width / BINS - 1
                x, y = _LEFT + at * width / BINS, _TOP + height - tall
                bars.append(
                    f'<rect class="s{number}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" '
                    f'height="{tall:.1f}"/>'
                )
    ticks = "".join(_tick(low, step, at, width) for at in range(0, BINS + 1, BINS // 4))
    said = _said(title, unit, shown)
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{said}</title>'
        f'<text x="{_LEFT}" y="14" class="top">most: {top} clips</text>{"".join(bars)}'
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_TOP + height}" '
        f'y2="{_TOP + height}"/>{ticks}</svg>'
    )


def stacked(parts: Mapping[str, float]) -> str:
    """One bar of minutes by name, in the order given, each in its shade."""
    total = sum(parts.values())
    if total <= 0:
        return ""
    at, bars = 0.0, []
    for number, (name, value) in enumerate(parts.items()):
        wide = 100 * value / total
        bars.append(
            f'<rect class="c{number % SHADES}" x="{at:.2f}" y="0" width="{wide:.2f}" height="6">'
            f"<title>{html.escape(name)}: {value:.1f} minutes</title></rect>"
        )
        at += wide
    said = "; ".join(f"{html.escape(name)} {value:.1f}" for name, value in parts.items())
    return (
        '<svg class="stack" viewBox="0 0 100 6" preserveAspectRatio="none" role="img">'
        f"<title>Minutes: {said}</title>{''.join(bars)}</svg>"
    )


def median(values: Sequence[float]) -> float:
    """The middle one, or between the middle two."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _bins(low: float, high: float) -> tuple[float, float]:
    """Where the first bin starts and how wide each is: a round number, so that ticks are."""
    if high <= low:
        return low, max(abs(low), 1.0) / BINS
    raw = (high - low) / BINS
    power = 10 ** math.floor(math.log10(raw))
    for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10):
        step = factor * power
        start = math.floor(low / step) * step
        if start + step * BINS >= high:
            return start, step
    return low, raw


def _count(values: Sequence[float], low: float, step: float) -> list[int]:
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, max(0, int((value - low) / step)))] += 1
    return counts


def _tick(low: float, step: float, at: int, width: float) -> str:
    anchor = {0: "start", BINS: "end"}.get(at, "middle")
    x = _LEFT + at * width / BINS
    return (
        f'<text x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{low + at * step:.4g}</text>'
    )


def _said(title: str, unit: str, series: Sequence[Series]) -> str:
    medians = ", ".join(
        f"{one.name + ' ' if len(series) > 1 else ''}median {median(one.values):.4g} {unit}"
        for one in series
    )
    return html.escape(f"{title}: {medians}, {len(series[0].values)} clips")
