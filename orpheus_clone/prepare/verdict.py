"""What the numbers of a corpus mean for the person who must decide whether to ask for more.

    ask        too little, or too poor to be worth training
    care       it can be trained, but something will be heard
    train      good

A pure function of a few numbers; every limit is a constant with its reason.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

WANTED_MINUTES = 30.0
"""What the talk this product comes from asks of a customer."""
LEAST_MINUTES = 10.0
"""What it overfits on for five epochs; below, a voice is guessed rather than learnt."""
NOISY_SNR_DB, POOR_SNR_DB = 20.0, 12.0
"""Median over the clips: below the first noise is heard in pauses, below the second under words."""
TELEPHONE_HZ = 5_000.0
"""Speech with nothing above this sounds like a telephone, and so will the voice."""
TELEPHONE_SHARE, MOSTLY_SHARE = 0.1, 0.5
MUCH_LOST_SHARE = 0.25
"""Of the minutes: worth a word to the customer about the main reason."""
UNLIKE_SIMILARITY = 0.45
"""ECAPA puts clips of one speaker at 0.7 and of two at 0.1."""
UNLIKE_SHARE = 0.05
UNEVEN_SPEED = 1.6
"""The 90th percentile of characters a second over the 10th. Six synthetic voices have 1.2, 195
prompts by one professional 1.34; half read slowly at 11 and half fast at 18 has 1.6."""

Level = Literal["ask", "care", "train"]

ADVICE: Mapping[str, str] = {
    "speaker": "send recordings in which only the voice to be cloned speaks",
    "overlap": "send recordings in which nobody talks over the speaker",
    "text": "check the transcripts against the recordings, or leave them out: they are then heard",
    "no text": "send a transcript for each recording, or let prepare transcribe",
    "noise": "record in a quiet room, with fans and air conditioning off",
    "reverberation": "record closer, a hand's breadth or two from the microphone, in a small room "
    "with curtains or carpets",
    "music": "send recordings without music under the speech",
    "clipping": "turn the input level down so that loud words do not distort",
    "bandwidth": "record with a microphone or a phone's recorder, not over a call",
    "silence": "send the recordings as they were made, without a gate or muted pauses",
    "hum": "keep cables and chargers away from the microphone, and unplug what hums",
    "length": "cut recordings into sentences of 2 to 20 seconds, at pauses",
    "unreadable": "send these files again as WAV or FLAC",
}
"""What to ask for, by the kind of the reason for which clips were lost."""


@dataclass(frozen=True)
class Facts:
    """What is judged; a measurement is None where it was not made."""

    minutes: float
    """Kept."""
    lost: Mapping[str, float]
    """Minutes by kind of reason."""
    snr_db: float | None = None
    """Median over the clips."""
    telephone_share: float | None = None
    """Of the clips, those with nothing above `TELEPHONE_HZ`."""
    unlike_share: float | None = None
    """Of the clips, those less like the voice than `UNLIKE_SIMILARITY`."""
    speed_ratio: float | None = None
    """The 90th percentile of characters a second over the 10th."""
    has_consent: bool = True
    missing_sounds: tuple[str, ...] = ()

    @property
    def lost_share(self) -> float:
        """Of all minutes, those that were lost."""
        lost = sum(self.lost.values())
        return lost / (lost + self.minutes) if lost else 0.0


@dataclass(frozen=True)
class Verdict:
    """In words: one line, why, and what to ask the customer or to do."""

    level: Level
    headline: str
    reasons: tuple[str, ...]
    requests: tuple[str, ...]


def judge(facts: Facts) -> Verdict:
    """The verdict on a corpus."""
    findings = [finding for finding in _findings(facts) if finding is not None]
    level = _level(facts.minutes, {level for level, _, _ in findings})
    amount = [_amount(facts.minutes)] if facts.minutes < WANTED_MINUTES else []
    requests = dict.fromkeys([*amount, *(request for _, _, request in findings if request)])
    return Verdict(
        level=level,
        headline=_headline(facts.minutes, level),
        reasons=tuple(reason for _, reason, _ in findings),
        requests=tuple(requests),
    )


def minutes(value: float) -> str:
    """Minutes as a person reads them, never rounded up to what they are not."""
    shown = tenths(value)
    return f"{shown} minute" + ("" if shown == "1.0" else "s")


def tenths(value: float) -> str:
    """With one decimal, cut: 9.96 minutes are not ten."""
    return f"{math.floor(value * 10 + 1e-6) / 10:.1f}"


def percentile(values: Iterable[float], percent: float) -> float | None:
    """Linear between the two nearest; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    at = (len(ordered) - 1) * percent / 100
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


