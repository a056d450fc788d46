"""What became of a customer's recordings, for the person who decides whether to ask for more.

    report.html    one page with everything in it: no request leaves it, it can be mailed
    report.json    the same numbers, for scripts
    README.md      a dataset card

All take a `ReportData` of plain values, so nothing here measures but the reading speed.
"""

import base64
import html
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from orpheus_clone import disk, text
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import AudioError
from orpheus_clone.prepare import plots, verdict
from orpheus_clone.prepare.coverage import RARE, Coverage, coverage
from orpheus_clone.prepare.identity import STEADY_S
from orpheus_clone.prepare.plots import Series
from orpheus_clone.prepare.verdict import Facts, Verdict
from orpheus_clone.tokens import SAMPLE_RATE

PLAYED = 10
"""Clips of each kind that can be heard on the page."""
PLAYED_S = 20.0
"""Of each; thirty of them stay under 4 MB in base64."""
OPUS_BITS_A_SECOND = 32_000
SPEED_FROM_S = 2.0
"""Shorter clips say little of how fast somebody reads: "MGCP" has 2.5 characters a second."""
HEAD_SHOWN_MS = 1_500.0


@dataclass(frozen=True)
class Kept:
    """A clip that was kept; a measurement is None where it was not made."""

    id: str
    text: str
    seconds: float
    audio: Path
    head_before_ms: float
    """Silence before the speech, in the recording."""
    head_after_ms: float
    tail_before_ms: float
    tail_after_ms: float
    snr_db: float | None = None
    mos: float | None = None
    """DNSMOS overall, 1 to 5."""
    bandwidth_hz: float | None = None
    similarity: float | None = None
    """To the voice, -1 to 1."""
    cer: float | None = None
    """Of the transcript against what was heard."""
    pitch_hz: float | None = None
    flags: tuple[str, ...] = ()
    """What is doubtful about it, in words."""

    @property
    def characters_a_second(self) -> float:
        """How fast it is read; digits and signs count as the words they are."""
        return text.letters(self.text) / self.seconds


@dataclass(frozen=True)
class Lost:
    """A stretch of a recording that was rejected."""

    id: str
    source: str
    kind: str
    """One word or two, the same for all of a kind; those of `verdict.ADVICE` have advice."""
    reason: str
    seconds: float
    """0 where there is no sound, as of a transcript without a recording."""
    audio: Path | None = None
    """What can be heard of it; `start_s` is where it begins there."""
    start_s: float = 0.0


@dataclass(frozen=True)
class ReportData:
    """All that is told of a corpus."""

    voice: str
    language: str
    """ISO 639-1."""
    base: str
    made_at: str
    """As it is to be shown."""
    consent: Mapping[str, object] | None
    kept: tuple[Kept, ...]
    lost: tuple[Lost, ...]
    notes: tuple[str, ...] = ()
    """What the reader must know: "no speaker model here: one speaker was not checked"."""
    gain_db: float | None = None
    """The one gain that was put on every clip."""
    codec_distance: float | None = None
    """Of clips and what the codec makes of them, log-mel, in dB."""
    made_with: Mapping[str, str] = field(default_factory=dict)
    """Models and versions."""
    thresholds: Mapping[str, str] = field(default_factory=dict)
    licence: str | None = None
    """Of the recordings, as an SPDX name."""

    @cached_property
    def minutes(self) -> float:
        """Kept."""
        return sum(clip.seconds for clip in self.kept) / 60

    @cached_property
    def lost_minutes(self) -> dict[str, float]:
        """By kind, the most first."""
        by_kind: dict[str, float] = {}
        for clip in self.lost:
            by_kind[clip.kind] = by_kind.get(clip.kind, 0.0) + clip.seconds / 60
        return dict(sorted(by_kind.items(), key=lambda item: -item[1]))

    @cached_property
    def coverage(self) -> Coverage:
        """Of the texts that were kept."""
        spoken = (text.normalise(clip.text, self.language) for clip in self.kept)
        return coverage(spoken, self.language)


def write(out: Path, data: ReportData) -> None:
    """report.html, report.json and README.md into `out`; AudioError where a clip cannot be read."""
    judged = verdict.judge(facts(data))
    numbers = summary(data, judged)
    disk.write_json(out / "report.json", numbers)
    disk.write_text(out / "report.html", page(data, judged))
    disk.write_text(out / "README.md", card(data, judged))


