"""eval/report.json for machines, eval/report.html for people, eval/clips/ for ears."""

import base64
import io
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from orpheus_clone import audio, bundle, layout
from orpheus_clone.errors import ArtifactError
from orpheus_clone.eval.gates import Gate, Verdict
from orpheus_clone.eval.speed import Utterance
from orpheus_clone.layout import RunDir
from orpheus_clone.tokens import REAL_TIME_RATE


@dataclass(frozen=True)
class Line:
    """One utterance in numbers; None where it holds no speech."""

    text: str
    seconds: float
    tokens: int
    is_stopped: bool
    rate: float
    first_audio_ms: float
    first_speech_ms: float | None
    head_silence_ms: float | None
    tail_silence_ms: float | None


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
    summary: dict[str, Any]
    gates: list[Gate]
    verdict: Verdict
    lines: list[Line]
    consent: dict[str, Any] | None
    versions: dict[str, str]

    @property
    def measured_on(self) -> str:
        """What every speed figure is bound to, in one line."""
        return (
            f"{self.hardware}, {self.engine} engine, {self.precision}, "
            f"{self.concurrency} streams at a time"
        )


def write(run: RunDir, evaluation: Evaluation, utterances: list[Utterance]) -> None:
    """Replace eval/ with this evaluation, as a whole."""
    with layout.atomic_dir(run.eval) as temporary:
        for number, utterance in enumerate(utterances, start=1):
            audio.write(temporary / "clips" / f"{number:03}.flac", utterance.samples)
        (temporary / "report.html").write_text(_html(evaluation), encoding="utf-8")
        layout.write_json(temporary / "report.json", asdict(evaluation))


def read_key(run: RunDir) -> str | None:
    """The key of the evaluation in `run`, or None if there is none that can be read."""
    try:
        return str(layout.read_json(run.report, "").get("key"))
    except ArtifactError:
        return None


def _html(evaluation: Evaluation) -> str:
    from jinja2 import Environment

    template = (files("orpheus_clone.eval") / "report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    order = {"failed": 0, "not measurable": 1, "passed": 2}
    page: str = environment.from_string(template).render(
        e=evaluation,
        gates=sorted(evaluation.gates, key=lambda gate: order[gate.status]),
        consent=bundle.consent_line(evaluation.consent),
        plot=_plot(evaluation),
    )
    return page


def _plot(evaluation: Evaluation) -> str:
    """Rates, first audio and head silence as one PNG, base64."""
    from matplotlib.figure import Figure

    lines = evaluation.lines
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    rate, first, head = figure.subplots(1, 3)
    rate.hist([line.rate for line in lines], bins=15, color="#4477aa")
    rate.axvline(REAL_TIME_RATE, color="#cc3311", linestyle="--", label="real time")
    rate.set(title="tokens a second per stream", xlabel="tok/s", ylabel="utterances")
    rate.legend()
    first.hist([line.first_audio_ms for line in lines], bins=15, color="#228833")
    first.set(title="first audio", xlabel="ms after the request")
    heads = [line.head_silence_ms for line in lines if line.head_silence_ms is not None]
    head.hist(heads, bins=15, color="#aa3377")
    head.set(title=f"silence before speech ({len(heads)} of {len(lines)})", xlabel="ms")
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110, format="png")
    return base64.b64encode(picture.getvalue()).decode()
