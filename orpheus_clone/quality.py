"""How good a recording is, in numbers that do not depend on any threshold.

    measure        how                                            a good clip    a bad one
    snr_db         loud windows over the quietest tenth           30 .. 60       below 12
    clipped        samples that pile up below a ceiling           0              over 0.002
    bandwidth_hz   where the spectrum falls by a cliff            12 000, 8 000  4 000
    hum_db         lines at 50 or 60 Hz over their neighbours     3 .. 7         over 15
    dc             mean                                           0              over 0.01
    zeros          runs of exact zeros                            0              over 0.1
    music          notes that are held, as no voice holds them    0 .. 0.1       over 0.25
    reverberation  how long the quickest sounds take to die away  0.07 .. 0.15   over 0.3
    lufs           ITU-R BS.1770-4                                -30 .. -16     -inf is silence
    mos            DNSMOS, 1 to 5                                 2.8 .. 3.5     below 2

Whatever fills the pauses lengthens the decay: noise at 12 dB reads 0.3, as a room with an echo of
0.6 s does; and a strong echo holds notes: 0.2 to 0.4 on the scale of music.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from orpheus_clone import dnsmos, silence
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import AudioError
from orpheus_clone.tokens import SAMPLE_RATE

Spectrum = NDArray[np.float64]

_ZERO_RUN = 120
"""5 ms: shorter runs of zeros happen in quiet 16-bit recordings."""
_MUTED_DBFS = -100.0
"""Below the dither of 16 bits: muted or gated, which says nothing about the room."""


class Mos(Protocol):
    """A judge that predicts how listeners would rate a recording, 1 to 5."""

    digest: str

    def __call__(self, samples: Waveform) -> float:
        """(samples,) at 24 kHz to DNSMOS's overall score."""
        ...


@dataclass(frozen=True)
class Quality:
    """Of one clip, measured on all of it, before trimming."""

    snr_db: float
    """Speech over the noise between the words; 0 where nothing stands out."""
    clipped: float
    """Share of the samples that lie in flattened peaks."""
    bandwidth_hz: float
    """Where the spectrum ends: 4 kHz for telephone audio, whatever its sample rate."""
    hum_db: float
    """Mains hum and its harmonics over the room tone around them."""
    dc: float
    """Mean over full scale."""
    zeros: float
    """Share of the samples in runs of exact zeros of 5 ms and more."""
    music: float
    """Share of the time in which a note is held."""
    reverberation_s: float
    """Seconds in which the quickest sounds would die away by 60 dB."""
    lufs: float
    """Integrated loudness, ITU-R BS.1770-4; -inf where all is below -70."""
    mos: float | None
    """None where DNSMOS is not here."""


def measure(samples: Waveform, mos: Mos | None = None) -> Quality:
    """All measures of (samples,) at 24 kHz; AudioError where there are none."""
    if not len(samples):
        raise AudioError("a clip without samples cannot be measured")
    return Quality(
        snr_db=snr_db(samples),
        clipped=clipped(samples),
        bandwidth_hz=bandwidth_hz(samples),
        hum_db=hum_db(samples),
        dc=float(samples.mean(dtype=np.float64)),
        zeros=zero_samples(samples) / len(samples),
        music=music(samples),
        reverberation_s=reverberation_s(samples),
        lufs=lufs(samples),
        mos=None if mos is None else mos(samples),
    )


def zero_samples(samples: Waveform) -> int:
    """How many samples lie in runs of at least 5 ms of exact zeros."""
    is_zero = np.concatenate([[False], samples == 0, [False]]).astype(np.int8)
    runs = np.flatnonzero(np.diff(is_zero)).reshape(-1, 2)
    lengths = runs[:, 1] - runs[:, 0]
    return int(lengths[lengths >= _ZERO_RUN].sum())


def snr_db(samples: Waveform) -> float:
    """Power of the speech over that of the noise.

    The noise is the 10th percentile of the 10 ms levels, muted ones left out; the speech is the
    mean power of what lies at most 20 dB below the loud ones, less the noise. On known mixes this
    errs by 0 to 2 dB from 5 to 40 dB; WADA-SNR (Kim & Stern 2008) by 3 and, of clean speech, by 10.
    """
    db = silence.levels_dbfs(samples, SAMPLE_RATE)
    db = db[db > _MUTED_DBFS]
    if not len(db):
        return 0.0
    power = 10 ** (db / 10)
    noise = 10 ** (np.percentile(db, 10) / 10)
    speech = power[db > np.percentile(db, 95) - silence.CORE_BELOW_LOUD_DB].mean() - noise
    return float(10 * np.log10(max(speech, noise) / noise))


