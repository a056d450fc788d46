"""eval/report.json and junit.xml for machines, report.html for people, clips/ for ears.

RUN/eval/
  report.json  junit.xml  report.html
  clips/PART/007.flac      what was spoken, part by part; real/ is the speaker
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from orpheus_clone import audio, bundle, disk
from orpheus_clone.engine.base import EngineInfo
from orpheus_clone.errors import ArtifactError
from orpheus_clone.eval import plots
from orpheus_clone.eval.compare import Compared, Comparison, compare
from orpheus_clone.eval.gates import Gate, Verdict
from orpheus_clone.eval.junit import junit
from orpheus_clone.eval.keep import Kept
from orpheus_clone.eval.lines import Line
from orpheus_clone.eval.special import OneWord, Tag
from orpheus_clone.eval.summary import Real, Stock
from orpheus_clone.eval.sweep import Point
from orpheus_clone.layout import RunDir
from orpheus_clone.listening.reference import Reference
from orpheus_clone.tokens import REAL_TIME_RATE


@dataclass(frozen=True)
class Evaluation:
    """The content of report.json."""

    key: str
    voice: str
    adapter_digest: str
    settings_digest: str
    base: str
    is_random_base: bool
    engine: str
    hardware: str
    precision: str
    concurrency: int
    speed_target: str
    measured_on: str
    """What every speed figure is bound to, in one line."""
    verdict: Verdict
    gates: list[Gate]
    summary: dict[str, Any]
    notes: list[str]
    """What was not measured, and why."""
    judges: dict[str, str | None]
    """By what they judge: the digest of the model that listened, or None."""
    real: Real
    stock: list[Stock]
    tags: list[Tag]
    words: list[OneWord]
    points: list[Point]
    shared: Point | None
    """With several voices in the batch."""
    real_time_streams: int
    price_per_hour: float | None
    cost_per_hour_of_audio: float | None
    currency: str
    network_ms: float | None
    bf16: list[Compared]
    """FP8, which was measured, against bf16."""
    against: Comparison | None
    """Another run, where one was asked for; see `compare_with`."""
    lines: list[Line]
    heldout: list[Line]
    """The texts of the speaker's own clips, in their order."""
    consent: dict[str, Any] | None
    versions: dict[str, str]


def measured_on(info: EngineInfo, concurrency: int) -> str:
    """See `Evaluation.measured_on`."""
    return (
        f"{info.hardware}, {info.engine} engine, {info.precision}, {concurrency} streams at a time"
    )


def write(run: RunDir, evaluation: Evaluation, kept: Kept, own: Reference) -> None:
    """Replace eval/ with this evaluation, as a whole."""
    with disk.atomic_dir(run.eval) as temporary:
        for part, clips in kept.sounds().items():
            (temporary / "clips" / part).mkdir(parents=True)
            for clip in clips:
                shutil.copyfile(clip, temporary / "clips" / part / clip.name)
        if evaluation.heldout:
            _write_real(temporary / "clips" / "real", own)
        page, cases = (
            html(evaluation),
            junit(evaluation.voice, evaluation.measured_on, evaluation.gates),
        )
        disk.write_text(temporary / "report.html", page)
        disk.write_text(temporary / "junit.xml", cases)
        disk.write_json(temporary / "report.json", asdict(evaluation))


def read_key(run: RunDir) -> str | None:
    """The key of the evaluation in `run`, or None if there is none that can be read."""
    try:
        return read(run).key
    except ArtifactError:
        return None


def read(run: RunDir) -> Evaluation:
    """The evaluation of a run; ArtifactError where it has none, or another version's."""
    hint = f"run: orpheus-clone eval {run.root}"
    data = disk.read_json(run.report, hint)
    try:
        return TypeAdapter(Evaluation).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ArtifactError(
            f"{run.report}: is of another version ({where}: {first['msg']}); {hint}"
        ) from None


def compare_with(run: RunDir, other: RunDir) -> Comparison:
    """Compare a run's evaluation with another's, and write it into the run's report."""
    ours, theirs = read(run), read(other)
    comparison = Comparison(
        other=str(other.root),
        voice=theirs.voice,
        measured_on=theirs.measured_on,
        notes=_different(ours, theirs),
        rows=compare(ours.lines, theirs.lines),
    )
    _rewrite(run, replace(ours, against=comparison))
    return comparison


