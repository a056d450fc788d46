"""Engines: prompt ids in, audio token ids out. `open_engine` picks one by name.

`vllm` is the engine: many streams and many adapters in one batch. `hf` is the reference: plain
transformers and PEFT, a few lines, for machines without vLLM and for parity tests.
"""

from importlib.util import find_spec
from typing import Literal

from orpheus_clone.engine.base import Engine
from orpheus_clone.errors import MachineError
from orpheus_clone.models import BaseModel

EngineName = Literal["auto", "vllm", "hf"]


def open_engine(
    name: EngineName, base: BaseModel, *, max_adapters: int = 4, max_rank: int = 16
) -> Engine:
    """A loaded engine; "auto" is vllm where it is installed, else hf.

    Starting vLLM takes half a minute on a CPU and longer with large weights. Close it.
    """
    if name == "vllm" or (name == "auto" and find_spec("vllm") is not None):
        if find_spec("vllm") is None:
            raise MachineError(
                "vLLM is not installed: pip install 'orpheus-clone[gpu]' on a machine with a GPU, "
                "`make install` for a CPU, or pass --engine hf"
            )
        from orpheus_clone.engine.vllm import VllmEngine

        return VllmEngine(base, max_adapters=max_adapters, max_rank=max_rank)
    from orpheus_clone.engine.hf import HfEngine

    return HfEngine(base)
