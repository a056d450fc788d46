"""The slot mask inside vLLM: a batched logits processor that leaves only legal next ids.

vLLM calls it once a step with the logits of the whole batch, shape (rows, width of the head). A
row's position is the length of its output so far, which vLLM keeps in a list that it shares with
us. It also does the repetition penalty, over a window of what was said (penalty.py):
vLLM's own is over everything, and scatters ids of the prompt that a short head does not have.
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

from orpheus_clone import optimised, tokens
from orpheus_clone.engine.base import allowed_ids
from orpheus_clone.engine.penalty import penalise, recently_said

_MASKS = tokens.FRAME + 1
"""One mask for position 0, where the stream may not stop, and one for each slot after it."""

NODE_PID = "ORPHEUS_CLONE_NODE_PID"
"""Environment variable in which vLLM's processes find the process that started the engine."""
_CHECK_SECONDS = 0.5


def mask_index(position: int) -> int:
    """Which row of `forbidden` holds for `position`."""
    return 0 if position == 0 else 1 + position % tokens.FRAME


def forbidden(first: int, width: int, device: torch.device) -> torch.Tensor:
    """(8, width) booleans, true where an id may not come; the head's rows are of `first` and on."""
    table = torch.ones((_MASKS, width), dtype=torch.bool)
    for position in range(_MASKS):
        ids, may_stop = allowed_ids(position)
        table[mask_index(position), ids.start - first : ids.stop - first] = False
        if may_stop:
            table[mask_index(position), tokens.END_OF_SPEECH - first] = False
    return table.to(device)


class SlotMask(LogitsProcessor):  # type: ignore[misc]  # vLLM has no types here
    """Masks every row of the batch; loaded by vLLM by its dotted name."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        _end_with_node()
        is_short = optimised.ARCHITECTURE in vllm_config.model_config.architectures
        first, width = (optimised.FIRST, optimised.WIDTH) if is_short else (0, tokens.VOCABULARY)
        self._forbidden = forbidden(first, width, device)
        self._rows: dict[int, tuple[list[int], float]] = {}
        """What each row has said, and its penalty."""

    def is_argmax_invariant(self) -> bool:
        """False: it changes what greedy sampling picks."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow the rows of the batch as requests come, go and move."""
        process_dict_updates(
            self._rows,
            batch_update,
            lambda params, _prompt, said: (said, params.extra_args["repetition_penalty"]),
        )

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Penalties, and minus infinity wherever an id may not come next; in place."""
        rows = [self._rows[i] for i in range(len(logits))]
        said = [recently_said(ids) if penalty != 1 else () for ids, penalty in rows]
        penalise(logits, said, [penalty for _, penalty in rows])
        masks = [mask_index(len(ids)) for ids, _ in rows]
        table = self._forbidden
        return logits.masked_fill_(table[torch.tensor(masks, device=table.device)], -torch.inf)


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
