"""What the whole session shares: a cache with a tiny nano, a small corpus and a small run.

Nothing here reaches outside the machine or into the user's own cache.
"""

import multiprocessing
import shutil
import subprocess
import warnings
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import soundfile
import torch
from safetensors.torch import load_file, save_file

from orpheus_clone import bundle, disk, models, nano, recipe
from orpheus_clone.audio import Waveform
from orpheus_clone.bundle import Adapter
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import Engine
from orpheus_clone.layout import PreparedDir, RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare.order import Order
from orpheus_clone.prepare.run import prepare
from orpheus_clone.recipe import Recipe
from orpheus_clone.tokens import SAMPLE_RATE
from orpheus_clone.train.metrics import Step
from orpheus_clone.train.run import train
from tests import tiny

DATA_SAMPLES = Path(__file__).parents[1] / "data_samples"
VOICE = "jack"
UNJUDGED = [
    "judges.asr=none",
    "judges.speaker=none",
    "judges.mos=none",
    "prepare.loudness_lufs=null",
    "prepare.limits.snr_min_db=null",
    "prepare.limits.clipped_max=null",
    "prepare.limits.bandwidth_min_hz=null",
    "prepare.limits.zeros_max=null",
    "prepare.limits.music_max=null",
]
"""For tests of all else: tones and noises are no speech, and judges take time."""
SMALL_RECIPE = recipe.load(
    None,
    [
        *UNJUDGED,
        "train.epochs=3",
        "train.batch_size=3",
        "train.warmup_steps=1",
        "train.checkpoint_steps=2",
        "train.learning_rate=0.02",
        "train.lora.rank=4",
        "sampling.max_seconds=2",
    ],
)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model cache of the session's own, with a tiny nano in it; subprocesses inherit it."""
    cache = tmp_path_factory.mktemp("cache")
    with disk.atomic_dir(cache / f"nano-{nano.revision()}") as in_its_place:
        tiny.make(in_its_place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORPHEUS_CLONE_CACHE", str(cache))
        patch.setenv("HF_HOME", str(cache / "hub"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.delenv("ORPHEUS_CLONE_SNAC", raising=False)
        yield cache


@pytest.fixture(scope="session")
def base(own_cache: Path) -> BaseModel:
    return models.locate("nano")


@pytest.fixture(scope="session")
def codec(base: BaseModel) -> Codec:
    return Codec(base.codec_path, is_silent=True)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six recordings of a second of real speech each, with metadata.csv; not to be changed."""
    folder = tmp_path_factory.mktemp("recordings")
    lines = []
    for i in range(1, 7):
        speech, rate = soundfile.read(DATA_SAMPLES / f"{i:03}.flac", dtype="float32")
        assert rate == SAMPLE_RATE
        soundfile.write(folder / f"c{i}.flac", _second_of(speech), rate)
        lines.append(f"c{i}|Sentence number {i}.\n")
    (folder / "metadata.csv").write_text("".join(lines), encoding="utf-8")
    return folder


def _second_of(speech: Waveform) -> Waveform:
    """From the room tone before the first word to the middle of the third or so."""
    return speech[SAMPLE_RATE // 2 : 3 * SAMPLE_RATE // 2]


@pytest.fixture
def own_recordings(recordings: Path, tmp_path: Path) -> Path:
    """A copy of the recordings that a test may change."""
    return Path(shutil.copytree(recordings, tmp_path / "recordings"))


@pytest.fixture(scope="session")
def prepared(
    recordings: Path, base: BaseModel, tmp_path_factory: pytest.TempPathFactory
) -> PreparedDir:
    """The recordings as a corpus; not to be changed."""
    data = PreparedDir(tmp_path_factory.mktemp("data") / VOICE)
    prepare(Order([str(recordings)], VOICE, base, recipe=SMALL_RECIPE), data)
    return data


@dataclass(frozen=True)
class SmallRun:
    """A finished run and every step that was reported on the way."""

    dir: RunDir
    steps: list[Step]
    recipe: Recipe


@pytest.fixture(scope="session")
def small_run(
    prepared: PreparedDir, base: BaseModel, tmp_path_factory: pytest.TempPathFactory
) -> SmallRun:
    """A run of six steps over the small corpus, never interrupted; not to be changed."""
    out = RunDir(tmp_path_factory.mktemp("runs") / VOICE)
    steps: list[Step] = []
    train(prepared, out, recipe=SMALL_RECIPE, base=base, report=steps.append)
    return SmallRun(out, steps, SMALL_RECIPE)


@pytest.fixture(scope="session")
def run_dir(small_run: SmallRun) -> RunDir:
    return small_run.dir


@pytest.fixture(scope="session")
def adapters(run_dir: RunDir, tmp_path_factory: pytest.TempPathFactory) -> tuple[Adapter, Adapter]:
    """Two adapters of the small run's shape that change what nano says, each its own way."""
    folder = tmp_path_factory.mktemp("adapters")
    return _loud_adapter(run_dir, folder / "one", 1), _loud_adapter(run_dir, folder / "two", 2)


def _loud_adapter(run: RunDir, out: Path, seed: int) -> Adapter:
    shutil.copytree(run.adapter, out)
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(tensor.shape, generator=generator).to(tensor.dtype) * 0.3
        for name, tensor in load_file(out / bundle.WEIGHTS_FILE).items()
    }
    save_file(weights, out / bundle.WEIGHTS_FILE)
    digest = disk.sha256_file(out / bundle.WEIGHTS_FILE)
    return Adapter(bundle.bundle_name(out.name, digest), out, digest)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm_engine(base: BaseModel) -> AsyncGenerator[Engine, None]:
    """The one vLLM engine of the session; tests of it share its loop."""
    async with opened_vllm(base) as engine:
        yield engine


@asynccontextmanager
async def opened_vllm(base: BaseModel) -> AsyncGenerator[Engine, None]:
    """A vLLM engine that leaves no process; half a minute to start, so seldom one's own."""
    from orpheus_clone.engine.vllm import VllmEngine

    before = set(multiprocessing.active_children())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what vLLM imports is full of deprecations of its own
        engine = VllmEngine(models.fast(base), max_adapters=4, max_rank=16)
    core = set(multiprocessing.active_children()) - before
    assert core
    try:
        yield engine
    finally:
        await engine.close()
        await engine.close()
        assert not engine.is_alive()
        for process in core:
            process.join(30)
        left = [process for process in core if process.is_alive()]
        assert not left, f"processes of the engine outlive it: {left}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a real file system of so many KiB; skips where mounting one is not allowed."""
    mounted: list[Path] = []

    def make(kib: int) -> Path:
        point = tmp_path / f"disk{len(mounted)}"
        point.mkdir()
        size = f"size={kib}k"
        command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(point)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small disk needs root")
        mounted.append(point)
        return point

    yield make
    for point in mounted:
        subprocess.run(["umount", str(point)], check=True)
