"""Which pieces are kept: the recipe's limits over what was measured. Nothing is measured here."""

from dataclasses import dataclass

from orpheus_clone.manifest import Kind
from orpheus_clone.prepare.check import Match
from orpheus_clone.prepare.identity import Identity, limit_for
from orpheus_clone.quality import Quality
from orpheus_clone.recipe import Limits


@dataclass(frozen=True)
class Fault:
    """Why a piece is not kept."""

    kind: Kind
    reason: str


def faults(
    quality: Quality,
    identity: Identity | None,
    match: Match | None,
    limits: Limits,
    seconds: float,
) -> list[Fault]:
    """Everything that is wrong with a piece that holds so much speech, the gravest first."""
    return [
        *_of_text(match, limits),
        *_of_voice(identity, limits, seconds),
        *_of_sound(quality, limits),
    ]


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
    if identity is None:
        return []
    lowest = limits.similarity_min
    if lowest is not None and identity.similarity < limit_for(lowest, seconds):
        reason = f"another voice (similarity {identity.similarity:.2f})"
        return [Fault("other_speaker", reason)]
    low = limits.part_similarity_min
    if low is not None and identity.lowest_part is not None and identity.lowest_part < low:
        reason = f"somebody else speaks in a part of it (similarity {identity.lowest_part:.2f})"
        return [Fault("two_speakers", reason)]
    return []


def _of_sound(quality: Quality, limits: Limits) -> list[Fault]:
    found = []
    if limits.snr_min_db is not None and quality.snr_db < limits.snr_min_db:
        found.append(Fault("noisy", f"speech is {quality.snr_db:.0f} dB over the noise"))
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