def facts(data: ReportData) -> Facts:
    """What the verdict needs of it."""
    speeds = [c.characters_a_second for c in data.kept if c.seconds >= SPEED_FROM_S]
    slow, fast = verdict.percentile(speeds, 10), verdict.percentile(speeds, 90)
    covered = data.coverage
    return Facts(
        minutes=data.minutes,
        lost=data.lost_minutes,
        snr_db=verdict.percentile(_known(clip.snr_db for clip in data.kept), 50),
        telephone_share=_share(
            [hz < verdict.TELEPHONE_HZ for hz in _known(c.bandwidth_hz for c in data.kept)]
        ),
        unlike_share=_share(
            [
                near < verdict.UNLIKE_SIMILARITY
                # Of shorter clips similarity tells little; see identity.limit_for.
                for near in _known(c.similarity for c in data.kept if c.seconds >= STEADY_S)
            ]
        ),
        speed_ratio=fast / slow if slow and fast else None,
        has_consent=data.consent is not None,
        missing_sounds=covered.missing if data.kept else (),
    )


def summary(data: ReportData, judged: Verdict) -> dict[str, Any]:
    """The numbers of the page, rounded as they are kept."""
    return {
        "voice": data.voice,
        "language": data.language,
        "base": data.base,
        "made_at": data.made_at,
        "consent": data.consent,
        "verdict": asdict(judged),
        "minutes": round(data.minutes, 3),
        "clips": len(data.kept),
        "lost_minutes": {kind: round(value, 3) for kind, value in data.lost_minutes.items()},
        "lost_clips": len(data.lost),
        "measured": {name: _percentiles(values) for name, _, values in _measured(data)},
        "coverage": asdict(data.coverage),
        "gain_db": data.gain_db,
        "codec_distance": data.codec_distance,
        "notes": list(data.notes),
        "made_with": dict(data.made_with),
        "thresholds": dict(data.thresholds),
    }


def page(data: ReportData, judged: Verdict) -> str:
    """report.html; what others wrote is escaped."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    best = sorted(data.kept, key=_badness)
    parts = {"kept": data.minutes, **data.lost_minutes}
    return environment.from_string(template).render(
        data=data,
        verdict=judged,
        tenths=verdict.tenths,
        parts=parts,
        total=sum(parts.values()),
        lost_clips={kind: sum(c.kind == kind for c in data.lost) for kind in data.lost_minutes},
        shades=plots.SHADES,
        stacked=plots.stacked(parts),
        plots=_plots(data),
        measured=[(name, unit, _percentiles(v)) for name, unit, v in _measured(data) if v],
        worst=[(clip, sound(clip.audio)) for clip in best[::-1][:PLAYED]],
        best=[(clip, sound(clip.audio)) for clip in best[:PLAYED]],
        rejected=[
            (clip, sound(clip.audio, clip.start_s, clip.seconds))
            for clip in _of_each_kind(data.lost)
            if clip.audio is not None
        ],
        rare_below=RARE,
        consent=_consent_words(data.consent),
    )


def sound(path: Path, start_s: float = 0.0, seconds: float = PLAYED_S) -> str:
    """A stretch of a 24 kHz file as a data URL of Ogg Opus, at most `PLAYED_S` long."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            file.seek(min(round(start_s * rate), file.frames))
            block = file.read(round(min(seconds, PLAYED_S) * rate), "float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(
            f"{path}: cannot be read for the report ({error}); run prepare again"
        ) from None
    ogg = _opus(block.mean(axis=1), rate)
    return "data:audio/ogg;base64," + base64.b64encode(ogg).decode("ascii")


