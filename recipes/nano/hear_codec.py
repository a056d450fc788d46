"""Hear what a codec does to speech: a few clips, a minute, one line of JSON.

    python recipes/nano/hear_codec.py CODEC_DIR --allison DIR --kokoro DIR [--clips 12] [--out DIR]

    allison     real speech of someone whom the codec never heard (recipes/allison/fetch.py)
    kokoro      lines of the corpus's voices that `clips.is_held_out` keeps from training

of each: `wer_before`, of the recordings; `wer_added` by the codec; `similarity` of a clip through
the codec to the clip, mean. measure.py judges more clips, and the whole of nano.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import clips
import corpus
import judges
import numpy as np
import torch

from orpheus_clone import audio, tokens
from orpheus_clone.codec.snac import Codec

SHORTEST_S = 2.0
"""Shorter clips tell a judge of speakers too little."""

Said = tuple[Path, str]
"""A recording and what is said in it."""


def main() -> None:
    """Parse, hear both sets, print one line."""
    parser = argparse.ArgumentParser(description="Hear what a codec does to speech.")
    parser.add_argument("codec", type=Path)
    parser.add_argument("--allison", type=Path, required=True, help="what allison/fetch.py made")
    parser.add_argument("--kokoro", type=Path, required=True, help="a corpus, with clips.jsonl")
    parser.add_argument("--clips", type=int, default=12, help="of each, at most")
    parser.add_argument("--out", type=Path, help="a folder for what was heard")
    args = parser.parse_args()
    torch.manual_seed(0)  # the codec's noise
    codec = Codec(args.codec)
    figures = {
        name: figures_of(codec, evenly(said, args.clips), args.out and args.out / name)
        for name, said in (
            ("allison", of_allison(args.allison)),
            ("kokoro", of_corpus(args.kokoro)),
        )
    }
    print(json.dumps(figures))


def of_allison(folder: Path) -> list[Said]:
    """Her clips that are long enough, by name."""
    lines = (folder / "transcripts.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition(": ") for line in lines]
    said = [(folder / "audio" / f"{name}.flac", text) for name, _, text in pairs]
    return [(path, text) for path, text in said if _is_long(path)]


def of_corpus(folder: Path) -> list[Said]:
    """The clips of a corpus that no codec is trained on."""
    rows = [(folder / row["audio"], row["text"]) for row in corpus.rows(folder / "clips.jsonl")]
    return [(path, text) for path, text in rows if clips.is_held_out(path) and _is_long(path)]


def evenly(said: Sequence[Said], count: int) -> list[Said]:
    """`count` of them, or all, from the first on."""
    return list(said[:: max(1, len(said) // count)][:count])


def figures_of(codec: Codec, said: Sequence[Said], out: Path | None) -> dict[str, float]:
    """Words and likeness before and after."""
    before, after, alike = [], [], []
    for path, _ in said:
        original = audio.read(path)
        original = original[: len(original) // tokens.FRAME_SAMPLES * tokens.FRAME_SAMPLES]
        decoded = np.clip(codec.decode(codec.encode(original)), -1, 1)
        before.append(judges.words(original))
        after.append(judges.words(decoded))
        alike.append(float(judges.speaker(original) @ judges.speaker(decoded)))
        if out is not None:
            audio.write(out / f"{path.stem}.flac", decoded)
    wer = judges.word_error_rate([text for _, text in said], before)
    added = judges.word_error_rate([text for _, text in said], after) - wer
    figures = {"wer_before": wer, "wer_added": added, "similarity": float(np.mean(alike))}
    return {name: round(value, 3) for name, value in figures.items()}


def _is_long(path: Path) -> bool:
    return len(audio.read(path)) > SHORTEST_S * tokens.SAMPLE_RATE


if __name__ == "__main__":
    main()
