"""The slot mask inside vLLM: a batched logits processor that leaves only legal next ids.

vLLM calls it once a step with the logits of the whole batch, shape (rows, vocabulary). A row's
position is the length of its output so far, which vLLM keeps in a list that it shares with us.
This is the interface of vLLM's model runner V1; `engine/vllm.py` asks for that runner.
"""

from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from orpheus_clone import tokens
from orpheus_clone.engine.base import allowed_ids

_MASKS = tokens.FRAME + 1
"""One mask for position 0, where the stream may not stop, and one for each slot after it."""


def mask_index(position: int) -> int:
    """Which row of `forbidden` holds for `position`."""
    return 0 if position == 0 else 1 + position % tokens.FRAME


def forbidden(vocabulary: int, device: torch.device) -> torch.Tensor:
    """(8, vocabulary) booleans, true where an id may not come."""
    table = torch.ones((_MASKS, vocabulary), dtype=torch.bool)
    for position in range(_MASKS):
        ids, may_stop = allowed_ids(position)
        table[mask_index(position), ids.start : ids.stop] = False
        if may_stop:
            table[mask_index(position), tokens.END_OF_SPEECH] = False
    return table.to(device)


class SlotMask(LogitsProcessor):  # type: ignore[misc]  # vLLM has no types here
    """Masks every row of the batch; loaded by vLLM by its dotted name."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._forbidden = forbidden(vllm_config.model_config.get_vocab_size(), device)
        self._outputs: dict[int, list[int]] = {}

    def is_argmax_invariant(self) -> bool:
        """False: it changes what greedy sampling picks."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow the rows of the batch as requests come, go and move."""
        process_dict_updates(self._outputs, batch_update, lambda _params, _prompt, output: output)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Minus infinity wherever an id may not come next; in place."""
        rows = [mask_index(len(self._outputs[i])) for i in range(len(logits))]
        table = self._forbidden
        return logits.masked_fill_(table[torch.tensor(rows, device=table.device)], -torch.inf)
