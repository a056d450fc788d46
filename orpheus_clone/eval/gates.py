"""Gates: passed, failed, or not measurable, which is never a pass.

    measured on the target and within the limit     passed; where that is looser than the default
                                                    limit, it is said
    measured on the target and beyond it            failed
    a random base, another kind of hardware, a
    judge that is missing, a gate that is off       not measurable, with the reason

What is compared is the figure itself; its interval is shown beside it, to tell how sure it is.
A voice is proven when every gate passed, failed when one failed, and unproven otherwise. The last
gate is how many utterances the others are of: few prove nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from orpheus_clone.engine.base import EngineInfo
from orpheus_clone.eval.bootstrap import Interval
from orpheus_clone.listening.figures import Figure
from orpheus_clone.recipe import Eval, Gates

Status = Literal["passed", "failed", "not measurable"]
Verdict = Literal["proven", "failed", "unproven"]


@dataclass(frozen=True)
class Measured:
    """A figure, and how sure it is."""

    figure: Figure
    interval: Interval | None = None


@dataclass(frozen=True)
class Rule:
    """What a gate asks, in the recipe's terms and for a person."""

    name: str
    limit: str
    """Its limit in the recipe's section `eval.gates`."""
    is_minimum: bool
    unit: str
    means: str
    advice: str
    """What to do where it failed."""
    is_speed: bool = False
    """Of the hardware as much as of the voice."""


RULES = (
    Rule(
        "stream rate P5", "stream_rate_min", True, "tok/s",
        "Tokens that 19 of 20 streams get in a second, or more; sound is played at 82.",
        "Fewer streams at a time (the sweep says how many), a faster GPU, or FP8.",
        is_speed=True,
    ),
    Rule(
        "first speech P50", "first_speech_p50_ms", False, "ms",
        "From the request to the first word heard.",
        "See which part takes longest: prefill and tokens want fewer streams; silence, better "
        "trimmed clips.",
        is_speed=True,
    ),
    Rule(
        "head silence P50", "head_silence_p50_ms", False, "ms",
        "Silence that the voice begins with.",
        "The clips begin with silence, which it learnt: prepare again with prepare.head_ms=50.",
    ),
    Rule(
        "tail silence P50", "tail_silence_p50_ms", False, "ms",
        "Silence that the voice ends with.",
        "The clips end with silence, which it learnt: prepare again with prepare.tail_ms=100.",
    ),
    Rule(
        "stop rate", "stop_rate_min", True, "",
        "Share of utterances that end by themselves.",
        "Clips lost their end, or are too long: prepare again with prepare.cut_max_s=20; or take "
        "an earlier epoch.",
    ),
    Rule(
        "loops", "loops_max", False, "",
        "Share of utterances in which the voice says the same, or nothing, again and again.",
        "sampling.repetition_penalty of at least 1.1, fewer epochs, or clips without long silence.",
    ),
    Rule(
        "cut endings", "cut_endings_max", False, "",
        "Share of utterances that stop in the middle of speech.",
        "The clips' ends were cut, which it learnt: cut the recordings at silence, and prepare "
        "again.",
    ),
    Rule(
        "word error rate", "wer_max", False, "",
        "Words that a recogniser hears otherwise, or not at all, or too many of.",
        "Look in prepare's report for texts that were not spoken; more clips, or another epoch.",
    ),
    Rule(
        "similarity", "similarity_min", True, "",
        "How near the voice is to the speaker's own clips; two clips of one person have about 0.7.",
        "Is there one speaker in the clips, and the right one? Then: more clips, or more epochs.",
    ),
    Rule(
        "similarity over stock", "similarity_over_stock_min", True, "",
        "By how much it is nearer to the speaker than the nearest stock voice is.",
        "It still is the base's own voice: more epochs, or a higher train.learning_rate.",
    ),
    Rule(
        "slow pace", "pace_max", False, "x",
        "Seconds for a letter, over what the speaker takes.",
        "Long pauses or slow clips were learnt: set prepare.pause_max_s, or take an earlier epoch.",
    ),
    Rule(
        "fast pace", "pace_min", True, "x",
        "Seconds for a letter, over what the speaker takes; below 1 is faster.",
        "A lower sampling.repetition_penalty (1.3 speeds speech up); look for words left out.",
    ),
    Rule(
        "sound quality", "mos_min", True, "MOS",
        "How listeners would rate the sound, 1 to 5, as DNSMOS predicts.",
        "Noise in the recordings is learnt: raise prepare.limits.mos_min, or record anew.",
    ),
)  # fmt: skip

