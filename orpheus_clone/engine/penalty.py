"""The repetition penalty: over what was generated lately, in every engine.

Upstream's, 1.1 too, is vLLM's own: over the prompt and everything generated. The longer such a
stream speaks the more ids are penalised, and speech drifts and speeds up. Loops, which it is there
against, repeat within a second or two; so only the ids of the last two seconds count here, and of
those the ids of the slot whose turn it is, since no other may come.
"""

from collections.abc import Sequence

import torch

from orpheus_clone import tokens

FRAMES = 24


def recently_said(output: Sequence[int]) -> Sequence[int]:
    """The ids that were generated at the coming id's slot within the last `FRAMES` frames."""
    position = len(output)
    frames = min(FRAMES, position // tokens.FRAME)
    return output[position - frames * tokens.FRAME :: tokens.FRAME]


def penalise(
    logits: torch.Tensor, said: Sequence[Sequence[int]], penalties: Sequence[float]
) -> None:
    """Make each row's ids in `said` less likely by its penalty; logits (rows, ids), in place.

    As Keskar et al. 2019 (arXiv:1909.05858): logits over 0 are divided by it, others multiplied.
    An id that was said twice is penalised once.
    """
    rows = [row for row, ids in enumerate(said) for _ in ids]
    if not rows:
        return
    row = torch.tensor(rows, device=logits.device)
    column = torch.tensor([one for ids in said for one in ids], device=logits.device)
    penalty = torch.tensor(penalties, device=logits.device, dtype=logits.dtype)[row]
    value = logits[row, column]
    logits[row, column] = torch.where(value > 0, value / penalty, value * penalty)
