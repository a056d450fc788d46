"""Which pieces are kept: the recipe's limits over what was measured. Nothing is measured here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orpheus_clone import text
from orpheus_clone.errors import TextError
from orpheus_clone.manifest import Kind, Measured, Rejected
from orpheus_clone.prepare import check
from orpheus_clone.prepare.check import Match
from orpheus_clone.prepare.identity import (
    TELLABLE_S,
    Identity,
    Voices,
    limit_for,
    part_limit_for,
)
from orpheus_clone.prepare.measure import Measures
from orpheus_clone.prepare.pieces import Piece
from orpheus_clone.quality import Quality
from orpheus_clone.recipe import Limits
from orpheus_clone.text.spoken import normalise

SHORT_LETTERS = 3
"""A single word of no more is not rejected for what was heard: "z" for "zed"."""
TELLING_LETTERS = 4
"""A word of so many that was heard otherwise was changed, or is a name."""
DC_DOUBTED = 0.01
ECHO_TOLD_S = 1.0
"""Of a single letter it is not told."""


@dataclass(frozen=True)
class Judged:
    """A piece that is kept, its text as it will be taught, and what is doubtful about it."""

    piece: Piece
    text: str
    measures: Measures
    measured: Measured
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    """Why a piece is not kept."""

    kind: Kind
    reason: str


def judge(
    measured: Sequence[tuple[Piece, Measures]],
    voices: Voices | None,
    tags: tuple[str, ...],
    language: str,
    limits: Limits,
) -> tuple[list[Judged], list[Rejected]]:
    """Each piece, kept or rejected; of those with several faults the gravest names the kind."""
    identities: Sequence[Identity | None] = voices.clips if voices else [None] * len(measured)
    kept: list[Judged] = []
    rejected: list[Rejected] = []
    for (piece, measures), identity in zip(measured, identities, strict=True):
        try:
            spoken = taught(piece.text, tags, language)
        except TextError as error:
            rejected.append(piece.rejected("bad_text", str(error)))
            continue
        match = None
        if piece.heard is not None and not piece.is_transcribed:
            match = check.match(spoken, piece.heard, language)
        tells = match is not None and not (match.words == 1 and len(spoken) <= SHORT_LETTERS)
        speech_s = measures.voice.seconds if measures.voice else 0.0
        usual = voices.usual_lowest_part if voices else None
        wrong = faults(
            measures.quality, identity, match if tells else None, limits, speech_s, usual
        )
        if wrong:
            reasons = "; ".join(fault.reason for fault in wrong)
            rejected.append(piece.rejected(wrong[0].kind, reasons))
            continue
        flags = doubts(spoken, tags, measures, identity, match, limits)
        if piece.is_transcribed and piece.source.recording.whole_text is not None:
            flags = (*flags, "the transcript lacks it: its text is what was heard")
        kept.append(Judged(piece, spoken, measures, _numbers(measures, identity, match), flags))
    return kept, rejected


def taught(given: str, tags: tuple[str, ...], language: str) -> str:
    """The text as the model reads it; TextError where it cannot be said or a tag is misspelt."""
    line = text.clean(normalise(text.clean(given, tags), language), tags)
    for wrong, near in text.unknown_tags(line, tags).items():
        if near is not None:
            raise TextError(f"<{wrong}> is no tag of the base model; write <{near}>")
    return line


def faults(
    quality: Quality,
    identity: Identity | None,
    match: Match | None,
    limits: Limits,
    seconds: float,
    usual_lowest_part: float | None = None,
) -> list[Fault]:
    """Everything that is wrong with a piece that holds so much speech, the gravest first.

    `usual_lowest_part` is the corpus's, see `identity.Voices`.
    """
    voice = _of_voice(identity, limits, seconds)
    # Last: noise and telephone lines make stretches of a clip unlike the voice, too.
    parts = [] if voice else _of_parts(identity, limits, usual_lowest_part)
    return [*_of_text(match, limits), *voice, *_of_sound(quality, limits), *parts]


def _of_text(match: Match | None, limits: Limits) -> list[Fault]:
    if match is None:
        return []
    found = []
    if limits.cer_max is not None and match.cer > limits.cer_max:
        found.append(f"{match.cer:.0%} of its characters were heard otherwise")
    unspoken, untold = len(match.unspoken.split()), len(match.untold.split())
    if limits.unspoken_words_max is not None and unspoken > limits.unspoken_words_max:
        found.append(f"{match.unspoken!r} was not heard")
    if limits.untold_words_max is not None and untold > limits.untold_words_max:
        found.append(f"{match.untold!r} was heard and is not in the text")
    return [Fault("wrong_text", "; ".join(found))] if found else []


def _of_voice(identity: Identity | None, limits: Limits, seconds: float) -> list[Fault]:
    lowest = limits.similarity_min
    if identity is None or lowest is None:
        return []
    if identity.similarity < limit_for(lowest, seconds):
        return [Fault("other_speaker", f"another voice (similarity {identity.similarity:.2f})")]
    if identity.lead is not None and identity.lead < 0:
        reason = f"nearer to another voice of the corpus (by {-identity.lead:.2f})"
        return [Fault("other_speaker", reason)]
    return []


def _of_parts(identity: Identity | None, limits: Limits, usual: float | None) -> list[Fault]:
    low = limits.part_similarity_min
    if identity is None or identity.lowest_part is None or low is None:
        return []
    leads = identity.lowest_part_lead is None or identity.lowest_part_lead >= 0
    if identity.lowest_part >= part_limit_for(low, usual) and leads:
        return []
    reason = f"somebody else speaks in a part of it (similarity {identity.lowest_part:.2f})"
    return [Fault("two_speakers", reason)]


def _of_sound(quality: Quality, limits: Limits) -> list[Fault]:
    found = []
    if limits.snr_min_db is not None and quality.snr_db < limits.snr_min_db:
        found.append(Fault("noisy", f"speech is {quality.snr_db:.0f} dB over the noise"))
    if limits.music_max is not None and quality.music > limits.music_max:
        found.append(Fault("music", f"notes are held in {quality.music:.0%} of it"))
    if limits.clipped_max is not None and quality.clipped > limits.clipped_max:
        found.append(Fault("clipped", f"{quality.clipped:.1%} of it lies in flattened peaks"))
    if limits.bandwidth_min_hz is not None and quality.bandwidth_hz < limits.bandwidth_min_hz:
        reason = f"there is nothing above {quality.bandwidth_hz / 1000:.1f} kHz, as on a telephone"
        found.append(Fault("narrowband", reason))
    if limits.zeros_max is not None and quality.zeros > limits.zeros_max:
        found.append(Fault("digital_silence", f"{quality.zeros:.0%} of it is digital silence"))
    if limits.mos_min is not None and quality.mos is not None and quality.mos < limits.mos_min:
        found.append(Fault("poor", f"it sounds poor (DNSMOS {quality.mos:.1f})"))
    return found


def doubts(
    spoken: str,
    tags: tuple[str, ...],
    measures: Measures,
    identity: Identity | None,
    match: Match | None,
    limits: Limits,
) -> tuple[str, ...]:
    """What is doubtful about a piece that is kept, in words."""
    found = [f"<{tag}> is no tag of the base model" for tag in text.unknown_tags(spoken, tags)]
    if match is not None and match.words == 1 and (match.cer > 0 or match.substituted):
        found.append("one word alone, which was heard otherwise")
    elif match is not None:
        pairs = [(a, b) for a, b in match.substituted if len(a) >= TELLING_LETTERS]
        found += [f"heard {heard!r} for {said!r}" for said, heard in pairs[:3]]
    if identity is not None and measures.voice and measures.voice.seconds < TELLABLE_S:
        found.append("too short to tell who speaks")
    quality = measures.quality
    is_long = measures.voice is None or measures.voice.seconds >= ECHO_TOLD_S
    echo_s = limits.echo_doubted_s
    if echo_s is not None and quality.reverberation_s > echo_s and is_long:
        found.append(f"the room echoes ({quality.reverberation_s:.2f} s)")
    if limits.hum_doubted_db is not None and quality.hum_db > limits.hum_doubted_db:
        found.append(f"mains hum ({quality.hum_db:.0f} dB over the room tone)")
    if abs(quality.dc) > DC_DOUBTED:
        found.append(f"its mean is not zero ({quality.dc:+.3f})")
    return tuple(found)


def _numbers(measures: Measures, identity: Identity | None, match: Match | None) -> Measured:
    quality = measures.quality
    return Measured(
        snr_db=_rounded(quality.snr_db, 1),
        bandwidth_hz=_rounded(quality.bandwidth_hz, 0),
        lufs=_rounded(quality.lufs, 1),
        mos=_rounded(quality.mos, 2),
        similarity=_rounded(identity.similarity if identity else None, 3),
        cer=_rounded(match.cer if match else None, 3),
        pitch_hz=_rounded(measures.pitch_hz, 1),
    )


def _rounded(number: float | None, digits: int) -> float | None:
    """JSON has no infinities, and nobody reads the eighth digit."""
    return round(number, digits) if number is not None and math.isfinite(number) else None
