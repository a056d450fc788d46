"""Turn the corpus into the tokens that the base model learns: an hour of speech in 590 kB.

    python recipes/nano/tokenise.py SPEECH_DIR CODEC_DIR OUT.npz [--takes N]

Every clip gets what Orpheus's own stock voices have, about 600 ms of quiet room before the first
word, and a tenth of a second after the last, by the same trim that `prepare` uses. How long the
quiet is depends on the clip's name and the take alone. A second take of a clip sounds the same and
has other codes, since its speech lies elsewhere in its frames: what a small model would otherwise
learn by heart becomes more to learn from.

    OUT.npz     codes (frames, 7) uint16 of all clips, their lengths in frames, and their
                voice and text as lines of JSON
"""

import argparse
import json
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import corpus
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from orpheus_clone import audio, tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.codec.snac import Codec
from orpheus_clone.prepare.trim import trim

HEAD_MS = (540, 660)
TAIL_MS = 100


@dataclass(frozen=True)
class Spoken:
    """One clip as the base model sees it."""

    voice: str
    text: str
    codes: NDArray[np.uint16]
    """(frames, 7)."""


def main() -> None:
    """Parse, encode every clip, write one file."""
    parser = argparse.ArgumentParser(description="Encode nano's corpus.")
    parser.add_argument("speech", type=Path)
    parser.add_argument("codec", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--takes", type=int, default=1, help="of every clip, each staged anew")
    args = parser.parse_args()
    codec = Codec(args.codec)
    rows = corpus.rows(args.speech / "clips.jsonl")

    def encode(job: tuple[int, dict[str, str]]) -> Spoken:
        take, row = job
        samples = staged(audio.read(args.speech / row["audio"]), row["audio"], take)
        return Spoken(row["voice"], row["text"], codec.encode(samples).astype(np.uint16))

    jobs = [(take, row) for take in range(args.takes) for row in rows]
    torch.set_num_threads(1)  # a clip is too short to share
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        spoken = list(track(pool.map(encode, jobs), "encoding", total=len(jobs)))
    write(spoken, args.out)
    hours = sum(len(clip.codes) for clip in spoken) * tokens.FRAME_SAMPLES / 24_000 / 3600
    print(f"{len(spoken)} clips, {hours:.2f} hours, {args.out.stat().st_size / 1e6:.1f} MB")


def staged(samples: Waveform, name: str, take: int = 0) -> Waveform:
    """`samples` with the quiet of a stock voice around its speech, in whole frames."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), take])
    return trim(samples, rng.uniform(*HEAD_MS), TAIL_MS).samples


def write(spoken: list[Spoken], out: Path) -> None:
    """All clips in one compressed file."""
    about = "".join(json.dumps([clip.voice, clip.text]) + "\n" for clip in spoken)
    np.savez_compressed(
        out,
        codes=np.concatenate([clip.codes for clip in spoken]),
        frames=np.array([len(clip.codes) for clip in spoken], np.uint16),
        about=np.frombuffer(about.encode(), np.uint8),
    )


def read(path: Path) -> Iterator[Spoken]:
    """The inverse of `write`."""
    with np.load(path) as file:
        codes, frames, about = file["codes"], file["frames"], file["about"]
    start = 0
    for line, count in zip(about.tobytes().decode().splitlines(), frames.tolist(), strict=True):
        voice, text = json.loads(line)
        yield Spoken(voice, text, codes[start : start + count])
        start += count


if __name__ == "__main__":
    main()