def clipped(samples: Waveform) -> float:
    """Share of the samples in flattened peaks, at whatever level the flat tops are.

    Two signs must agree, of which the lesser counts. Amplitudes of speech get rarer the higher
    they are, and what was cut off piles up at the ceiling, on each side its own: resampling and
    codecs smear the pile but leave it standing. A single steady vowel piles up too, so tops are
    also looked at one by one.
    """
    piled = _piled(samples) + _piled(-samples)
    return min(piled, _in_flat_tops(samples) if piled else 0.0) / len(samples)


def _piled(samples: Waveform, bins: int = 50) -> float:
    """Samples of the upper half of the positive range that are more than those further down."""
    peak = float(samples.max())
    if peak <= 0:
        return 0.0
    counts, _ = np.histogram(samples, bins, (0.0, peak))
    below = np.lib.stride_tricks.sliding_window_view(counts, 7)[bins // 2 - 10 : -4].min(axis=1)
    excess = counts[bins // 2 :] - below
    # Four standard deviations of a count: a few samples more are chance.
    return float(excess[excess > 4 * np.sqrt(below + 1)].sum())


def _in_flat_tops(samples: Waveform) -> float:
    """Samples within 5 % of the top of a swing (from zero to zero) that is flat.

    Flat: they are over 0.6 of those above 70 % of the top; of a sine they are 0.4.
    """
    x = samples - samples.mean()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(np.signbit(x))) + 1])
    heights = np.abs(x)
    tops = np.maximum.reduceat(heights, starts)
    relative = heights / np.maximum(np.repeat(tops, np.diff([*starts, len(x)])), 1e-9)
    at_top = np.add.reduceat((relative >= 0.95).astype(int), starts)
    above = np.add.reduceat((relative >= 0.7).astype(int), starts)
    # Of a swing shorter than six samples nobody can say what shape it has.
    is_flat = (tops > 0.3 * tops.max()) & (above >= 6) & (at_top > 0.6 * above)
    return float(at_top[is_flat].sum())