FEWEST_UTTERANCES = 75
"""Of fewer that all stop, Wilson's interval of the stop rate begins below 0.95."""


@dataclass(frozen=True)
class Gate:
    """One gate and what became of it."""

    name: str
    limit: float | None
    is_minimum: bool
    unit: str
    value: float | None
    low: float | None
    """Of the interval that the value lies in with 95 % certainty; None for "never", or unknown."""
    high: float | None
    status: Status
    why: str | None
    means: str
    advice: str

    @property
    def bound(self) -> str:
        """The limit in words, as ">= 90 tok/s"."""
        if self.limit is None:
            return "—"
        return f"{'>=' if self.is_minimum else '<='} {self.limit:g} {self.unit}".strip()


def judge(settings: Eval, measured: Mapping[str, Measured], info: EngineInfo) -> list[Gate]:
    """All gates, judged; one that the recipe switched off is not measurable."""
    off_target = _off_target(settings, info)
    return [
        _judge(
            rule,
            getattr(settings.gates, rule.limit),
            measured[rule.name],
            off_target if rule.is_speed else None,
        )
        for rule in RULES
    ] + [_enough(settings.prompts)]


def verdict(gates: Sequence[Gate]) -> Verdict:
    """Proven only if there are gates and every one passed."""
    if any(gate.status == "failed" for gate in gates):
        return "failed"
    return "proven" if gates and all(gate.status == "passed" for gate in gates) else "unproven"


def _judge(rule: Rule, limit: float | None, measured: Measured, why: str | None) -> Gate:
    figure = measured.figure
    status, why = _status(rule, limit, figure, why)
    low, high = measured.interval.finite if measured.interval else (None, None)
    return Gate(
        name=rule.name,
        limit=limit,
        is_minimum=rule.is_minimum,
        unit=rule.unit,
        value=None if figure.value in (None, math.inf) else round(figure.value, 4),
        low=low,
        high=high,
        status=status,
        why=why,
        means=rule.means,
        advice=rule.advice,
    )


def _status(
    rule: Rule, limit: float | None, figure: Figure, why: str | None
) -> tuple[Status, str | None]:
    if limit is None:
        return "not measurable", "switched off"
    if why is not None or figure.value is None:
        return "not measurable", why or figure.why
    is_within = figure.value >= limit if rule.is_minimum else figure.value <= limit
    is_passed = is_within and figure.value != math.inf  # which is "never"
    return ("passed" if is_passed else "failed"), figure.why or _loosened(rule, limit)


def _loosened(rule: Rule, limit: float) -> str | None:
    """What is to be known of a limit that asks for less than the default one."""
    default: float = getattr(Gates(), rule.limit)
    is_looser = limit < default if rule.is_minimum else limit > default
    return f"the recipe asks for less than the default, {default:g}" if is_looser else None


def _enough(utterances: int) -> Gate:
    is_enough = utterances >= FEWEST_UTTERANCES
    return Gate(
        name="utterances",
        limit=FEWEST_UTTERANCES,
        is_minimum=True,
        unit="",
        value=utterances,
        low=None,
        high=None,
        status="passed" if is_enough else "not measurable",
        why=None if is_enough else "what so few of them do proves nothing",
        means="How many utterances the figures are of.",
        advice=f"Set eval.prompts to at least {FEWEST_UTTERANCES}.",
    )


def _off_target(settings: Eval, info: EngineInfo) -> str | None:
    """Why a speed figure of this machine says nothing about the target, if it does not."""
    if (settings.speed_target == "gpu") == info.is_gpu:
        return None
    return f"the target is a {settings.speed_target.upper()}, this was {info.hardware}"
