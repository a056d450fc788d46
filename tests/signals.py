"""Constructed sounds whose onset and level are known, shape (samples,), 24 kHz."""

import numpy as np

from orpheus_clone.audio import Waveform
from orpheus_clone.tokens import SAMPLE_RATE


def samples(ms: float) -> int:
    return round(ms * SAMPLE_RATE / 1000)


def tone(ms: float, dbfs: float = -20.0, hertz: float = 200.0) -> Waveform:
    """A sine of the given RMS level."""
    seconds = np.arange(samples(ms)) / SAMPLE_RATE
    peak = 2**0.5 * 10 ** (dbfs / 20)
    return np.asarray(peak * np.sin(2 * np.pi * hertz * seconds), np.float32)


def noise(ms: float, dbfs: float = -60.0, seed: int = 0) -> Waveform:
    """White noise of the given RMS level."""
    white = np.random.default_rng(seed).standard_normal(samples(ms))
    return (white * 10 ** (dbfs / 20)).astype(np.float32)


def zeros(ms: float) -> Waveform:
    return np.zeros(samples(ms), np.float32)


def joined(*parts: Waveform) -> Waveform:
    return np.concatenate(parts)
