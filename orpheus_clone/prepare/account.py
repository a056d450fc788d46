"""What became of the recordings, put together for the report."""

from collections.abc import Sequence
from datetime import UTC, datetime

from orpheus_clone import audio as waveforms
from orpheus_clone import layout
from orpheus_clone.judges import Judges
from orpheus_clone.layout import PreparedDir
from orpheus_clone.manifest import Clip, Kind, Rejected
from orpheus_clone.prepare.order import Order
from orpheus_clone.prepare.report import Kept, Lost, ReportData
from orpheus_clone.prepare.stages import Made
from orpheus_clone.prepare.trim import span_of_clip
from orpheus_clone.recipe import Limits

WORDS: dict[Kind, str] = {
    "no_transcript": "no text",
    "no_audio": "no recording",
    "bad_text": "text",
    "wrong_text": "text",
    "other_speaker": "speaker",
    "two_speakers": "overlap",
    "noisy": "noise",
    "clipped": "clipping",
    "narrowband": "bandwidth",
    "digital_silence": "silence",
    "too_short": "length",
    "too_long": "length",
    "no_speech": "no speech",
}
"""Kinds as people call them; the others are called what they are."""


def account(
    order: Order,
    made: Made,
    rejected: Sequence[Rejected],
    judges: Judges,
    consent: dict[str, object] | None,
    out: PreparedDir,
) -> ReportData:
    """The data of the report."""
    survived = made.survival
    return ReportData(
        voice=order.voice,
        language=made.language,
        base=order.base.name,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d"),
        consent=consent,
        kept=tuple(_kept(clip, out) for clip in made.clips),
        lost=tuple(_lost(entry, made) for entry in rejected),
        notes=tuple(made.notes),
        gain_db=made.gain_db,
        codec_distance=survived.mel_distance_db if survived else None,
        made_with={**_models(judges), **layout.versions()},
        thresholds=_limits(order.recipe.prepare.limits),
    )


def _kept(clip: Clip, out: PreparedDir) -> Kept:
    path = out.audio / f"{clip.key}.flac"
    span = span_of_clip(waveforms.read(path))
    measured = clip.measured
    return Kept(
        id=clip.id,
        text=clip.text,
        seconds=clip.seconds,
        audio=path,
        head_before_ms=clip.source_head_ms,
        head_after_ms=round(span.head_ms, 1),
        tail_before_ms=clip.source_tail_ms,
        tail_after_ms=round(span.tail_ms, 1),
        snr_db=measured.snr_db,
        mos=measured.mos,
        bandwidth_hz=measured.bandwidth_hz,
        similarity=measured.similarity,
        cer=measured.cer,
        pitch_hz=measured.pitch_hz,
        flags=clip.flags,
    )


def _lost(entry: Rejected, made: Made) -> Lost:
    heard = made.sounds.get(entry.id)
    return Lost(
        id=entry.id,
        source=entry.source,
        kind=WORDS.get(entry.kind, entry.kind),
        reason=entry.reason,
        seconds=entry.seconds,
        audio=heard[0] if heard else None,
        start_s=heard[1] if heard else 0.0,
    )


def _models(judges: Judges) -> dict[str, str]:
    return {what: (digest or "not here")[:40] for what, digest in judges.digests().items()}


def _limits(limits: Limits) -> dict[str, str]:
    return {
        name.replace("_", " "): "off" if value is None else f"{value:g}"
        for name, value in limits.model_dump().items()
    }
