"""What goes wrong with recordings, done to clean ones by amounts that are drawn.

Each takes 24 kHz speech of shape (samples,) and a generator, and gives what a customer would have
sent, (samples,) or (samples, 2), with the amounts. Levels are against the speech itself: the
power of its windows within 20 dB of the loudest, so that pauses do not count.
"""

from dataclasses import dataclass, field

import numpy as np
import soxr
from numpy.random import Generator
from numpy.typing import NDArray

from orpheus_clone import silence
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import NoSpeechError
from orpheus_clone.tokens import SAMPLE_RATE

SPEECH_BELOW_LOUD_DB = 20.0
PEAK = 0.95
TELEPHONE_HZ = 8_000
SILENCE_S = (1.0, 6.0)
"""How long a recording in which nobody speaks is."""


@dataclass(frozen=True)
class Damaged:
    """A recording, and how much of what was done to it."""

    samples: NDArray[np.float32]
    amounts: dict[str, float] = field(default_factory=dict)


def speech_dbfs(speech: Waveform) -> float:
    """The level of the speech without its pauses."""
    db = silence.levels_dbfs(speech, SAMPLE_RATE)
    loud = db[db >= np.percentile(db, 95) - SPEECH_BELOW_LOUD_DB]
    return float(10 * np.log10(np.mean(10 ** (loud / 10))))


def at_dbfs(sound: Waveform, dbfs: float) -> Waveform:
    """`sound` with that RMS level."""
    rms = float(np.sqrt(np.mean(sound.astype(np.float64) ** 2)))
    return np.asarray(sound * (10 ** (dbfs / 20) / rms), np.float32)


