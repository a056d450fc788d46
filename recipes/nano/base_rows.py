"""What nano's base learns from: rows of ids whose words have their times, in even batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenise import Spoken
from tokenizers import Tokenizer
from torch import Tensor

from orpheus_clone import models, tokens

HELD_OUT = 0.02
WRONG_SHARE = 1 / 8
MIDDLES = np.array([4, 2, 1, 3, 6, 5, 7]) * (tokens.FRAME_SAMPLES // 8)
"""The middle of what each slot's code stands for, in samples from the frame's start."""


@dataclass(frozen=True)
class Row:
    """A clip as ids, and which of its words is said at each."""

    prompt: list[int]
    audio: list[int]
    """7 ids a frame, and the stop."""
    text: int
    """Position in `prompt` of the first id of the spoken text."""
    word_of: NDArray[np.int64]
    """The word that each id of the text belongs to."""
    saying: NDArray[np.int64]
    """The word that is said at each id of `audio`: before the first word, that; then one more."""
    words: int

    def first_of_word(self) -> NDArray[np.int64]:
        """Of each word, which of the text's ids is its first."""
        return np.searchsorted(self.word_of, np.arange(self.words))

    def __len__(self) -> int:
        return len(self.prompt) + len(self.audio)


def rows_of(spoken: list[Spoken], tokenizer: Tokenizer) -> list[Row]:
    """Clips as ids, in the order given."""
    rows = []
    for clip in spoken:
        prompt = models.prompt_ids(tokenizer, clip.voice, clip.text, (), "en")
        audio = [*tokens.codes_to_tokens(clip.codes.astype(np.int64)), tokens.END_OF_SPEECH]
        last = len(prompt) - len(tokens.PROMPT_TAIL)
        first = len(tokenizer.encode(f"{clip.voice}:").ids) + len(tokens.PROMPT_HEAD)
        pieces = [tokenizer.id_to_token(i) or "" for i in prompt[first:last]]
        # A word begins where its first letter is written with the space before it.
        word_of = np.cumsum([piece.startswith("Ġ") for piece in pieces]) - 1
        words = len(clip.starts)
        if word_of[-1] + 1 != words:
            raise ValueError(f"{clip.text!r} has {word_of[-1] + 1} words as ids, {words} times")
        frames = np.arange(len(clip.codes))[:, None] * tokens.FRAME_SAMPLES
        middles = (frames + MIDDLES).reshape(-1)
        saying = np.searchsorted(clip.starts, middles, side="right").clip(1) - 1
        saying = np.append(saying, words - 1)
        rows.append(Row(prompt, audio, first, word_of.clip(0), saying, words))
    return rows


def split(spoken: list[Spoken]) -> tuple[list[Spoken], list[Spoken]]:
    """What is taught, and what is held out: whole lines, in all takes of them."""
    lines = sorted({(clip.voice, clip.text) for clip in spoken})
    order = np.random.default_rng(0).permutation(len(lines))
    held = {lines[i] for i in order[: round(len(lines) * HELD_OUT)]}
    return (
        [clip for clip in spoken if (clip.voice, clip.text) not in held],
        [clip for clip in spoken if (clip.voice, clip.text) in held],
    )


def batches(
    rows: list[Row], batch_tokens: int, seed: int, most_words: Callable[[], int] = lambda: 999
) -> Iterator[list[Row]]:
    """Endless batches of about equally long rows, none of more words than are allowed by now.

    Every row comes once an epoch; where more words become allowed, an epoch ends early.
    """
    rng = np.random.default_rng(seed)
    while True:
        allowed = most_words()
        chosen = [row for row in rows if row.words <= allowed]
        jitter = rng.uniform(0.9, 1.1, len(chosen))
        order = np.argsort([len(row) * j for row, j in zip(chosen, jitter, strict=True)])
        epoch: list[list[Row]] = [[]]
        for i in order:
            longest = max([len(chosen[i]), *map(len, epoch[-1])])
            if longest * (len(epoch[-1]) + 1) > batch_tokens and epoch[-1]:
                epoch.append([])
            epoch[-1].append(chosen[i])
        rng.shuffle(epoch)
        for batch in epoch:
            yield batch
            if most_words() != allowed:
                break


def padded(rows: list[Row], device: str) -> Tensor:
    """Ids of `rows`, (rows, longest); what is read from left to right needs no mask."""
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), tokens.PAD)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row.prompt + row.audio)
    return ids.to(device)


def misled(ids: Tensor) -> Tensor:
    """`ids` with some of the audio ids replaced by others of their slot."""
    slot = torch.div(ids - tokens.AUDIO_BASE, tokens.CODEBOOK, rounding_mode="floor")
    other = tokens.AUDIO_BASE + slot * tokens.CODEBOOK + torch.randint_like(ids, tokens.CODEBOOK)
    is_audio = (ids >= tokens.AUDIO_BASE) & (ids < tokens.AUDIO_END)
    is_wrong = is_audio & (torch.rand(ids.shape, device=ids.device) < WRONG_SHARE)
    return torch.where(is_wrong, other, ids)
