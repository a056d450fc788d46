"""Training on a card: our loop against the plain Trainer, at Orpheus-3B's size, in random weights.

    python recipes/gpu/train.py --json              on a GPU, a few minutes; needs no download
    python recipes/gpu/train.py --shape tiny        the same path on a CPU

Speed and memory do not depend on what weights hold, so this tells how long a preset takes before
anybody has Orpheus-3B on the machine: tokens a second, peak memory, and minutes of training for
half an hour of audio, for both sides, the plain one as in orpheus_clone/bench/train.py. The preset
is clone-30min, or --recipe; `--set train.gradient_checkpointing=false` and the like change it.

NOT YET RUN ON A CARD: until it was, no figure of ours about training on a GPU stands anywhere.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from orpheus_clone import recipe
from orpheus_clone.bench.random_base import ORPHEUS_3B
from orpheus_clone.bench.train import CLIPS, ROUNDS, clips, compare, ratios, table
from orpheus_clone.engine.base import hardware_name
from orpheus_clone.recipe import Train
from orpheus_clone.terminal import Terminal
from orpheus_clone.tokens import REAL_TIME_RATE
from orpheus_clone.train.model import add_lora, pick_precision
from orpheus_clone.train.preflight import estimate

TINY = ORPHEUS_3B | {"dtype": "float32", "hidden_size": 64, "intermediate_size": 128}
TINY |= {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
SHAPES = {"3b": ORPHEUS_3B, "tiny": TINY}
MINUTES = 30.0


def measure(shape: str, settings: Train, count: int, rounds: int) -> dict[str, Any]:
    """Every figure by its name; `table` is a row a side."""
    precision = pick_precision(settings.precision)
    rows = clips(count)
    figures = compare(lambda: _model(shape, settings, precision), rows, settings, precision, rounds)
    tokens = MINUTES * 60 * REAL_TIME_RATE * settings.epochs
    longest = max(len(row.input_ids) for row in rows)
    length = max(longest, min(settings.row_tokens, longest * settings.batch_size))
    need = estimate(SHAPES[shape], settings, precision, length, on_gpu=_has_gpu())
    minutes = {
        f"{name}_minutes_for_30": round(tokens / side.tokens_per_s / 60, 1)
        for name, side in figures.items()
    }
    line: dict[str, Any] = {
        "bench": "train",
        "model": f"random {shape}",
        "hardware": hardware_name(),
    }
    line |= {"precision": precision, "reckoned_peak_gb": round(need.total / 1e9, 2)}
    return line | ratios(figures) | minutes | {"table": table(figures)}


def _model(shape: str, settings: Train, precision: str) -> Any:
    """Random weights, made where they stay, with a fresh adapter."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if precision == "bf16" else torch.float32)
    try:
        with torch.device("cuda" if _has_gpu() else "cpu"):
            model = LlamaForCausalLM(LlamaConfig(**SHAPES[shape]))
    finally:
        torch.set_default_dtype(before)
    return add_lora(model, settings)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def main() -> None:
    """Measure, print a table, and one JSON line last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--shape", choices=list(SHAPES), default="3b")
    parser.add_argument("--recipe", type=Path, help="clone-30min if left out")
    parser.add_argument("--set", dest="overrides", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--clips", type=int, default=CLIPS * 8)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    given = parser.parse_args()
    settings = recipe.load(given.recipe, given.overrides).train
    if settings.quantize != "none":
        parser.error("random weights are made in place and not quantized: train.quantize=none")
    found = measure(given.shape, settings, given.clips, given.rounds)
    rows = found.pop("table")
    if not given.json:
        Terminal(as_json=False).rows("train", rows, list(rows[0]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