def bandwidth_hz(samples: Waveform) -> float:
    """Where the spectrum of the loud parts falls off a cliff for good; 12 kHz where it does not.

    At the cliff the half kilohertz below it is over everything above it. A band limit makes one of
    20 to 60 dB, even under dither; speech by itself falls by less than 10 dB so suddenly. Noise
    that fills the band hides its end, and linear interpolation leaves none.
    """
    window, band_hz, edge_hz, lowest_hz, cliff_db = 512, 500.0, 150.0, 2000.0, 12.0
    bin_hz = SAMPLE_RATE / window
    power = np.percentile(_spectra(samples, window, window // 2), 95, axis=0)
    db = 10 * np.log10(np.convolve(np.pad(power, 1, "edge"), np.ones(3) / 3, "valid") + 1e-15)
    highest_above = np.maximum.accumulate(db[::-1])[::-1]
    band, edge = round(band_hz / bin_hz), round(edge_hz / bin_hz)
    at = np.arange(round(lowest_hz / bin_hz), len(db) - edge)
    below = np.median(np.lib.stride_tricks.sliding_window_view(db, band)[at - band], axis=1)
    falls = below - highest_above[at + edge]
    return float(at[falls.argmax()] * bin_hz if falls.max() >= cliff_db else SAMPLE_RATE / 2)


def hum_db(samples: Waveform, harmonics: int = 8) -> float:
    """The three strongest of the lines at multiples of 50 or of 60 Hz, over what is around them.

    Taken of the quietest tenth of each frequency's levels, so in pauses where there are some, and
    against at least -90 dBFS, below which nobody hears it. Without hum it is about 5 dB.
    """
    window = 8192
    power = np.percentile(_spectra(samples, window, window // 4), 10, axis=0) + 10**-9.0
    bin_hz = SAMPLE_RATE / window

    def over_neighbours(hertz: float) -> float:
        i = round(hertz / bin_hz)
        around = np.concatenate([power[i - 8 : i - 3], power[i + 4 : i + 9]])
        return float(10 * np.log10(power[i - 1 : i + 2].max() / np.median(around)))

    lines = [[over_neighbours(mains * (k + 1)) for k in range(harmonics)] for mains in (50, 60)]
    return max(float(np.mean(sorted(heights)[-3:])) for heights in lines)


def music(samples: Waveform) -> float:
    """Share of the time in which a note between 400 Hz and 5 kHz is held for 0.3 s.

    A note is a line 12 dB over the mean level around it, in the same 6 Hz in six spectra 43 ms
    apart. The harmonics of a voice glide out of so narrow a place, noise makes no lines, and hum
    lies below. Lines under -95 dBFS do not count. A clip shorter than 2 s counts as 2 s, or one
    steady vowel would be most of it.
    """
    window, hop, held, over_db, side, middle = 4096, 1024, 6, 12.0, 12, 2
    least = 2 * SAMPLE_RATE // hop
    db = 10 * np.log10(_spectra(samples, window, hop) + 10**-9.5)
    if len(db) < held:
        return 0.0
    at = np.arange(round(400 / SAMPLE_RATE * window), round(5000 / SAMPLE_RATE * window))
    sums = np.cumsum(np.pad(db, ((0, 0), (1, 0))), axis=1)
    near = sums[:, at + side + 1] - sums[:, at - side]
    near -= sums[:, at + middle + 1] - sums[:, at - middle]
    heights = db[:, at] - near / (2 * (side - middle))
    lasting = np.lib.stride_tricks.sliding_window_view(heights, held, axis=0).min(axis=-1)
    return float((lasting.max(axis=1) > over_db).sum() / max(len(lasting), least))


def reverberation_s(samples: Waveform) -> float:
    """Seconds to die away by 60 dB, from the quickest falls after loud sounds.

    Speech has stops, after which it falls by 30 dB in 60 ms; a room does not let it. (A letter or
    a word of one vowel has none: under a second, 0.3 means little.) Of the levels
    of three bands, 5 ms apart: the fall within 60 ms that only 3 % of the loud moments exceed.
    """
    window, fall, loud_db, least_db = 480, 12, 15.0, 0.1
    power = _spectra(samples, window, window // 4)
    falls = []
    for low_hz, high_hz in ((400, 1000), (1000, 2000), (2000, 4000)):
        band = slice(low_hz * window // SAMPLE_RATE, high_hz * window // SAMPLE_RATE)
        db = 10 * np.log10(power[:, band].sum(axis=1) + 1e-12)
        if len(db) <= fall:
            return 0.0
        is_loud = db[:-fall] > np.percentile(db, 95) - loud_db
        dropped = (db[:-fall] - db[fall:])[is_loud]
        falls.append(np.percentile(dropped, 97) if len(dropped) else 0.0)
    fall_s = fall * window / 4 / SAMPLE_RATE
    return float(60.0 * fall_s / max(float(np.mean(falls)), least_db))


def lufs(samples: Waveform) -> float:
    """Integrated loudness, by pyloudnorm (MIT).

    A clip shorter than the 400 ms that are measured at once is repeated to fill them: its loudness
    without a gate.
    """
    import pyloudnorm

    meter = pyloudnorm.Meter(SAMPLE_RATE)
    shortest = round(0.4 * SAMPLE_RATE)
    x = samples if len(samples) >= shortest else np.resize(samples, shortest)
    return float(meter.integrated_loudness(x.astype(np.float64)))


def load_mos() -> Mos:
    """DNSMOS; MachineError, with what to install, where it is not here."""
    return dnsmos.load()


def _spectra(samples: Waveform, window: int, hop: int) -> Spectrum:
    """(frames, bins): power, scaled so that a sine shows its own mean square."""
    x = samples if len(samples) >= window else np.pad(samples, (0, window - len(samples)))
    hann = np.hanning(window)
    frames = np.lib.stride_tricks.sliding_window_view(x, window)[::hop] * hann
    return np.asarray(np.abs(np.fft.rfft(frames, axis=1)) ** 2 * 2 / hann.sum() ** 2)
