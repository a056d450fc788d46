"""Several clips in one row, with no attention from one to another.

    row        clip 7 ……………………… │ clip 2 …………… │ clip 9 …
    position   0 1 2 …             │ 0 1 2 …      │ 0 1 …
    attention  within each clip alone: SDPA's causal kernel, clip by clip

A row is as long as its clips together, so nothing is padded and nothing is computed twice. Since
each clip goes through attention by itself, no mask is ever built (one of 4096 x 4096 costs more
than the attention of the clips in it), and torch picks its fused kernel on a GPU and on a CPU.
Positions restart, so each clip has the rotary phases that it would have alone.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from orpheus_clone import optimised, tokens
from orpheus_clone.tokens import TrainingRow

ATTENTION = "within_clips"
"""The name by which transformers knows `attend_within_clips`."""


class PackedRow(NamedTuple):
    """Clips side by side: what the model sees, where it takes a loss, and what is right there."""

    input_ids: torch.Tensor
    """(1, length)"""
    position_ids: torch.Tensor
    """(1, length), from 0 in each clip"""
    clip_lengths: list[int]
    """Their sum is the length."""
    places: torch.Tensor
    """(n,): where the model's next token takes a loss"""
    targets: torch.Tensor
    """(n,): the right ones, as columns of the audio head: id - 128256"""

    def to(self, device: torch.device) -> "PackedRow":
        """The same row on a device."""
        return PackedRow(
            self.input_ids.to(device),
            self.position_ids.to(device),
            self.clip_lengths,
            self.places.to(device),
            self.targets.to(device),
        )


def plan(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Which clips share a row of at most `limit` tokens: the longest first, each where it fits.

    A clip that is longer than the limit has a row of its own; none is ever cut.
    """
    rows: list[list[int]] = []
    left: list[int] = []
    for clip in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        row = next((r for r, room in enumerate(left) if room >= lengths[clip]), None)
        if row is None:
            rows.append([])
            left.append(limit)
            row = len(rows) - 1
        rows[row].append(clip)
        left[row] -= lengths[clip]
    return rows


def shares(lengths: Sequence[int], limit: int, processes: int) -> list[list[list[int]]]:
    """The rows of each process, as many for each: one that has fewer than another gets empty ones.

    Clips are dealt out in turn, so that every process has as many, give or take one.
    """
    dealt = [range(rank, len(lengths), processes) for rank in range(processes)]
    rows = [
        [[mine[i] for i in row] for row in plan([lengths[i] for i in mine], limit)]
        for mine in dealt
    ]
    most = max(map(len, rows))
    return [mine + [[]] * (most - len(mine)) for mine in rows]


def pack(clips: Sequence[TrainingRow]) -> PackedRow:
    """One row of all these clips."""
    labels = [label for clip in clips for label in [*clip.labels[1:], tokens.IGNORED]]
    places = [i for i, label in enumerate(labels) if label != tokens.IGNORED]
    lengths = [len(clip.input_ids) for clip in clips]
    return PackedRow(
        torch.tensor([[token for clip in clips for token in clip.input_ids]]),
        torch.cat([torch.arange(length) for length in lengths])[None],
        lengths,
        torch.tensor(places, dtype=torch.long),
        torch.tensor([labels[i] - optimised.FIRST for i in places], dtype=torch.long),
    )


def use_within_clips(model: Any) -> None:
    """Let a transformers model attend by `attend_within_clips`, with no mask."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, attend_within_clips)
    model.set_attn_implementation(ATTENTION)


def attend_within_clips(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    clip_lengths: list[int],
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of (1, heads, length, width) in each clip; (1, length, heads, width).

    transformers calls it with what the model's forward was given, so with `clip_lengths`.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    parts = (torch.split(tensor, clip_lengths, dim=2) for tensor in (query, key, value))
    clips = zip(*parts, strict=True)
    heard = [sdpa_attention_forward(module, *clip, attention_mask, **rest)[0] for clip in clips]
    return torch.cat(heard, dim=1), None
