"""How good a recording is, in numbers that do not depend on any threshold."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from orpheus_clone.audio import Waveform


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
    music: float | None
    """Whatever light measure of music or a steady background under the speech holds up, 0 to 1."""
    reverberation: float | None
    """Likewise, for an echoing room."""
    lufs: float
    """Integrated loudness, ITU-R BS.1770-4."""
    mos: float | None
    """None where DNSMOS is not here."""


_ZERO_RUN = 120
"""5 ms: shorter runs of zeros happen in quiet 16-bit recordings."""


def zero_samples(samples: Waveform) -> int:
    """How many samples lie in runs of at least 5 ms of exact zeros."""
    is_zero = np.concatenate([[False], samples == 0, [False]]).astype(np.int8)
    runs = np.flatnonzero(np.diff(is_zero)).reshape(-1, 2)
    lengths = runs[:, 1] - runs[:, 0]
    return int(lengths[lengths >= _ZERO_RUN].sum())


def measure(samples: Waveform, mos: Mos | None = None) -> Quality:
    """All measures of (samples,) at 24 kHz."""
    raise NotImplementedError


def load_mos() -> Mos:
    """DNSMOS (Reddy et al. 2021, MIT); MachineError, with what to install, where it is not here."""
    raise NotImplementedError
