"""Turn the corpus into the tokens that the base model learns: an hour of speech in 590 kB.

    python recipes/nano/tokenise.py SPEECH_DIR CODEC_DIR OUT.npz [--recombined N]
        [--units N --chosen UNITS.npz]

Beside the clips as they were said it makes rows of their pieces (pieces.py). Every row gets what
Orpheus's own stock voices have, about 600 ms of quiet room before the first word (seven frames),
and a tenth of a second after the last.

    OUT.npz     codes (frames, 7) uint16 of all rows, their lengths in frames, the sample that each
                word begins at, and voice and text as lines of JSON
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import corpus
import fast
import numpy as np
import pieces
import sentences
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import load_file
from snac import SNAC

from orpheus_clone import tokens
from orpheus_clone.audio import Waveform

HEAD_FRAMES = 7
QUIET = ""
TAIL_SAMPLES = 1680
"""70 ms; pieces end 30 ms after their last sound."""
MOST_WORDS = 9


@dataclass(frozen=True)
class Spoken:
    """One row as the base model sees it."""

    voice: str
    text: str
    codes: NDArray[np.uint16]
    """(frames, 7)."""
    starts: NDArray[np.uint32]
    """The sample that each word of `text` begins at."""


def main() -> None:
    """Parse, encode every row, write one file."""
    parser = argparse.ArgumentParser(description="Encode nano's corpus.")
    parser.add_argument("speech", type=Path)
    parser.add_argument("codec", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--no-clips", action="store_true", help="leave whole clips out")
    parser.add_argument("--recombined", type=int, default=0, help="rows of clips' pieces")
    parser.add_argument("--units", type=int, default=0, help="lines of single words' codes")
    parser.add_argument("--chosen", type=Path, help="those words, as choose_units.py wrote them")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.units and args.chosen is None:
        parser.error("--units needs --chosen")
    torch.set_num_threads(1)
    encoder = Encoder(args.codec)
    clips = pieces.read(args.speech, corpus.rows(args.speech / "clips.jsonl"))
    rows = [] if args.no_clips else [pieces.whole(clip) for clip in clips]
    rows += pieces.draw(clips, args.recombined, MOST_WORDS, args.seed)
    spoken = []
    for row in track(rows, "encoding"):
        samples, starts = staged(row)
        spoken.append(Spoken(row.voice, row.text, encoder(samples), starts))
    if args.units:
        units = {(row.voice, row.text): row.codes for row in read(args.chosen)}
        spoken += unit_lines(units, args.units, args.seed)
    write(spoken, args.out)
    hours = sum(len(row.codes) for row in spoken) * tokens.FRAME_SAMPLES / tokens.SAMPLE_RATE / 3600
    print(f"{len(spoken)} rows, {hours:.2f} hours, {args.out.stat().st_size / 1e6:.1f} MB")


class Encoder:
    """SNAC's encoder with the kernels of fast.py: nine tenths of its codes are torch's."""

    def __init__(self, folder: Path) -> None:
        self._snac = SNAC(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
        weights = load_file(folder / "model.safetensors")
        self._snac.load_state_dict({name: value.float() for name, value in weights.items()})
        self._snac.eval()
        fast.quicken(self._snac)

    def __call__(self, samples: Waveform) -> NDArray[np.uint16]:
        """(samples,), whole frames, to (frames, 7)."""
        with torch.inference_mode():
            books = self._snac.encode(torch.from_numpy(samples)[None, None])
        return tokens.interleave([book.numpy() for book in books]).astype(np.uint16)


def staged(row: pieces.Row) -> tuple[Waveform, NDArray[np.uint32]]:
    """`row` with a stock voice's quiet around its speech, in whole frames; its words' starts."""
    head = HEAD_FRAMES * tokens.FRAME_SAMPLES
    rest = TAIL_SAMPLES + -(len(row.samples) + TAIL_SAMPLES) % tokens.FRAME_SAMPLES
    samples = np.concatenate([pieces.faint(head), row.samples, pieces.faint(rest)])
    return samples, np.array(row.starts, np.uint32) + np.uint32(head)


def unit_of(row: pieces.Row, encoder: Encoder) -> NDArray[np.uint16]:
    """The codes of a word with quiet before and after it, (frames, 7) from where it begins on."""
    samples, _ = staged(row)
    return encoder(samples)[HEAD_FRAMES:]


def quiet_of(encoder: Encoder) -> NDArray[np.uint16]:
    """The codes of what a stock voice begins with, (HEAD_FRAMES, 7)."""
    return encoder(pieces.faint((HEAD_FRAMES + 1) * tokens.FRAME_SAMPLES))[:HEAD_FRAMES]


def unit_lines(
    units: Mapping[tuple[str, str], NDArray[np.uint16]], count: int, seed: int
) -> Iterator[Spoken]:
    """Lines of the grammar whose words are units, one after the other, every voice in turn."""
    voices = sorted({voice for voice, _ in units})
    for i, line in enumerate(sentences.make(count, seed) if count else ()):
        voice = voices[i % len(voices)]
        codes = [units[voice, QUIET], *(units[voice, word] for word in sentences.words_of(line))]
        starts = np.cumsum([len(part) for part in codes])[:-1] * tokens.FRAME_SAMPLES
        yield Spoken(voice, line, np.concatenate(codes), starts.astype(np.uint32))


def write(spoken: list[Spoken], out: Path) -> None:
    """All rows in one compressed file."""
    about = "".join(json.dumps([row.voice, row.text]) + "\n" for row in spoken)
    np.savez_compressed(
        out,
        codes=np.concatenate([row.codes for row in spoken]),
        frames=np.array([len(row.codes) for row in spoken], np.uint16),
        starts=np.concatenate([row.starts for row in spoken]),
        about=np.frombuffer(about.encode(), np.uint8),
    )


def read(path: Path) -> Iterator[Spoken]:
    """The inverse of `write`."""
    with np.load(path) as file:
        codes, frames, starts, about = (file[n] for n in ("codes", "frames", "starts", "about"))
    at = word = 0
    for line, count in zip(about.tobytes().decode().splitlines(), frames.tolist(), strict=True):
        voice, text = json.loads(line)
        words = len(text.split())
        yield Spoken(voice, text, codes[at : at + count], starts[word : word + words])
        at, word = at + count, word + words


if __name__ == "__main__":
    main()
