"""What nano's base learns from: clips as rows of ids, held out by line, in even batches.

Half of the ids are of two clips that are one: a voice that goes on from what it has just said reads
`[both texts] [the first's sound]`, as `speech.py` asks for, and chance pairs teach more than clips.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tokenise import Spoken
from tokenizers import Tokenizer
from torch import Tensor

from orpheus_clone import models, tokens

HELD_OUT = 0.02
WRONG_SHARE = 1 / 8
JOIN_FRAMES = 4
"""What is left out of the second clip's head, so that a third of a second lies between the two."""


@dataclass(frozen=True)
class Row:
    """A clip as ids, and where in it the text lies."""

    prompt: list[int]
    audio: list[int]
    """7 ids a frame, and the stop."""
    text: int
    """Position in `prompt` of the first id of the spoken text."""
    places: list[float]
    """How far along the text the middle of each of its ids is, 0 to 1, by letters."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.audio)


def joined(spoken: list[Spoken], seed: int) -> list[Spoken]:
    """Chance pairs of one voice's clips, each clip in one."""
    rng = np.random.default_rng(seed)
    pairs = []
    for voice in sorted({clip.voice for clip in spoken}):
        own = [clip for clip in spoken if clip.voice == voice]
        order = rng.permutation(len(own))
        for i, k in zip(order[::2], order[1::2], strict=False):
            codes = np.concatenate([own[i].codes, own[k].codes[JOIN_FRAMES:]])
            pairs.append(Spoken(voice, f"{own[i].text} {own[k].text}", codes))
    return pairs


def rows_of(spoken: list[Spoken], tokenizer: Tokenizer) -> list[Row]:
    """Clips as ids, in the order given."""
    rows = []
    for clip in spoken:
        prompt = models.prompt_ids(tokenizer, clip.voice, clip.text, (), "en")
        audio = [*tokens.codes_to_tokens(clip.codes.astype(np.int64)), tokens.END_OF_SPEECH]
        last = len(prompt) - len(tokens.PROMPT_TAIL)
        first = len(tokenizer.encode(f"{clip.voice}:").ids) + len(tokens.PROMPT_HEAD)
        letters = np.array([len(tokenizer.id_to_token(i) or "") for i in prompt[first:last]])
        places = (letters.cumsum() - letters / 2) / letters.sum()
        rows.append(Row(prompt, audio, first, places.tolist()))
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


def batches(rows: list[Row], batch_tokens: int, seed: int) -> Iterator[list[Row]]:
    """Endless batches of about equally long rows, every row once an epoch."""
    rng = np.random.default_rng(seed)
    while True:
        jitter = rng.uniform(0.9, 1.1, len(rows))
        order = np.argsort([len(row) * j for row, j in zip(rows, jitter, strict=True)])
        epoch: list[list[Row]] = [[]]
        for i in order:
            longest = max([len(rows[i]), *map(len, epoch[-1])])
            if longest * (len(epoch[-1]) + 1) > batch_tokens and epoch[-1]:
                epoch.append([])
            epoch[-1].append(rows[i])
        rng.shuffle(epoch)
        yield from epoch


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
