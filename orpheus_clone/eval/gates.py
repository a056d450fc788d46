"""Gates: passed, failed, or not measurable, which is never a pass.

    measured on the target and within the limit     passed
    measured on the target and beyond it            failed
    a random base, another kind of hardware,
    a gate that the recipe switched off             not measurable, with the reason

A voice is proven when every gate passed, failed when one failed, and unproven otherwise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orpheus_clone.engine.base import EngineInfo
from orpheus_clone.recipe import Eval

Status = Literal["passed", "failed", "not measurable"]
Verdict = Literal["proven", "failed", "unproven"]


@dataclass(frozen=True)
class Figure:
    """A measured value, infinite for "never", or None; and the reason for the latter two."""

    value: float | None
    why: str | None = None


@dataclass(frozen=True)
class Measured:
    """What the gates look at."""

    stream_rate: Figure
    first_speech_p50_ms: Figure
    head_silence_p50_ms: Figure
    stop_rate: Figure


@dataclass(frozen=True)
class Gate:
    """One gate and what became of it."""

    name: str
    limit: float | None
    is_minimum: bool
    unit: str
    value: float | None
    status: Status
    why: str | None

    @property
    def bound(self) -> str:
        """The limit in words, as ">= 90 tok/s"."""
        if self.limit is None:
            return "—"
        return f"{'>=' if self.is_minimum else '<='} {self.limit:g} {self.unit}".strip()


def judge(settings: Eval, measured: Measured, info: EngineInfo) -> list[Gate]:
    """All gates, judged; one that the recipe switched off was not measured, whatever it reads."""
    gates = settings.gates
    speed_why = _off_target(settings, info)
    rows: list[tuple[str, float | None, bool, str, Figure, str | None]] = [
        ("stream rate", gates.stream_rate_min, True, "tok/s", measured.stream_rate, speed_why),
        (
            "first speech P50",
            gates.first_speech_p50_ms,
            False,
            "ms",
            measured.first_speech_p50_ms,
            speed_why,
        ),
        (
            "head silence P50",
            gates.head_silence_p50_ms,
            False,
            "ms",
            measured.head_silence_p50_ms,
            None,
        ),
        ("stop rate", gates.stop_rate_min, True, "", measured.stop_rate, None),
    ]
    return [
        _judge(name, limit, is_minimum, unit, figure, why)
        for name, limit, is_minimum, unit, figure, why in rows
    ]


def verdict(gates: Sequence[Gate]) -> Verdict:
    """Proven only if there are gates and every one passed."""
    if any(gate.status == "failed" for gate in gates):
        return "failed"
    return "proven" if gates and all(gate.status == "passed" for gate in gates) else "unproven"


def _judge(
    name: str, limit: float | None, is_minimum: bool, unit: str, figure: Figure, why: str | None
) -> Gate:
    value = None if figure.value in (None, math.inf) else figure.value
    if limit is None:
        return Gate(name, None, is_minimum, unit, value, "not measurable", "switched off")
    if why is not None or figure.value is None:
        return Gate(name, limit, is_minimum, unit, value, "not measurable", why or figure.why)
    is_passed = figure.value >= limit if is_minimum else figure.value <= limit
    status: Status = "passed" if is_passed else "failed"
    return Gate(name, limit, is_minimum, unit, value, status, figure.why)


def _off_target(settings: Eval, info: EngineInfo) -> str | None:
    """Why a speed figure of this machine says nothing about the target, if it does not."""
    if (settings.speed_target == "gpu") == info.is_gpu:
        return None
    return f"the target is a {settings.speed_target.upper()}, this was {info.hardware}"
