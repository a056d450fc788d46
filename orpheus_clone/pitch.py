"""How high a voice is: the median fundamental of a clip's middle.

yin (de Cheveigné and Kawahara 2002, in librosa) says something of every window, voiced or not; so
only the windows are taken that are nearly as loud as the loudest, which are vowels.
"""

import numpy as np

from orpheus_clone.audio import Waveform
from orpheus_clone.tokens import SAMPLE_RATE

MEASURED_S = 3.0
LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
"""From a deep man to a child."""
_WINDOW = 2048
_HOP = 512
_VOICED_BELOW_LOUD_DB = 12.0
_SILENT_RMS = 10 ** (-50 / 20)
_FEWEST_WINDOWS = 5


def pitch_hz(samples: Waveform) -> float | None:
    """Median over the voiced windows of (samples,) at 24 kHz; None where there are too few.

    What sits at an end of the range is no pitch: yin says so where it finds none.
    """
    import librosa

    longest = round(MEASURED_S * SAMPLE_RATE)
    start = max(0, (len(samples) - longest) // 2)
    middle = samples[start : start + longest]
    if len(middle) < 2 * _WINDOW:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(middle, _WINDOW)[::_HOP]
    rms = np.sqrt((windows.astype(np.float64) ** 2).mean(axis=1))
    loud = float(np.percentile(rms, 95))
    if loud < _SILENT_RMS:
        return None
    hertz = librosa.yin(
        middle.astype(np.float64),
        fmin=LOWEST_HZ,
        fmax=HIGHEST_HZ,
        sr=SAMPLE_RATE,
        frame_length=_WINDOW,
        hop_length=_HOP,
        center=False,
    )[: len(rms)]
    is_voiced = rms[: len(hertz)] > loud * 10 ** (-_VOICED_BELOW_LOUD_DB / 20)
    is_inside = (hertz > LOWEST_HZ * 1.05) & (hertz < HIGHEST_HZ * 0.95)
    voiced = hertz[is_voiced & is_inside]
    return round(float(np.median(voiced)), 1) if len(voiced) >= _FEWEST_WINDOWS else None
