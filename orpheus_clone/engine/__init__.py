"""Engines: prompt ids in, audio token ids out. `open_engine` picks one by name.

`vllm` is the engine: many streams and many adapters in one batch. `hf` is the reference: plain
transformers and PEFT, a few lines, for machines without vLLM and for parity tests.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal, get_args

from orpheus_clone import lora, models
from orpheus_clone.engine.base import Engine, Precision
from orpheus_clone.errors import MachineError, RecipeError
from orpheus_clone.models import BaseModel

EngineName = Literal["auto", "vllm", "hf"]


def resolve(name: EngineName) -> Literal["vllm", "hf"]:
    """What "auto" means on this machine."""
    if name == "auto":
        return "hf" if find_spec("vllm") is None else "vllm"
    return name


def open_engine(
    name: EngineName,
    base: BaseModel,
    *,
    max_adapters: int = 4,
    precision: Precision | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Engine:
    """A loaded engine; "auto" is vllm where it is installed, else hf.

    Starting vLLM takes half a minute on a CPU and longer with large weights, and the first time
    `models.fast` writes gigabytes: `say` is told. Close it. `precision` is of vllm's weights; None
    takes the best of this machine.
    """
    if resolve(name) == "vllm":
        if find_spec("vllm") is None:
            raise MachineError(
                "vLLM is not installed: pip install 'orpheus-clone[gpu]' on a machine with a GPU, "
                "`make install` for a CPU, or pass --engine hf"
            )
        from orpheus_clone.engine.vllm import VllmEngine

        return VllmEngine(
            models.fast(base, say),
            max_adapters=max_adapters,
            max_rank=lora.MAX_RANK,
            precision=precision,
        )
    from orpheus_clone.engine.hf import HfEngine

    return HfEngine(base)


def checked_name(name: str) -> EngineName:
    """`name` if it is an engine's; RecipeError otherwise."""
    for known in get_args(EngineName):
        if name == known:
            chosen: EngineName = known
            return chosen
    raise RecipeError(f"--engine {name}: expected one of {', '.join(get_args(EngineName))}")
