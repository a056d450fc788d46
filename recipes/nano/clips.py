"""Speech to train the codec on: files read once, crops drawn at random and changed a little.

A crop is changed before it is learnt from: resampled by up to 15 % (another pitch and another
vocal tract, so a few speakers stand for many) and set to a loudness between -28 and -15 dBFS RMS.

    python recipes/nano/clips.py FOLDER…    lists what is read, as `heard.txt` and `unheard.txt` do
"""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from orpheus_clone import audio, tokens

SUFFIXES = {".ogg", ".opus", ".flac", ".wav"}
STRETCH = 1.15
LOUDNESS_DB = (-28.0, -15.0)
QUIETEST_RMS = 1e-4


def find(folders: Sequence[Path]) -> list[Path]:
    """Every recording below `folders`, in an order that does not depend on the file system."""
    paths = [p for folder in folders for p in folder.rglob("*") if p.suffix in SUFFIXES]
    return sorted(paths, key=lambda path: (path.parent.name, path.name))


def is_held_out(path: Path) -> bool:
    """Whether it is kept for measuring: a tenth of the real speakers, a fiftieth of other clips.

    LibriSpeech's names hold the speaker (`librispeech_PART__SPEAKER__UTTERANCE`), who is kept
    whole. The voices of Kokoro, one a folder, are all trained on, less some of their clips. Both
    go by a hash of the name.
    """
    parts = path.stem.split("__")
    name, share = (path.parent.name + path.stem, 0.02) if len(parts) < 2 else (parts[1], 0.12)
    return hashlib.sha256(name.encode()).digest()[0] < 256 * share


def read(paths: Sequence[Path]) -> list[NDArray[np.int16]]:
    """Every file as (samples,) int16 at 24 kHz mono: two bytes a sample, hours fit in memory."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_read_one, paths))


def listed(paths: Sequence[Path], speech: Sequence[NDArray[np.int16]]) -> str:
    """A line a recording: SHA-256 of its samples, seconds, folder and file."""
    lines = [
        f"{hashlib.sha256(clip.tobytes()).hexdigest()} {len(clip) / tokens.SAMPLE_RATE:.2f} "
        f"{path.parent.name}/{path.name}\n"
        for path, clip in zip(paths, speech, strict=True)
    ]
    return "".join(lines)


def crops(
    speech: Sequence[NDArray[np.int16]], frames: int, batch: int, seed: int
) -> Iterator[torch.Tensor]:
    """Endless batches (batch, 1, frames * 2048) float32, every second of speech equally likely."""
    rng = np.random.default_rng(seed)
    length = frames * tokens.FRAME_SAMPLES
    long_enough = [clip for clip in speech if len(clip) > length * STRETCH + 1]
    weights = np.array([len(clip) for clip in long_enough], float)
    weights /= weights.sum()
    while True:
        chosen = rng.choice(len(long_enough), batch, p=weights)
        yield torch.stack([_crop(long_enough[i], length, rng) for i in chosen])[:, None]


def _crop(clip: NDArray[np.int16], length: int, rng: np.random.Generator) -> torch.Tensor:
    stretch = STRETCH ** rng.uniform(-1, 1) if rng.random() < 0.5 else 1.0
    taken = round(length * stretch)
    start = int(rng.integers(0, len(clip) - taken))
    samples = torch.from_numpy(clip[start : start + taken].astype(np.float32) / 32_768)
    if taken != length:
        samples = torch.nn.functional.interpolate(
            samples[None, None], size=length, mode="linear", align_corners=True
        )[0, 0]
    rms = float(samples.square().mean().sqrt())
    wanted = 10 ** (rng.uniform(*LOUDNESS_DB) / 20)
    # Silence stays silence: it must have a code of its own, and is not to be blown up to noise.
    gain = wanted / max(rms, QUIETEST_RMS) if rms > QUIETEST_RMS else 1.0
    return (samples * min(gain, 0.95 / max(float(samples.abs().max()), 1e-6))).contiguous()


def _read_one(path: Path) -> NDArray[np.int16]:
    samples = audio.read(path)
    return np.clip(np.round(samples * 32_767), -32_768, 32_767).astype(np.int16)


if __name__ == "__main__":
    found = find([Path(folder) for folder in sys.argv[1:]])
    print(listed(found, read(found)), end="")
