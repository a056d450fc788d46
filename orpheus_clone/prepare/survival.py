"""Whether a voice survives the codec: some clips, decoded from their codes, beside themselves.

A model can sound no more like the speaker than the codes it learns from do.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orpheus_clone import audio, tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.codec.snac import Codec
from orpheus_clone.prepare.memory import Memory, key_of
from orpheus_clone.speaker import SpeakerModel
from orpheus_clone.tokens import Codes

SAMPLE = 8
"""Clips that are decoded."""
LEAST_SIMILARITY = 0.45
"""Of a clip to itself, decoded. Another speaker has about 0.1, another take of the same 0.7."""
_FLOOR_DB = -60.0


@dataclass(frozen=True)
class Survival:
    """How much is lost between a clip and what its codes decode to; means over `clips` clips."""

    clips: int
    mel_distance_db: float
    """Mean absolute difference of 80 mel bands, each in dB, floored 60 dB below the loudest."""
    similarity: float | None
    """Of the voice before to the voice after; None without a speaker model."""

    def warning(self) -> str | None:
        """What to tell a person, if the voice does not survive."""
        if self.similarity is None or self.similarity >= LEAST_SIMILARITY:
            return None
        return (
            f"the voice does not survive the codec: decoded from its own codes it is at "
            f"{self.similarity:.2f} of itself (wanted: {LEAST_SIMILARITY}); no training mends that"
        )


def survival(
    clips: Sequence[tuple[str, Path, Codes]],
    codec_digest: str,
    open_codec: Callable[[], Codec],
    model: SpeakerModel | None,
    memory: Memory,
) -> Survival:
    """Of the `SAMPLE` clips (key, file, codes) with the lowest keys."""
    chosen = sorted(clips, key=lambda clip: clip[0])[:SAMPLE]
    key = key_of([name for name, _, _ in chosen], codec_digest, model.digest if model else None)
    kept = memory.recall("survival", key)
    if kept is None:
        kept = asdict(_measure(chosen, open_codec(), model))
        memory.keep("survival", key, kept)
    return Survival(**kept)


def _measure(
    chosen: Sequence[tuple[str, Path, Codes]], codec: Codec, model: SpeakerModel | None
) -> Survival:
    distances, similarities = [], []
    for _, path, codes in chosen:
        before, after = audio.read(path), codec.decode(codes)
        distances.append(mel_distance_db(before, after))
        if model is not None:
            similarities.append(float(model.embed(before) @ model.embed(after)))
    return Survival(
        len(chosen),
        round(float(np.mean(distances)), 2),
        round(float(np.mean(similarities)), 3) if similarities else None,
    )


def mel_distance_db(one: Waveform, other: Waveform) -> float:
    """Mean absolute difference of two waveforms' mel spectra in dB; 0 for equal ones."""
    first, second = _mel_db(one), _mel_db(other)
    frames = min(first.shape[1], second.shape[1])
    return float(np.abs(first[:, :frames] - second[:, :frames]).mean())


def _mel_db(samples: Waveform) -> NDArray[np.float64]:
    import librosa

    power = librosa.feature.melspectrogram(y=samples, sr=tokens.SAMPLE_RATE, n_mels=80)
    relative = 10 * np.log10(np.maximum(power / max(float(power.max()), 1e-10), 1e-10))
    floored: NDArray[np.float64] = np.maximum(relative, _FLOOR_DB)
    return floored
