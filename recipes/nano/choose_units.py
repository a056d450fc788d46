"""Choose how each voice says each word: of several recordings the one whose codes are heard best.

    python recipes/nano/choose_units.py SPEECH_DIR CODEC_DIR UNITS.npz [--minutes 10]

    candidates    from the lists of words: as fast as the voice speaks; slower; that with soft ends
    lines         of the grammar, not those that nano is measured with, put together of candidates,
                  those that were heard least first, decoded, and heard by whisper-base
    score         a candidate's share of words heard, as if three more had been heard at the share
                  that its kind has in this voice

UNITS.npz is what tokenise.py reads and writes, a row a word; the empty word is quiet. Since it is
chosen by whisper-base, ask another judge as well how nano speaks then.
"""

import argparse
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import corpus
import judges
import measure
import numpy as np
import pieces
import sentences
import tokenise
import torch
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from tokenise import Encoder, Spoken

from orpheus_clone import nano
from orpheus_clone.codec.snac import Codec

PRIOR = 3
FEWEST_WORDS = 5
SEED = 99

Key = tuple[str, str]
"""A voice and a word."""
Codes = NDArray[np.uint16]
"""(frames, 7)."""


@dataclass
class Heard:
    """How often a candidate was said, and heard as its word."""

    said: int = 0
    right: int = 0


@dataclass
class Trial:
    """What has been heard so far of which candidate of which word."""

    candidates: Mapping[Key, Sequence[Codes]]
    tally: dict[tuple[Key, int], Heard] = field(default_factory=dict)

    def least_heard(self, key: Key, rng: random.Random) -> int:
        """The candidate to be said next."""
        count = range(len(self.candidates[key]))
        return min(count, key=lambda kind: (self._of(key, kind).said, rng.random()))

    def add(self, line: Sequence[tuple[Key, int]], heard: Sequence[str]) -> None:
        """Count a line that was said, whose words are the keys'."""
        edits = Levenshtein.editops([word for (_, word), _ in line], list(heard))
        wrong = {edit.src_pos for edit in edits if edit.tag != "insert"}
        for place, (key, kind) in enumerate(line):
            known = self._of(key, kind)
            known.said += 1
            known.right += place not in wrong

    def best(self) -> dict[Key, Codes]:
        """Of each word the candidate with the highest score."""
        return {
            key: kinds[max(range(len(kinds)), key=lambda kind: self.score(key, kind))]
            for key, kinds in self.candidates.items()
        }

    def score(self, key: Key, kind: int) -> float:
        """Share of its words heard, drawn to that of its kind in this voice."""
        alike = [h for ((voice, _), k), h in self.tally.items() if (voice, k) == (key[0], kind)]
        share = sum(h.right for h in alike) / max(1, sum(h.said for h in alike))
        known = self._of(key, kind)
        return (known.right + PRIOR * share) / (known.said + PRIOR)

    def _of(self, key: Key, kind: int) -> Heard:
        return self.tally.setdefault((key, kind), Heard())


def main() -> None:
    """Parse, hear for so many minutes, write the best."""
    parser = argparse.ArgumentParser(description="Choose the words that nano learns from.")
    parser.add_argument("speech", type=Path)
    parser.add_argument("codec", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    encoder, codec = Encoder(args.codec), Codec(args.codec)
    trial, quiet = Trial(candidates(args.speech, encoder)), tokenise.quiet_of(encoder)
    rng, end = random.Random(SEED), time.monotonic() + 60 * args.minutes
    for voice, words in lines():
        if time.monotonic() > end:
            break
        line = [((voice, w), trial.least_heard((voice, w), rng)) for w in words]
        codes = np.concatenate([quiet, *(trial.candidates[key][kind] for key, kind in line)])
        samples = np.clip(codec.decode(codes.astype(np.int64)), -1, 1)
        trial.add(line, sentences.words_of(judges.words(samples)))
    chosen = trial.best() | {(voice, tokenise.QUIET): quiet for voice in corpus.STOCK}
    tokenise.write([_row(key, codes) for key, codes in chosen.items()], args.out)


def candidates(speech: Path, encoder: Encoder) -> dict[Key, list[Codes]]:
    """Of each voice and word its kinds: the usual speed, slower, that with soft ends."""
    rows = corpus.rows(speech / "clips.jsonl")
    usual, slow = (
        pieces.units(pieces.read(speech, [r for r in rows if r["speed"] == speed]))
        for speed in (1.0, corpus.SLOW)
    )
    kinds = (usual, slow, {key: pieces.softened(row) for key, row in slow.items()})
    return {key: [tokenise.unit_of(kind[key], encoder) for kind in kinds] for key in usual}


def lines() -> Iterator[tuple[str, list[str]]]:
    """Voices in turn, and the words of a line that nano is not measured with."""
    kept = {*measure.rung(50), *nano.prompts()}
    made = [line for line in sentences.make(6000, SEED) if line not in kept]
    long = [words for words in map(sentences.words_of, made) if len(words) >= FEWEST_WORDS]
    for number, words in enumerate(long):
        yield nano.VOICES[number % len(nano.VOICES)], words


def _row(key: Key, codes: Codes) -> Spoken:
    voice, word = key
    return Spoken(voice, word, codes, np.zeros(len(word.split()), np.uint32))


if __name__ == "__main__":
    main()