Finding = tuple[Level, str, str]
"""How grave it is alone, what it is, and what to ask for."""


def _level(kept: float, levels: set[Level]) -> Level:
    if kept < LEAST_MINUTES or "ask" in levels:
        return "ask"
    return "care" if "care" in levels else "train"


def _headline(kept: float, level: Level) -> str:
    if kept < LEAST_MINUTES:
        return (
            f"Ask for {math.ceil(WANTED_MINUTES - kept)} more minutes: {minutes(kept)} are usable"
        )
    if level == "ask":
        return f"Ask for other recordings: {minutes(kept)} are usable, but they will not sound good"
    if level == "care":
        return f"Enough, with care: {minutes(kept)} of usable speech. Read the reasons, then train"
    return f"Enough: {minutes(kept)} of one voice, well recorded. Train it"


def _amount(kept: float) -> str:
    wanted = math.ceil(WANTED_MINUTES - kept)
    if kept < LEAST_MINUTES:
        least = math.ceil(LEAST_MINUTES - kept)
        return (
            f"Ask for {wanted} more minutes of the same speaker, at least {least}: below "
            f"{LEAST_MINUTES:.0f} minutes a voice is guessed rather than learnt."
        )
    return (
        f"If it is easy, ask for {wanted} more: {WANTED_MINUTES:.0f} minutes make a steadier voice."
    )


def _findings(facts: Facts) -> list[Finding | None]:
    return [
        _noise(facts.snr_db),
        _telephone(facts.telephone_share),
        _unlike(facts.unlike_share),
        _speed(facts.speed_ratio),
        *_lost(facts),
        _consent(facts.has_consent),
        _sounds(facts.missing_sounds),
    ]


def _noise(snr_db: float | None) -> Finding | None:
    if snr_db is None or snr_db >= NOISY_SNR_DB:
        return None
    level: Level = "ask" if snr_db < POOR_SNR_DB else "care"
    reason = f"Half of the clips have a signal-to-noise ratio below {snr_db:.0f} dB: it is heard."
    return level, reason, f"{_capital(ADVICE['noise'])}, and closer to the microphone."


def _telephone(share: float | None) -> Finding | None:
    if share is None or share <= TELEPHONE_SHARE:
        return None
    level: Level = "ask" if share > MOSTLY_SHARE else "care"
    reason = f"{share:.0%} of the clips hold nothing above {TELEPHONE_HZ / 1000:.0f} kHz."
    return level, f"{reason} The voice will sound like a telephone.", _advice("bandwidth")


def _unlike(share: float | None) -> Finding | None:
    if share is None or share <= UNLIKE_SHARE:
        return None
    reason = f"{share:.0%} of the clips are little like the rest of the voice."
    return "care", reason, "Listen to the worst clips below: is that the same person?"


def _speed(ratio: float | None) -> Finding | None:
    if ratio is None or ratio <= UNEVEN_SPEED:
        return None
    reason = f"The fastest tenth is read {ratio:.1f} times as fast as the slowest."
    return "care", reason, "Ask for one way of reading, or make a voice of each."


def _lost(facts: Facts) -> list[Finding]:
    if facts.lost_share <= MUCH_LOST_SHARE:
        return []
    kind = max(facts.lost, key=lambda kind: facts.lost[kind])
    share = facts.lost[kind] / sum(facts.lost.values())
    reason = f"{facts.lost_share:.0%} of the minutes were lost, {share:.0%} of them to: {kind}."
    return [("care", reason, _advice(kind))]


def _consent(has_consent: bool) -> Finding | None:
    if has_consent:
        return None
    reason = "No consent is recorded: nothing says that this person agreed to be cloned."
    return "care", reason, "Get the speaker's consent in writing; pass it as --consent FILE."


def _sounds(missing: tuple[str, ...]) -> Finding | None:
    if not missing:
        return None
    shown = ", ".join(missing[:12]) + (", …" if len(missing) > 12 else "")
    request = f"Have words read with these letters, which no text holds: {shown}."
    return "train", f"{len(missing)} letters or spellings occur in no text.", request


def _advice(kind: str) -> str:
    known = ADVICE.get(kind, "look at the rejected clips below")
    return f"{_capital(known)}."


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