def _opus(mono: Waveform, rate: int) -> bytes:
    """By FFmpeg: libsndfile makes the same at nine times the work."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = OPUS_BITS_A_SECOND
        stream.options = {"compression_level": "5"}
        frame = av.AudioFrame.from_ndarray(mono.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = rate
        cut = av.AudioResampler("flt", "mono", SAMPLE_RATE, frame_size=SAMPLE_RATE // 50)
        for piece in [*(cut.resample(frame) if mono.size else ()), *cut.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return out.getvalue()


def card(data: ReportData, judged: Verdict) -> str:
    """README.md, as the hub shows it for a data set."""
    head = {
        "language": [data.language],
        "pretty_name": f"{data.voice}, prepared for {data.base}",
        "task_categories": ["text-to-speech"],
        "size_categories": ["n<1K" if len(data.kept) < 1000 else "1K<n<10K"],
        "license": (data.licence or "other").lower(),
    }
    # JSON is YAML, and quotes whatever a name may hold.
    front = "".join(f"{key}: {json.dumps(value)}\n" for key, value in head.items())
    lost = "".join(
        f"| {_cell(kind)} | {verdict.tenths(value)} |\n"
        for kind, value in data.lost_minutes.items()
    )
    made = "".join(f"- {_line(k)}: {_line(v)}\n" for k, v in data.made_with.items())
    limits = [*judged.reasons, *data.notes] or ["None was found."]
    return (
        f"---\n{front}---\n\n# {data.voice}\n\n{judged.headline}.\n\n"
        f"{len(data.kept)} clips, {verdict.minutes(data.minutes)}, of one voice in "
        f"`{data.language}`, prepared on {_line(data.made_at)} for the base model {data.base}. "
        "`report.html` tells more and lets clips be heard; `report.json` has the numbers.\n\n"
        f"## Licence and consent\n\nLicence of the recordings: "
        f"{data.licence or 'not stated'}. {_consent_words(data.consent)}\n\n"
        f"## What is in it\n\nClips of 24 kHz mono FLAC in `audio/`, their texts in "
        "`clips.jsonl`, their codes in `dataset/` with the splits train and heldout.\n\n"
        f"| | minutes |\n|---|---|\n| kept | {verdict.tenths(data.minutes)} |\n{lost}\n"
        f"## How it was made\n\n{made}\n"
        f"## Limits\n\n{''.join(f'- {_line(limit)}' + chr(10) for limit in limits)}"
    )


def _line(words: str) -> str:
    """In one line of Markdown, with nothing that is a tag."""
    return html.escape(" ".join(words.split()), quote=False)


def _cell(words: str) -> str:
    return _line(words).replace("|", "\\|")


def _consent_words(consent: Mapping[str, object] | None) -> str:
    if consent is None:
        return "No consent is recorded."
    digest = str(consent.get("sha256", ""))[:12]
    return f"Consent is recorded{f' (sha256 {digest}…)' if digest else ''}."


def _known(values: Any) -> list[float]:
    return [value for value in values if value is not None]


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _measured(data: ReportData) -> list[tuple[str, str, list[float]]]:
    """Each measurement of the kept clips: name, unit, values."""
    kept = data.kept
    return [
        ("duration", "s", [clip.seconds for clip in kept]),
        ("pitch", "Hz", _known(clip.pitch_hz for clip in kept)),
        ("signal to noise", "dB", _known(clip.snr_db for clip in kept)),
        ("head silence before", "ms", [clip.head_before_ms for clip in kept]),
        ("head silence after", "ms", [clip.head_after_ms for clip in kept]),
        ("tail silence before", "ms", [clip.tail_before_ms for clip in kept]),
        ("tail silence after", "ms", [clip.tail_after_ms for clip in kept]),
        ("characters a second", "", [clip.characters_a_second for clip in kept]),
        ("bandwidth", "Hz", _known(clip.bandwidth_hz for clip in kept)),
        ("similarity to the voice", "", _known(clip.similarity for clip in kept)),
        ("quality (DNSMOS)", "", _known(clip.mos for clip in kept)),
        ("character errors", "", _known(clip.cer for clip in kept)),
    ]


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """At 5, 50 and 95 %; None of nothing."""
    if not values:
        return None
    at = {f"p{percent}": verdict.percentile(values, percent) for percent in (5, 50, 95)}
    return {name: round(value, 3) for name, value in at.items() if value is not None}


def _plots(data: ReportData) -> list[tuple[str, str, str]]:
    """Title, unit and SVG of each histogram that has values."""
    values = {name: (unit, found) for name, unit, found in _measured(data)}
    drawn = []
    for name in ("duration", "pitch", "signal to noise", "characters a second"):
        unit, found = values[name]
        drawn.append((name, unit, plots.histogram(name, unit, [Series(name, found)])))
    for end in ("head", "tail"):
        series = [Series(when, values[f"{end} silence {when}"][1]) for when in ("before", "after")]
        title = f"{end} silence"
        drawn.append((title, "ms", plots.histogram(title, "ms", series, longest=HEAD_SHOWN_MS)))
    return [plot for plot in drawn if plot[2]]


def _of_each_kind(lost: Sequence[Lost]) -> list[Lost]:
    """`PLAYED` that can be heard, the kinds in turns."""
    seen: Counter[str] = Counter()
    turns = []
    for clip in lost:
        if clip.audio is not None:
            turns.append((seen[clip.kind], clip))
            seen[clip.kind] += 1
    turns.sort(key=lambda turn: turn[0])
    return [clip for _, clip in turns[:PLAYED]]


def _badness(clip: Kept) -> float:
    """How far from good it is, each measurement on a scale on which about 1 is bad."""
    badness = float(len(clip.flags))
    if clip.cer is not None:
        badness += clip.cer / 0.1
    if clip.snr_db is not None:
        badness += max(0.0, (40 - clip.snr_db) / 25)
    if clip.similarity is not None:
        badness += max(0.0, (0.8 - clip.similarity) / 0.35)
    if clip.mos is not None:
        badness += max(0.0, (4 - clip.mos) / 1.5)
    return badness
