"""A corpus that one of nano's own voices speaks, as `orpheus-clone prepare` would leave it.

    python recipes/nano/spoken.py OUT [--voice ada] [--clips 60]

    units.npz ─▶ a word for each slot of a sentence, joined ─▶ OUT/dataset, audio, clips.jsonl, …

A clone of a voice that is new to nano says no words, so nothing that is done to its recordings can
be heard in it. One that learns from these does, until it has learnt too much. The sentences are of
sixteen words that the judges hear well, all of one form ("Now open your window."). The codes are
those that nano was taught, not encoded anew: they would be new to it.
"""

import argparse
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import sentences
import tokenise

from orpheus_clone import audio, disk, layout, manifest, models
from orpheus_clone.codec.snac import Codec
from orpheus_clone.layout import PreparedDir, PreparedStamp
from orpheus_clone.manifest import Clip, Split
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare import corpus
from orpheus_clone.prepare.encode import Encoded
from orpheus_clone.tokens import FRAME_SAMPLES, SAMPLE_RATE, Codes

UNITS = Path(__file__).with_name("units.npz")
FORM = (
    ("Now", "Today", "Please", "Tomorrow"),
    ("open", "close", "find", "leave"),
    ("my", "your", "our", "their"),
    ("book", "window", "garden", "letter", "coffee", "table"),
)
HELDOUT = 5
"""One clip in so many."""


def main() -> None:
    """Parse, join, write."""
    parser = argparse.ArgumentParser(description="A corpus that a stock voice of nano speaks.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--voice", default="ada")
    parser.add_argument("--clips", type=int, default=60)
    args = parser.parse_args()
    write(PreparedDir(args.out), models.locate("nano"), args.voice, said(args.voice, args.clips))


@dataclass(frozen=True)
class Recording:
    """What is said in it, as text and as codes."""

    text: str
    codes: Codes
    """(frames, 7)."""
    split: Split


def said(voice: str, count: int) -> list[Recording]:
    """So many sentences of the form."""
    return [
        Recording(text, joined(voice, text), "train" if number % HELDOUT else "heldout")
        for number, text in enumerate(lines(count))
    ]


def lines(count: int) -> list[str]:
    """Sentences of the form, in an order of chance that is always the same."""
    made = [f"{' '.join(words)}." for words in itertools.product(*FORM)]
    return random.Random(0).sample(made, count)


def joined(voice: str, text: str) -> Codes:
    """The codes of its words, one after the other, shape (frames, 7)."""
    return np.concatenate([units()[voice, word] for word in sentences.words_of(text)])


@cache
def units() -> dict[tuple[str, str], Codes]:
    """By voice and word the codes, (frames, 7); "" is the quiet that a voice begins with."""
    return {(unit.voice, unit.text): unit.codes.astype(np.int64) for unit in tokenise.read(UNITS)}


def write(out: PreparedDir, base: BaseModel, voice: str, recordings: Sequence[Recording]) -> None:
    """All that train and eval read of a corpus; the stamp last."""
    codec = Codec(base.codec_path, is_silent=True)
    clips, encoded = [], []
    for number, said in enumerate(recordings):
        clip = _clip(f"{number:03}", said)
        samples = np.clip(codec.decode(said.codes), -1, 1)
        audio.write(out.audio / f"{clip.key}.flac", samples)
        clips.append(clip)
        encoded.append(Encoded(said.codes, len(samples), 0, 0.0, 0.0))
    corpus.write_dataset(out, clips, encoded)
    manifest.write_clips(out.clips, clips)
    digest = disk.sha256_json([voice, *(said.codes.tolist() for said in recordings)])
    layout.write_stamp(out.stamp_file, _stamp(base, voice, clips, digest))


def _clip(name: str, said: Recording) -> Clip:
    frames = len(said.codes)
    seconds = frames * FRAME_SAMPLES / SAMPLE_RATE
    return Clip(name, said.text, "nano", 0.0, seconds, name, seconds, frames, 0.0, 0.0, said.split)


def _stamp(base: BaseModel, voice: str, clips: list[Clip], digest: str) -> PreparedStamp:
    return PreparedStamp(
        voice=voice,
        language="en",
        base=base.name,
        base_digest=base.digest,
        codec_digest=base.codec_digest,
        clips=len(clips),
        heldout=sum(clip.split == "heldout" for clip in clips),
        rejected=0,
        seconds=sum(clip.seconds for clip in clips),
        gain_db=0.0,
        notes=[],
        judges={},
        data_digest=digest,
        inputs_digest=digest,
        consent=None,
        versions=layout.versions(),
    )


if __name__ == "__main__":
    main()
