"""The slot mask inside vLLM: a batched logits processor that leaves only legal next ids.

vLLM calls it once a step with the logits of the whole batch, shape (rows, vocabulary). A row's
position is the length of its output so far, which vLLM keeps in a list that it shares with us.
This is the interface of vLLM's model runner V1; `engine/vllm.py` asks for that runner.

It is also the one piece of ours that lives inside vLLM's processes, so it is what ends them when
the node is killed: vLLM's own clean-up only runs where the node ends by itself.

    node ── EngineCore ── Worker (this module)
"""

import os
import signal
import threading
import time
from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from orpheus_clone import tokens
from orpheus_clone.engine.base import allowed_ids

_MASKS = tokens.FRAME + 1
"""One mask for position 0, where the stream may not stop, and one for each slot after it."""

NODE_PID = "ORPHEUS_CLONE_NODE_PID"
"""Environment variable in which vLLM's processes find the process that started the engine."""
_CHECK_SECONDS = 0.5


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
        _end_with_node()
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


def _end_with_node() -> None:
    """Watch the node and the process between it and this one; when either goes, all go."""
    node = int(os.environ[NODE_PID])
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent and _exists(node):
            time.sleep(_CHECK_SECONDS)
        if os.getppid() == parent != node:
            os.kill(parent, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-node", daemon=True).start()


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
