"""What every engine does: the protocol, and what goes in and out.

    Request(prompt ids, sampling, adapter, max frames) ──▶ Engine.generate ──▶ Delta, Delta, … last

Generation is well formed from the first token, in every engine: `allowed_ids` leaves the 4096 ids
of the slot whose turn it is, and the stop id only between frames. So a stream is whole frames,
and the stop id itself is never among the tokens that come out.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from orpheus_clone import tokens
from orpheus_clone.bundle import Adapter
from orpheus_clone.errors import EngineError
from orpheus_clone.recipe import Sampling

Finish = Literal["stop", "length"]
Precision = Literal["fp8", "bf16", "fp32"]
"""Of the weights."""
MAX_STREAMS = 64
"""What vLLM generates at a time; a stream more would wait for one to end."""


@dataclass(frozen=True)
class Request:
    """One utterance to generate."""

    prompt: list[int]
    sampling: Sampling
    max_frames: int
    adapter: Adapter | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.max_frames < 1:
            raise EngineError(f"an utterance has at least one frame, not {self.max_frames}")


@dataclass(frozen=True)
class Delta:
    """New audio token ids of a stream; the last one says why it ended."""

    tokens: list[int]
    finish: Finish | None = None


@dataclass(frozen=True)
class EngineInfo:
    """What a speed figure is bound to."""

    engine: str
    hardware: str
    precision: str

    @property
    def is_gpu(self) -> bool:
        """Whether the figure is of a GPU."""
        return not self.hardware.startswith("CPU")


class Engine(Protocol):
    """A base model that can speak through adapters."""

    info: EngineInfo

    def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Stream an utterance; closing the iterator frees its place at once.

        Raises EngineDead if the engine's process is gone.
        """
        ...

    async def load(self, adapter: Adapter) -> None:
        """Make an adapter resident; EngineError if it does not fit the base."""
        ...

    async def unload(self, adapter: Adapter) -> None:
        """Forget an adapter."""
        ...

    def is_alive(self) -> bool:
        """Whether it can still generate."""
        ...

    async def close(self) -> None:
        """Free everything, processes included; a second call does nothing."""
        ...


def allowed_ids(position: int) -> tuple[range, bool]:
    """The audio ids that may come at `position` of a stream, and whether it may stop instead.

    It may not stop before its first frame: a voice that says nothing at all is an error upstream
    of every client.
    """
    slot = position % tokens.FRAME
    return tokens.slot_ids(slot), slot == 0 and position > 0


def hardware_name() -> str:
    """The GPU's name, or "CPU (model, n cores)": engines run on CUDA or on the CPU."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"CPU ({_cpu_model()}, {_cores()} cores)"


def _cores() -> int:
    """Cores that this process may use."""
    import os

    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str:
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