def note_network(run: RunDir, network_ms: float) -> None:
    """Write the way to a node, measured anew, into the run's report."""
    _rewrite(run, replace(read(run), network_ms=network_ms))


def _rewrite(run: RunDir, evaluation: Evaluation) -> None:
    disk.write_text(run.eval / "report.html", html(evaluation))
    disk.write_json(run.report, asdict(evaluation))


def _different(ours: Evaluation, theirs: Evaluation) -> list[str]:
    """What is different about two evaluations beside the voice."""
    notes = []
    if theirs.measured_on != ours.measured_on:
        notes.append("speed is of two machines")
    others = [what for what, digest in ours.judges.items() if digest != theirs.judges[what]]
    if others:
        notes.append(f"other judges listened (judges.{', judges.'.join(others)})")
    return notes


def html(evaluation: Evaluation) -> str:
    """The page for the person who decides."""
    from jinja2 import Environment

    template = (files("orpheus_clone.eval") / "report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["n"] = _number
    order = {"failed": 0, "not measurable": 1, "passed": 2}
    gates = sorted(evaluation.gates, key=lambda gate: order[gate.status])
    page: str = environment.from_string(template).render(
        e=evaluation,
        gates=gates,
        failed=[gate for gate in gates if gate.status == "failed"],
        real=_real_by_gate(evaluation.real),
        consent=bundle.consent_line(evaluation.consent),
        histograms=_histograms(evaluation.lines, evaluation.gates),
        curves=_curves(evaluation.points),
    )
    return page


def _number(value: float | None) -> str:
    """Three or four figures; a dash where there is nothing."""
    return "—" if value is None else f"{value:.4g}"


def _write_real(folder: Path, own: Reference) -> None:
    folder.mkdir(parents=True)
    for number, clip in enumerate(own.clips, start=1):
        audio.write(folder / f"{number:03}.flac", clip.samples)


def _real_by_gate(real: Real) -> dict[str, float | None]:
    """What the speaker's own clips have of what a gate is about."""
    return {
        "word error rate": real.wer,
        "similarity": real.similarity,
        "sound quality": real.mos,
        "head silence P50": real.head_p50_ms,
        "tail silence P50": real.tail_p50_ms,
    }


def _histograms(lines: Sequence[Line], gates: Sequence[Gate]) -> list[tuple[str, str]]:
    """Titles and pictures, without those that have no values."""
    limits = {gate.name: gate.limit for gate in gates}
    rows: list[tuple[str, str, list[float | None], str]] = [
        ("tokens a second", "tok/s", [line.rate for line in lines], "stream rate P5"),
        ("first audio", "ms", [line.first_audio_ms for line in lines], ""),
        ("first speech", "ms", [line.first_speech_ms for line in lines], "first speech P50"),
        ("head silence", "ms", [line.head_ms for line in lines], "head silence P50"),
        ("tail silence", "ms", [line.tail_ms for line in lines], "tail silence P50"),
        ("similarity", "", [line.similarity for line in lines], "similarity"),
        ("pace", "x", [line.pace for line in lines], "slow pace"),
        ("sound quality", "MOS", [line.mos for line in lines], "sound quality"),
        ("pitch", "Hz", [line.pitch_hz for line in lines], ""),
    ]
    drawn = [
        (f"{name}, {unit}" if unit else name, plots.histogram(
            [value for value in values if value is not None], name, unit, limits.get(gate)
        ))
        for name, unit, values, gate in rows
    ]  # fmt: skip
    return [(title, picture) for title, picture in drawn if picture]


def _curves(points: Sequence[Point]) -> list[tuple[str, str]]:
    """Of the sweep: rate and first audio over the streams at a time."""
    slowest = [(float(point.concurrency), point.rate_p5) for point in points]
    first = [(float(point.concurrency), point.first_audio_p95_ms) for point in points]
    drawn = [
        (
            "tokens a second of the slowest stream in twenty, by streams at a time",
            plots.curve(slowest, "rate P5", "tok/s", REAL_TIME_RATE),
        ),
        ("first audio P95, ms, by streams at a time", plots.curve(first, "first audio P95", "ms")),
    ]
    return [(title, picture) for title, picture in drawn if picture]
