"""Who speaks: a unit vector for a stretch of speech, near another's where the speaker is the same.

ECAPA-TDNN (Desplanques et al. 2020, arXiv:2005.07143) with the weights of
speechbrain/spkrec-ecapa-voxceleb (Apache-2.0).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orpheus_clone.audio import Waveform

Embedding = NDArray[np.float32]


class SpeakerModel:
    """`digest` names the model; `embed` is safe to call from several threads."""

    digest: str

    def embed(self, samples: Waveform) -> Embedding:
        """(samples,) at 24 kHz to a unit vector (192,)."""
        raise NotImplementedError


def load(path: Path | None = None, *, device: str | None = None) -> SpeakerModel:
    """From `path` (embedding_model.ckpt or its folder), else the hub; MachineError otherwise."""
    raise NotImplementedError
