"""eval, from top to bottom: speak, measure, judge, report."""

import contextlib
import math
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from orpheus_clone import layout, silence
from orpheus_clone.errors import NoSpeechError
from orpheus_clone.eval import report
from orpheus_clone.eval.gates import Figure, Measured, judge, verdict
from orpheus_clone.eval.report import Evaluation, Line
from orpheus_clone.eval.speed import Utterance, speak_all
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Recipe, proof_digest
from orpheus_clone.speech import Speaker, voice_of_run
from orpheus_clone.tokens import SAMPLE_RATE

RANDOM_BASE = "the base model is random and never learnt to speak"


async def evaluate(
    run: RunDir,
    speaker: Speaker,
    recipe: Recipe,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Evaluation:
    """Speak the prompt set through the trained adapter, judge it, and write the report."""
    stamp = run.stamp()
    voice = voice_of_run(run, recipe.sampling)
    if voice.adapter is not None:
        await speaker.engine.load(voice.adapter)
    utterances = await speak_all(
        speaker,
        voice,
        prompt_set(recipe.eval.prompts),
        concurrency=recipe.eval.concurrency,
        max_seconds=recipe.eval.max_seconds,
        progress=progress,
    )
    lines = [_line(utterance, speaker.base) for utterance in utterances]
    info = speaker.engine.info
    measured = _measure(lines, speaker.base)
    gates = judge(recipe.eval, measured, info)
    evaluation = Evaluation(
        key=evaluation_key(run, recipe, speaker.base, info.engine, info.hardware),
        voice=stamp.voice,
        adapter_digest=stamp.adapter_digest,
        settings_digest=proof_digest(recipe),
        base=stamp.base,
        is_random_base=speaker.base.is_random,
        engine=info.engine,
        hardware=info.hardware,
        precision=info.precision,
        concurrency=recipe.eval.concurrency,
        speed_target=recipe.eval.speed_target,
        summary=_summary(lines),
        gates=gates,
        verdict=verdict(gates),
        lines=lines,
        consent=stamp.consent,
        versions=layout.versions(),
    )
    report.write(run, evaluation, utterances)
    return evaluation


def evaluation_key(run: RunDir, recipe: Recipe, base: BaseModel, engine: str, hardware: str) -> str:
    """Hash of everything that an evaluation is about: equal keys need no second one."""
    stamp = run.stamp()
    about = [stamp.voice, stamp.adapter_digest, base.digest, base.codec_digest, layout.versions()]
    spoken = prompt_set(recipe.eval.prompts)
    return layout.sha256_json([about, proof_digest(recipe), spoken, engine, hardware])


def prompt_set(count: int) -> list[str]:
    """`count` prompts; the set of 20 repeats, with another seed each time."""
    text = (files("orpheus_clone.eval") / "prompts.txt").read_text(encoding="utf-8")
    lines = text.splitlines()
    return [lines[i % len(lines)] for i in range(count)]


def _line(utterance: Utterance, base: BaseModel) -> Line:
    head_ms: float | None = None
    tail_ms: float | None = None
    first_speech_ms: float | None = None
    # In the noise of a random base, speech would only be found by mistake.
    with contextlib.suppress(NoSpeechError):
        if not base.is_random:
            span = silence.speech_span(utterance.samples, SAMPLE_RATE)
            # What was dropped is the voice's too: it took time, though nobody heard it.
            head_ms, tail_ms = span.head_ms + utterance.dropped_ms, span.tail_ms
            first_speech_ms = utterance.heard_at_ms(span.head_ms)
    return Line(
        text=utterance.text,
        seconds=round(len(utterance.samples) / SAMPLE_RATE, 3),
        tokens=utterance.tokens,
        is_stopped=utterance.finish == "stop",
        rate=round(utterance.rate, 2),
        first_audio_ms=round(utterance.first_audio_ms, 1),
        first_speech_ms=None if first_speech_ms is None else round(first_speech_ms, 1),
        head_silence_ms=None if head_ms is None else round(head_ms, 1),
        tail_silence_ms=None if tail_ms is None else round(tail_ms, 1),
    )


def _measure(lines: Sequence[Line], base: BaseModel) -> Measured:
    rate = Figure(_percentile([line.rate for line in lines], 50))
    if base.is_random:
        unknown = Figure(None, RANDOM_BASE)
        return Measured(rate, unknown, unknown, unknown)
    return Measured(
        stream_rate=rate,
        first_speech_p50_ms=_spoken(lines, [line.first_speech_ms for line in lines]),
        head_silence_p50_ms=_spoken(lines, [line.head_silence_ms for line in lines]),
        stop_rate=Figure(sum(line.is_stopped for line in lines) / len(lines)),
    )


def _spoken(lines: Sequence[Line], values: Sequence[float | None]) -> Figure:
    """The median; utterances without speech count as never, so muteness is no promptness."""
    known = sorted(value for value in values if value is not None)
    if 2 * len(known) <= len(lines):
        return Figure(math.inf, f"only {len(known)} of {len(lines)} utterances hold speech")
    return Figure(round((known[(len(lines) - 1) // 2] + known[len(lines) // 2]) / 2, 2))


def _summary(lines: Sequence[Line]) -> dict[str, Any]:
    heads = [line.head_silence_ms for line in lines if line.head_silence_ms is not None]
    speeches = [line.first_speech_ms for line in lines if line.first_speech_ms is not None]
    audio = [line.first_audio_ms for line in lines]
    rates = [line.rate for line in lines]
    return {
        "utterances": len(lines),
        "seconds": round(sum(line.seconds for line in lines), 2),
        "stream_rate_p50": _percentile(rates, 50),
        "stream_rate_p5": _percentile(rates, 5),
        "first_audio_p50_ms": _percentile(audio, 50),
        "first_audio_p95_ms": _percentile(audio, 95),
        "first_speech_p50_ms": _percentile(speeches, 50),
        "first_speech_p95_ms": _percentile(speeches, 95),
        "head_silence_p50_ms": _percentile(heads, 50),
        "head_silence_p95_ms": _percentile(heads, 95),
        "stop_rate": sum(line.is_stopped for line in lines) / len(lines),
        "without_speech": len(lines) - len(heads),
    }


def _percentile(values: Sequence[float], q: float) -> float | None:
    return round(float(np.percentile(values, q)), 2) if values else None
