"""Small plots as SVG text for the report: they take the page's colours, dark or light.

No picture is alone: each says its numbers in its title, for those who do not see it.
"""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

WIDTH, HEIGHT = 320, 130
LEFT, RIGHT, TOP, BOTTOM = 34, 10, 12, 24
BINS = 16


def histogram(values: Sequence[float], name: str, unit: str, limit: float | None = None) -> str:
    """How values are spread, with the gate's limit as a line; "" where there are none."""
    if not values:
        return ""
    low, high = _span([*values, *([] if limit is None else [limit])])
    counts, edges = np.histogram(values, BINS, (low, high))
    most = int(counts.max())
    bars = "".join(
        f'<rect class="bar" x="{_x(a, low, high):.1f}" y="{_y(n, 0, most):.1f}" '
        f'width="{max(0.5, _x(b, low, high) - _x(a, low, high) - 1):.1f}" '
        f'height="{HEIGHT - BOTTOM - _y(n, 0, most):.1f}"/>'
        for n, a, b in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        if n
    )
    p5, p50, p95 = np.percentile(values, (5, 50, 95)).tolist()
    said = f"{name}: median {p50:.3g} {unit}, 5 % below {p5:.3g}, 5 % above {p95:.3g}"
    return _svg(said, bars + _limit_x(limit, low, high) + _axis_x(low, high) + _axis_y(0, most))


def curve(
    points: Sequence[tuple[float, float]], name: str, unit: str, limit: float | None = None
) -> str:
    """A line through (x, y), x on a logarithmic scale; "" of fewer than two points."""
    if len(points) < 2:
        return ""
    at = [math.log2(x) for x, _ in points]
    low, high = min(at), max(at)
    most = max([y for _, y in points] + ([limit] if limit is not None else [])) * 1.05 or 1.0
    places = [(_x(x, low, high), _y(y, 0, most)) for x, (_, y) in zip(at, points, strict=True)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places)
    ticks = "".join(
        f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{value:g}</text>'
        for (x, _), (value, _) in zip(places, points, strict=True)
    )
    said = f"{name}: " + ", ".join(f"{y:.3g} {unit} at {x:g}" for x, y in points)
    drawn = f'<polyline class="line" points="{line}"/>{dots}{ticks}'
    return _svg(said, drawn + _limit_y(limit, most) + _axis_y(0, most))


def _svg(said: str, inside: str) -> str:
    text = escape(said)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text}">'
        f"<title>{text}</title>{inside}</svg>"
    )


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _x(value: float, low: float, high: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)


def _y(value: float, low: float, high: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)


def _limit_x(limit: float | None, low: float, high: float) -> str:
    if limit is None:
        return ""
    x = _x(limit, low, high)
    return f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'


def _limit_y(limit: float | None, most: float) -> str:
    if limit is None:
        return ""
    y = _y(limit, 0, most)
    return f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _axis_x(low: float, high: float) -> str:
    y = HEIGHT - 6
    return (
        f'<text class="tick" x="{LEFT}" y="{y}">{low:.3g}</text>'
        f'<text class="tick" x="{WIDTH - RIGHT}" y="{y}" text-anchor="end">{high:.3g}</text>'
    )


def _axis_y(low: float, high: float) -> str:
    return (
        f'<text class="tick" x="{LEFT - 4}" y="{TOP + 4}" text-anchor="end">{high:.3g}</text>'
        f'<text class="tick" x="{LEFT - 4}" y="{HEIGHT - BOTTOM}" text-anchor="end">{low:.3g}'
        "</text>"
    )
