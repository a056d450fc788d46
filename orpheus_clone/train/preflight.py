"""How much memory a run will take, reckoned before anything is loaded.

For a Llama of hidden width h, query width q, key-value width k, intermediate width m, H heads, rank
r, and a compute type of b bytes (2 in bf16, 4 in fp32):

    weights       b a number; in nf4 the projections take 0.516: 4 bits, and a scale in 8 bits for
                  64 of them, with a scale of its own for 256
    adapter       4 a number, its gradient 4, AdamW's two moments 8, or 2 in 8 bits
    activations   a token and layer, A = b (n h + 2 q + 2 k + 4 m + 7 r) + 4 (2 h + H + 2): what
                  autograd keeps, n = 3 in fp32; in bf16 n = 6, since PEFT casts each projection's
                  input for itself. With gradient checkpointing b h. And a token, (8 + 3 b) h:
                  embeddings, the last norm, hidden states and their gradient
    working       half of A a token for a layer's gradients, and A where it is computed again; or
                  a chunk's logits and log-probabilities, whichever is more: not both at once
    device        CUDA's context and kernels, 0.8 GB, and a tenth of the rest for fragments

Weights, adapter and moments are exact; activations and working memory are within a tenth of what
was alive at once on a CPU (test_preflight.py). What a card needs on top is a guess: none was seen.
Not counted are the judges that hear an epoch, in the room of activations and working memory, which
are given back first: 1.6 GB for Whisper large-v3-turbo, 0.1 for ECAPA-TDNN, and what they work
with. Where that is not free, the run ends there, says so and can go on (judges.py).

Orpheus-3B, rank 16, bf16, GB:               weights  adapter, moments  activations  working  all
    clone-30min: rows of 4096, checkpointing     6.6               0.4          0.9      0.9  10.4
    the same without checkpointing               6.6               0.4         16.7      0.3  27.1
    clone-qlora: nf4, rows of 2048               2.4               0.4          0.4      0.4   4.9
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import prod
from typing import Any, Literal

from orpheus_clone import disk, lora, optimised
from orpheus_clone.errors import MachineError
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Train
from orpheus_clone.tokens import TrainingRow
from orpheus_clone.train.loss import CHUNK
from orpheus_clone.train.model import forgets_activations

_NF4 = (4 + 8 / 64 + 32 / 64 / 256) / 8
_MOMENTS = {"adamw": 8, "adamw_8bit": 2}
_CONTEXT = 800_000_000
_FRAGMENTS = 0.1

Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True)
class Need:
    """Bytes."""

    weights: int
    adapter: int
    """With its gradient."""
    optimizer: int
    activations: int
    """What the forward pass leaves for the backward pass."""
    working: int
    device: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(asdict(self).values())

    def __str__(self) -> str:
        parts = (f"{field.name} {_gb(getattr(self, field.name))}" for field in fields(self))
        return ", ".join(parts)


def estimate(
    config: Mapping[str, Any], settings: Train, precision: Precision, row: int, *, on_gpu: bool
) -> Need:
    """What training takes with a base of this config.json and rows of at most `row` tokens."""
    size = lora.dimensions_of(config)
    width = 2 if precision == "bf16" else 4
    shapes = list(lora.expected_shapes(size, settings.lora.rank).values())
    adapter = sum(map(prod, shapes))
    ones = list(lora.expected_shapes(size, 1).values())
    projections = sum(a[1] * b[0] for a, b in zip(ones[::2], ones[1::2], strict=True))
    tables = 1 if config.get("tie_word_embeddings", False) else 2
    others = int(config["vocab_size"]) * size.hidden * tables + (2 * size.layers + 1) * size.hidden
    packed = _NF4 if settings.quantize == "nf4" else width
    kept, layer = _token_bytes(config, size, settings, width)
    logit = 8 if precision == "fp32" else 2 + 4 + 4  # log-softmax of bf16 works on a copy
    need = Need(
        weights=round(others * width + projections * packed),
        adapter=adapter * 8,
        optimizer=adapter * _MOMENTS[settings.optimizer],
        activations=row * kept,
        working=max(row * layer, min(CHUNK, row) * optimised.WIDTH * logit),
        device=0,
    )
    if not on_gpu:
        return need
    return Need(**asdict(need) | {"device": _CONTEXT + round(need.total * _FRAGMENTS)})


def check(
    base: BaseModel, settings: Train, precision: Precision, rows: Sequence[TrainingRow]
) -> None:
    """MachineError where it will not fit, with the settings that make it fit, if any do."""
    import torch

    config = disk.read_json(base.path / "config.json", "fetch the base model again")
    longest = max(len(row.input_ids) for row in rows)
    on_gpu = torch.cuda.is_available()

    def need(of: Train) -> Need:
        row = max(longest, min(of.row_tokens, longest * of.batch_size))
        return estimate(config, of, precision, row, on_gpu=on_gpu)

    free = _free_bytes()
    wanted = need(settings)
    if wanted.total > free:
        kind = "GPU memory" if on_gpu else "memory"
        raise MachineError(
            f"training {base.name} needs about {_gb(wanted.total)} GB of {kind} ({wanted}), and "
            f"{_gb(free)} are free; {_advice(settings, need, free, longest, on_gpu)}"
        )


def _advice(
    settings: Train, need: Callable[[Train], Need], free: int, longest: int, on_gpu: bool
) -> str:
    """What to set, one thing more at a time until it fits."""
    savings: list[dict[str, Any]] = [
        {"gradient_checkpointing": True},
        {"row_tokens": max(longest, 64)},
        {"quantize": "nf4"} if on_gpu else {},
        {"optimizer": "adamw_8bit"} if on_gpu else {},
    ]
    chosen: dict[str, Any] = {}
    for saving in savings:
        lesser = settings.model_copy(update=chosen | saving)
        if need(lesser).total < need(settings.model_copy(update=chosen)).total:
            chosen |= saving
        less = need(settings.model_copy(update=chosen)).total
        if chosen and less <= free:
            words = " ".join(f"--set train.{k}={str(v).lower()}" for k, v in chosen.items())
            return f"with {words} it needs about {_gb(less)}"
    return (
        "no setting makes it fit: free memory, use a larger machine, or prepare with a lower "
        "prepare.max_tokens"
    )


def _token_bytes(
    config: Mapping[str, Any], size: lora.Dimensions, settings: Train, width: int
) -> tuple[int, int]:
    """Of each token of a row: what is kept for the backward pass, and what a layer takes in it."""
    inputs = 6 if width == 2 else 3
    wide = inputs * size.hidden + 2 * (size.query + size.key_value) + 4 * size.intermediate
    heads = int(config["num_attention_heads"])
    layer = width * (wide + 7 * settings.lora.rank) + 4 * (2 * size.hidden + heads + 2)
    ends = (8 + 3 * width) * size.hidden
    if forgets_activations(settings):
        return size.layers * width * size.hidden + ends, layer + layer // 2
    return size.layers * layer + ends, layer // 2


def _free_bytes() -> int:
    """Of the GPU, or of this process's part of the machine."""
    import os

    import psutil
    import torch

    if torch.cuda.is_available():
        return torch.cuda.mem_get_info(int(os.environ.get("LOCAL_RANK", "0")))[0]
    available: int = psutil.virtual_memory().available
    return available // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f}"
