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
from pathlib import Path

import numpy as np
import sentences
import tokenise

from orpheus_clone import audio, disk, layout, manifest, models
from orpheus_clone.codec.snac import Codec
from orpheus_clone.layout import PreparedDir, PreparedStamp
from orpheus_clone.manifest import Clip
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare import corpus
from orpheus_clone.prepare.encode import Encoded
from orpheus_clone.tokens import SAMPLE_RATE, Codes

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
    write(PreparedDir(args.out), models.locate("nano"), args.voice, args.clips)


def lines(count: int) -> list[str]:
    """Sentences of the form, in an order of chance that is always the same."""
    made = [f"{' '.join(words)}." for words in itertools.product(*FORM)]
    return random.Random(0).sample(made, count)


def joined(voice: str, texts: list[str]) -> list[Codes]:
    """Of each text the codes of its words, one after the other, shape (frames, 7)."""
    units = {row.text: row.codes for row in tokenise.read(UNITS) if row.voice == voice}
    return [
        np.concatenate([units[word] for word in sentences.words_of(text)]).astype(np.int64)
        for text in texts
    ]


def write(out: PreparedDir, base: BaseModel, voice: str, count: int) -> None:
    """All that train and eval read of a corpus; the stamp last."""
    codec = Codec(base.codec_path, is_silent=True)
    texts = lines(count)
    clips, encoded = [], []
    for number, (text, codes) in enumerate(zip(texts, joined(voice, texts), strict=True)):
        samples = np.clip(codec.decode(codes), -1, 1)
        audio.write(out.audio / f"{number:03}.flac", samples)
        seconds = len(samples) / SAMPLE_RATE
        split: manifest.Split = "train" if number % HELDOUT else "heldout"
        name = f"{number:03}"
        clips.append(
            Clip(name, text, voice, 0.0, seconds, name, seconds, len(codes), 0.0, 0.0, split)
        )
        encoded.append(Encoded(codes, len(samples), 0, 0.0, 0.0))
    corpus.write_dataset(out, clips, encoded)
    manifest.write_clips(out.clips, clips)
    layout.write_stamp(out.stamp_file, _stamp(base, voice, clips))


def _stamp(base: BaseModel, voice: str, clips: list[Clip]) -> PreparedStamp:
    digest = disk.sha256_json([voice, *(clip.text for clip in clips)])
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
