"""fleet: how many streams this card speaks in real time, with 1, 8 and 32 voices, FP8 and bf16.

    streams     1    8   16   24   32 …        of each precision and number of LoRAs
    rate p1   180  150  120   95   78          tokens/s that 99 of 100 streams have
              ────────────────────╳            82.03 is real time; nothing is tried beyond

The base has Orpheus-3B's shape and SNAC's, in random weights (`bench.random_base`); without a GPU
it is nano. Streams come and go as in `eval`, speech included: codec, trimming, runaways.

Each cell is written into --out as soon as it is measured, and one that is there is not measured
again: the bench may be stopped, and begins no cell for which --minutes leaves no time. Run it until
`is_complete`. NOT YET RUN ON A CARD.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from orpheus_clone import disk, models
from orpheus_clone.bench import Result, random_base, voices
from orpheus_clone.bundle import Adapter
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import Precision, hardware_name
from orpheus_clone.errors import MachineError, RecipeError
from orpheus_clone.eval.prompts import prompt_set
from orpheus_clone.eval.speed import Utterance, speak_all
from orpheus_clone.lora import MAX_RANK
from orpheus_clone.models import BaseModel
from orpheus_clone.speech import Speaker, Voice
from orpheus_clone.tokens import REAL_TIME_RATE

LORAS = (1, 8, 32)
LADDER = (1, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256)
"""Streams; the first that is not in real time is the last."""
UTTERANCE_SECONDS = 4.0
FEWEST_UTTERANCES = 16
UTTERANCES_A_STREAM = 2
OUT = Path("fleet.json")
MINUTES = 9.0
START_SECONDS = 150.0
"""To begin a row of cells: an engine starts."""
CELL_SECONDS = 45.0
ROOM_BYTES = 2 * 2**30
"""Of a GPU, beside weights and LoRAs: for what the streams keep (KV)."""

HasTime = Callable[[float], bool]
"""Whether so many seconds are left."""


@dataclass(frozen=True)
class Series:
    """Cells of one engine."""

    precision: Precision
    loras: int

    def __str__(self) -> str:
        return f"{self.precision}_{self.loras}"


@dataclass(frozen=True)
class Cell:
    """What streams had; rates are tokens a second of a stream."""

    precision: Precision
    loras: int
    """That the engine holds; so many voices are in a batch, or as many as there are streams."""
    streams: int
    utterances: int
    rate_p1: float
    """99 of 100 have at least this; of fewer than a hundred, the slowest."""
    rate_p50: float
    first_audio_p50_ms: float
    first_audio_p99_ms: float
    underruns: int
    """How often a listener ran out of sound, in all."""

    @property
    def is_real_time(self) -> bool:
        """See the module docstring."""
        return self.rate_p1 >= REAL_TIME_RATE


@dataclass(frozen=True)
class Stage:
    """Who speaks: an engine that has started, and the voices it holds."""

    speaker: Speaker
    voices: Sequence[Voice]


Open = Callable[[Series], AbstractAsyncContextManager[Stage]]


@dataclass
class Sheet:
    """The cells that are measured, on disk."""

    path: Path
    model: str
    hardware: str
    cells: list[Cell] = field(default_factory=list)

    @classmethod
    def at(cls, path: Path, model: str, hardware: str) -> "Sheet":
        """What is there, or an empty one; RecipeError if it is of another card or model."""
        sheet = cls(path, model, hardware)
        if path.is_file():
            found = disk.read_json(path, "name another file")
            if (found.get("model"), found.get("hardware")) != (model, hardware):
                raise RecipeError(
                    f"--out {path}: is of {found.get('model')} on {found.get('hardware')}, and "
                    f"this is {model} on {hardware}; name another file"
                )
            sheet.cells = [Cell(**cell) for cell in found["cells"]]
        return sheet

    def add(self, cell: Cell) -> None:
        """Keep a cell."""
        self.cells.append(cell)
        cells = [asdict(one) for one in self.cells]
        about = {"model": self.model, "hardware": self.hardware}
        disk.write_json(self.path, about | {"cells": cells})

    def of(self, series: Series) -> list[Cell]:
        """Its cells, in the order in which they were measured."""
        return [c for c in self.cells if Series(c.precision, c.loras) == series]

    def next_streams(self, series: Series) -> int | None:
        """What is to be measured next; None where nothing is left."""
        cells = self.of(series)
        if any(not cell.is_real_time for cell in cells):
            return None
        return next((n for n in LADDER if n not in {cell.streams for cell in cells}), None)

    def real_time_streams(self, series: Series) -> int:
        """The most streams that were in real time; 0 where none were, or none were measured."""
        return max((c.streams for c in self.of(series) if c.is_real_time), default=0)


def run(out: Path | None = None, minutes: float | None = None) -> Result:
    """Keys: streams_PRECISION_LORAS, and is_complete, which says whether these are final."""
    out, minutes = out or OUT, minutes or MINUTES
    base = random_base.orpheus_3b() if _has_gpu() else models.locate("nano")
    model = "random 3b" if _has_gpu() else base.name
    sheet, until = Sheet.at(out, model, hardware_name()), time.monotonic() + 60 * minutes
    every = [Series(precision, loras) for precision in _precisions() for loras in LORAS]
    with tempfile.TemporaryDirectory() as folder:

        def opened(series: Series) -> AbstractAsyncContextManager[Stage]:
            return _stage(base, Path(folder), series)

        asyncio.run(measure(sheet, every, opened, lambda left: until - time.monotonic() > left))
    return result(sheet, every)


async def measure(sheet: Sheet, every: Sequence[Series], opened: Open, has_time: HasTime) -> None:
    """All cells that are left, as far as there is time."""
    for series in every:
        if sheet.next_streams(series) is None:
            continue
        if not has_time(START_SECONDS):
            return
        async with opened(series) as stage:
            while (streams := sheet.next_streams(series)) and has_time(CELL_SECONDS):
                sheet.add(await cell(stage, series, streams))


async def cell(stage: Stage, series: Series, streams: int) -> Cell:
    """So many streams at once, each in a voice of its own as far as there are."""
    count = max(FEWEST_UTTERANCES, UTTERANCES_A_STREAM * streams)
    utterances = await speak_all(
        stage.speaker,
        stage.voices,
        prompt_set(count),
        concurrency=streams,
        max_seconds=UTTERANCE_SECONDS,
        is_warm=True,
    )
    return _figures(utterances, series, streams)


def _figures(utterances: Sequence[Utterance], series: Series, streams: int) -> Cell:
    rates = [one.rate for one in utterances]
    first = [one.first_audio_ms for one in utterances]
    return Cell(
        precision=series.precision,
        loras=series.loras,
        streams=streams,
        utterances=len(utterances),
        rate_p1=round(float(np.percentile(rates, 1, method="lower")), 2),
        rate_p50=round(float(np.median(rates)), 2),
        first_audio_p50_ms=round(float(np.median(first)), 1),
        first_audio_p99_ms=round(float(np.percentile(first, 99)), 1),
        underruns=sum(one.played().underruns for one in utterances),
    )


def result(sheet: Sheet, every: Sequence[Series]) -> Result:
    """A row for each cell, and for each series how many streams it has in real time."""
    streams = {f"streams_{series}": sheet.real_time_streams(series) for series in every}
    is_complete = all(sheet.next_streams(series) is None for series in every)
    about = {"bench": "fleet", "model": sheet.model, "hardware": sheet.hardware}
    rows = [asdict(one) | {"real time": one.is_real_time} for one in sheet.cells]
    return Result(rows, about | {"is_complete": is_complete, "out": str(sheet.path)} | streams)


@contextlib.asynccontextmanager
async def _stage(base: BaseModel, folder: Path, series: Series) -> AsyncGenerator[Stage, None]:
    from orpheus_clone.engine.vllm import VllmEngine

    fast = models.fast(base)
    made = [_adapter(base, folder, seed) for seed in range(series.loras)]
    _check_memory(fast, [each.path for each in made])
    engine = VllmEngine(
        fast,
        max_adapters=series.loras,
        max_rank=MAX_RANK,
        precision=series.precision,
        max_streams=LADDER[-1],
    )
    try:
        stage = Stage(
            Speaker(engine, Codec(base.codec_path), base),
            [Voice(base.voices[0], adapter) for adapter in made],
        )
        for voice in stage.voices:
            await stage.speaker.say("Hello.", voice, max_seconds=0.5)
        yield stage
    finally:
        await engine.close()


def _adapter(base: BaseModel, folder: Path, seed: int) -> Adapter:
    """Made when it is first wanted."""
    path = folder / f"voice-{seed}"
    return voices.there(path) if path.is_dir() else voices.adapter(base, path, seed)


def _check_memory(base: BaseModel, adapters: Sequence[Path]) -> None:
    """MachineError where a GPU has no room for the weights, the LoRAs and some streams."""
    if not _has_gpu():
        return
    import torch

    from orpheus_clone.engine.vllm import MEMORY_SHARE

    files = [file for path in (base.path, *adapters) for file in path.glob("*.safetensors")]
    needed = sum(file.stat().st_size for file in files) + ROOM_BYTES
    free, total = torch.cuda.mem_get_info()
    if free < MEMORY_SHARE * total or needed > MEMORY_SHARE * total:
        raise MachineError(
            f"the GPU has {free / 2**30:.1f} GiB free of {total / 2**30:.1f}; the bench takes "
            f"{MEMORY_SHARE:.0%} of all, and {needed / 2**30:.1f} GiB at least: end what else runs "
            "on it, or take a larger one"
        )


def _precisions() -> Sequence[Precision]:
    """Those of this machine, the fastest first."""
    if not _has_gpu():
        return ("fp32",)
    import torch

    from orpheus_clone.engine.vllm import FIRST_FP8_CAPABILITY

    has_fp8 = torch.cuda.get_device_capability() >= FIRST_FP8_CAPABILITY
    return ("fp8", "bf16") if has_fp8 else ("bf16",)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