def within_scale(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turned down as a whole where it would clip."""
    peak = float(np.abs(sound).max(initial=0.0))
    return sound if peak <= PEAK else np.asarray(sound * (PEAK / peak), np.float32)


def white_noise(speech: Waveform, rng: Generator) -> Damaged:
    """White noise, 0 to 10 dB under the speech."""
    return _under(speech, rng.standard_normal(len(speech)).astype(np.float32), rng)


def fan_noise(speech: Waveform, rng: Generator) -> Damaged:
    """A fan, 0 to 10 dB under the speech: air, and the hum of its blades."""
    blades_hz = rng.uniform(70, 190)
    seconds = np.arange(len(speech)) / SAMPLE_RATE
    tones = sum(
        np.sin(2 * np.pi * blades_hz * k * seconds + rng.uniform(0, 6)) / k**1.5 for k in (1, 2, 3)
    )
    air = coloured(len(speech), rng.uniform(0.6, 1.0), rng)
    mixed = at_dbfs(air, 0) + at_dbfs(np.asarray(tones, np.float32), rng.uniform(-12, -4))
    return _under(speech, mixed, rng)


def music(speech: Waveform, rng: Generator) -> Damaged:
    """Chords, a bass and drums, 0 to 10 dB under the speech."""
    return _under(speech, band(len(speech), rng), rng)


def telephone(speech: Waveform, rng: Generator) -> Damaged:
    """Through 8 kHz and back; half of them through a telephone's band and 8-bit mu-law too."""
    low = soxr.resample(speech, SAMPLE_RATE, TELEPHONE_HZ)
    is_call = bool(rng.integers(2))
    if is_call:
        spectrum = np.fft.rfft(low)
        hertz = np.fft.rfftfreq(len(low), 1 / TELEPHONE_HZ)
        spectrum[(hertz < 300) | (hertz > 3400)] = 0
        low = _mu_law(within_scale(np.fft.irfft(spectrum, len(low)).astype(np.float32)))
    back = np.asarray(soxr.resample(low, TELEPHONE_HZ, SAMPLE_RATE), np.float32)
    return Damaged(within_scale(_as_long(back, len(speech))), {"is_call": float(is_call)})


def clipped(speech: Waveform, rng: Generator) -> Damaged:
    """0.5 to 5 % of the samples cut off flat, then turned down, as a careless export is."""
    share, gain = rng.uniform(0.005, 0.05), rng.uniform(0.3, 0.8)
    limit = float(np.quantile(np.abs(speech), 1 - share))
    cut = np.clip(speech, -limit, limit) / limit * gain
    return Damaged(np.asarray(cut, np.float32), {"share": share, "gain": gain})


def opposite_polarity(speech: Waveform, rng: Generator) -> Damaged:
    """The same speech in both channels, one of them upside down: their mean is silence."""
    hiss = coloured(len(speech), 0.3, rng)
    right = at_dbfs(hiss, -75) - speech
    return Damaged(within_scale(np.stack([speech, right], axis=1)))


def one_channel(speech: Waveform, rng: Generator) -> Damaged:
    """Speech on one channel; on the other hiss, or nothing at all."""
    is_dead = bool(rng.integers(2))
    other = at_dbfs(coloured(len(speech), 0.3, rng), -62) * (not is_dead)
    pair = [speech, np.asarray(other, np.float32)]
    if rng.integers(2):
        pair.reverse()
    return Damaged(within_scale(np.stack(pair, axis=1)), {"is_dead": float(is_dead)})


def head_600ms(speech: Waveform, rng: Generator) -> Damaged:
    """600 ms of room before the first word."""
    return _head(speech, 600.0, rng)


def head_3s(speech: Waveform, rng: Generator) -> Damaged:
    """3 s of room before the first word."""
    return _head(speech, 3000.0, rng)


def only_silence(_speech: Waveform, rng: Generator) -> Damaged:
    """A room in which nobody speaks; a third of them digital silence."""
    samples = round(rng.uniform(*SILENCE_S) * SAMPLE_RATE)
    is_dead = rng.uniform() < 1 / 3
    room = at_dbfs(coloured(samples, rng.uniform(0.3, 1.0), rng), rng.uniform(-70, -52))
    return Damaged(np.asarray(room * (not is_dead), np.float32), {"is_dead": float(is_dead)})


def gated(speech: Waveform, rng: Generator) -> Damaged:
    """Exact zeros wherever the speech is soft, and two to four holes of them of 120 to 350 ms."""
    db = silence.levels_dbfs(speech, SAMPLE_RATE)
    hop = round(SAMPLE_RATE * silence.HOP_MS / 1000)
    is_soft = np.repeat(db < np.percentile(db, 95) - 30, hop)
    held = speech.copy()
    held[: len(is_soft)][is_soft[: len(held)]] = 0
    inside = np.sort(np.argsort(db[len(db) // 8 : -len(db) // 8])[:60]) + len(db) // 8
    holes = np.sort(rng.choice(inside, size=int(rng.integers(2, 5)), replace=False))
    lengths = [round(rng.uniform(0.12, 0.35) * SAMPLE_RATE) for _ in holes]
    parts, at = [], 0
    for hole, length in zip(holes * hop, lengths, strict=True):
        parts += [held[at:hole], np.zeros(length, np.float32)]
        at = hole
    whole = np.concatenate([*parts, held[at:]])
    return Damaged(whole, {"zeros": round(float(np.mean(whole == 0)), 3)})


def dc_offset(speech: Waveform, rng: Generator) -> Damaged:
    """The whole wave beside zero, by 2 to 10 % of full scale."""
    offset = float(rng.uniform(0.02, 0.1) * rng.choice([-1, 1]))
    return Damaged(np.asarray(speech * 0.85 + offset, np.float32), {"offset": offset})


def hum(speech: Waveform, rng: Generator) -> Damaged:
    """Mains of 50 or 60 Hz with harmonics, 25 to 35 dB under the speech."""
    mains_hz = float(rng.choice([50, 60]))
    seconds = np.arange(len(speech)) / SAMPLE_RATE
    tones = sum(
        np.sin(2 * np.pi * mains_hz * k * seconds + rng.uniform(0, 6)) / k for k in range(1, 7)
    )
    below = rng.uniform(25, 35)
    mixed = speech + at_dbfs(np.asarray(tones, np.float32), speech_dbfs(speech) - below)
    return Damaged(within_scale(mixed), {"mains_hz": mains_hz, "below_db": below})


def overlapped(speech: Waveform, other: Waveform, rng: Generator) -> Damaged:
    """Somebody else speaks over its last 60 % at least, 0 to 6 dB softer."""
    below = rng.uniform(0, 6)
    other = at_dbfs(other, -30)
    other = other * 10 ** ((speech_dbfs(speech) - below - speech_dbfs(other)) / 20)
    start = round(rng.uniform(0, 0.4) * len(speech))
    mixed = speech.copy()
    mixed[start:] += np.resize(other, len(speech) - start)  # over and over where it is short
    return Damaged(within_scale(mixed), {"below_db": below})


def joined(speech: Waveform, other: Waveform, rng: Generator) -> Damaged:
    """First one, then the other, at one level, after a pause of a fifth of a second or so."""
    level = speech_dbfs(speech)
    other = np.asarray(other * 10 ** ((level - speech_dbfs(other)) / 20), np.float32)
    pause = at_dbfs(coloured(round(rng.uniform(0.1, 0.4) * SAMPLE_RATE), 0.5, rng), -65)
    return Damaged(within_scale(np.concatenate([speech, pause, other])))


def coloured(samples: int, slope: float, rng: Generator) -> Waveform:
    """Noise whose amplitude falls as 1 / hertz**slope above 60 Hz; RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    shaped = np.fft.irfft(spectrum / np.maximum(hertz, 60.0) ** slope, samples)
    return np.asarray(shaped / np.sqrt(np.mean(shaped**2)), np.float32)


def band(samples: int, rng: Generator) -> Waveform:
    """A band plays: plucked chords over a bass, with drums, in a drawn key and tempo."""
    beat = 60 / rng.uniform(80, 140)
    root = rng.uniform(40, 52)  # as MIDI notes
    progression = rng.permutation([0, 5, 7, 9])
    sound = np.zeros(samples + SAMPLE_RATE)
    for n, at in enumerate(np.arange(0, samples / SAMPLE_RATE, beat)):
        start = round(at * SAMPLE_RATE)
        chord = root + progression[n // 4 % 4]
        third = 3 if progression[n // 4 % 4] == 9 else 4
        notes = [chord, *(chord + 12 + np.array([0, third, 7, 12]))]
        for midi in notes:
            _add(sound, start, _pluck(440 * 2 ** ((midi - 69) / 12), 2 * beat))
        _add(sound, start, _drum(n % 2 == 1, rng))
    return np.asarray(sound[:samples], np.float32)


def _pluck(hertz: float, seconds: float) -> NDArray[np.float64]:
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    partials = [np.sin(2 * np.pi * hertz * k * t) * np.exp(-3 * k * t) / k for k in range(1, 6)]
    return np.asarray(np.sum(partials, axis=0) * np.minimum(t / 0.005, 1))


def _drum(is_snare: bool, rng: Generator) -> NDArray[np.float64]:
    t = np.arange(round(0.18 * SAMPLE_RATE)) / SAMPLE_RATE
    if is_snare:
        return np.asarray(0.7 * rng.standard_normal(len(t)) * np.exp(-30 * t))
    return np.asarray(2.0 * np.sin(2 * np.pi * (55 + 60 * np.exp(-30 * t)) * t) * np.exp(-18 * t))


def _add(sound: NDArray[np.float64], start: int, what: NDArray[np.float64]) -> None:
    room = len(sound) - start
    sound[start : start + len(what)] += what[:room]


def _under(speech: Waveform, sound: Waveform, rng: Generator) -> Damaged:
    snr_db = rng.uniform(0, 10)
    mixed = speech + at_dbfs(sound, speech_dbfs(speech) - snr_db)
    return Damaged(within_scale(mixed), {"snr_db": snr_db})


def _head(speech: Waveform, head_ms: float, rng: Generator) -> Damaged:
    try:
        there_ms = silence.speech_span(speech, SAMPLE_RATE).head_ms
    except NoSpeechError:
        there_ms = 0.0
    samples = max(1, round((head_ms - there_ms) * SAMPLE_RATE / 1000))
    room = at_dbfs(coloured(samples, 0.5, rng), rng.uniform(-70, -60))
    return Damaged(np.concatenate([room, speech]), {"head_ms": head_ms})


def _mu_law(samples: Waveform) -> Waveform:
    """G.711's quantisation, 8 bits: mu = 255."""
    folded = np.sign(samples) * np.log1p(255 * np.abs(samples)) / np.log(256)
    steps = np.round(folded * 127) / 127
    return np.asarray(np.sign(steps) * np.expm1(np.abs(steps) * np.log(256)) / 255, np.float32)


def _as_long(samples: Waveform, length: int) -> Waveform:
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
