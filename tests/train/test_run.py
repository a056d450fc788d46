"""train through its front door: golden losses, exact resume, and what stops it."""

import gc
import json
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from peft import PeftModel
from safetensors.torch import load_file, save_file

from orpheus_clone import disk, gpu, lora, models, recipe
from orpheus_clone.errors import ArtifactError, MachineError, TrainingError
from orpheus_clone.layout import PreparedDir, RunDir, RunStamp
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare.order import Order
from orpheus_clone.prepare.run import prepare
from orpheus_clone.recipe import Recipe
from orpheus_clone.train.metrics import Step
from orpheus_clone.train.run import is_done, train
from tests.conftest import SMALL_RECIPE, SmallRun

GOLDEN = Path(__file__).parents[1] / "golden" / "small_run.json"


def changed(**values: object) -> Recipe:
    """The small recipe with other values in its train section."""
    return SMALL_RECIPE.model_copy(update={"train": SMALL_RECIPE.train.model_copy(update=values)})


class Interrupt(Exception):
    """What the power does."""


def stop_after(steps: int, seen: list[Step]) -> Callable[[Step], None]:
    def report(step: Step) -> None:
        seen.append(step)
        if step.step == steps:
            raise Interrupt

    return report


def losses(out: RunDir) -> list[float]:
    lines = out.metrics.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [json.loads(line)["loss"] for line in lines]


@pytest.fixture
def out(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "runs" / "jack")


@pytest.fixture
def finished(small_run: SmallRun, tmp_path: Path) -> RunDir:
    """A copy of the small run that a test may change."""
    return RunDir(Path(shutil.copytree(small_run.dir.root, tmp_path / "finished")))


def test_losses_are_the_golden_ones(small_run: SmallRun) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert [step.loss for step in small_run.steps] == pytest.approx(golden["loss"], abs=1e-4)
    heldout = [step.heldout_loss for step in small_run.steps if step.heldout_loss is not None]
    assert heldout == pytest.approx(golden["heldout_loss"], abs=1e-4)
    assert [step.learning_rate for step in small_run.steps] == pytest.approx(
        golden["learning_rate"]
    )


def test_training_lowers_the_loss_from_that_of_chance(small_run: SmallRun) -> None:
    first, last = small_run.steps[0], small_run.steps[-1]
    assert first.loss == pytest.approx(math.log(28_684), abs=1.0)
    assert last.loss < first.loss - 0.5


def test_a_run_directory_describes_itself(
    small_run: SmallRun, prepared: PreparedDir, base: BaseModel
) -> None:
    out, stamp = small_run.dir, small_run.dir.stamp()
    assert recipe.load(out.recipe) == SMALL_RECIPE
    assert losses(out) == [step.loss for step in small_run.steps]
    assert out.loss_plot.read_bytes().startswith(b"\x89PNG")
    assert (stamp.voice, stamp.base, stamp.base_digest) == ("jack", "nano", base.digest)
    assert stamp.data_digest == prepared.stamp().data_digest
    assert (stamp.steps, stamp.epochs, stamp.seed) == (6, 3, 0)
    assert stamp.heldout_loss == pytest.approx(small_run.steps[-1].heldout_loss, abs=1e-5)
    assert stamp.adapter_digest == disk.sha256_file(out.adapter / "adapter_model.safetensors")
    assert [path.name for path in sorted(out.checkpoints.iterdir())] == [
        "step-00000004",
        "step-00000006",
    ]


@pytest.mark.parametrize(
    "lost",
    [
        "reference",
        "reference/001.flac",
        "adapter",
        "adapter/adapter_config.json",
        "epochs.json",
    ],
)
def test_a_finished_run_that_lost_something_is_made_whole_by_train(
    finished: RunDir, prepared: PreparedDir, base: BaseModel, lost: str
) -> None:
    assert is_done(prepared, finished, SMALL_RECIPE, base)
    path = finished.root / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    seen: list[Step] = []
    before = finished.stamp()
    assert not is_done(prepared, finished, SMALL_RECIPE, base)
    train(prepared, finished, recipe=SMALL_RECIPE, base=base, report=seen.append)
    assert (path.exists(), seen) == (True, [])
    assert finished.stamp() == before
    assert is_done(prepared, finished, SMALL_RECIPE, base)


def test_weights_that_are_not_those_of_the_run_are_replaced(
    finished: RunDir, prepared: PreparedDir, base: BaseModel
) -> None:
    weights = finished.adapter / "adapter_model.safetensors"
    weights.write_bytes(b"damaged")
    train(prepared, finished, recipe=SMALL_RECIPE, base=base)
    assert disk.sha256_file(weights) == finished.stamp().adapter_digest


@pytest.mark.parametrize("kept", ["", '{"step": 6, "lo'], ids=["nothing", "half a line"])
def test_steps_of_which_the_metrics_lost_the_line_are_taken_again(
    small_run: SmallRun, finished: RunDir, prepared: PreparedDir, base: BaseModel, kept: str
) -> None:
    finished.stamp_file.unlink()
    lines = finished.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
    finished.metrics.write_text("".join(lines[:-1]) + kept, encoding="utf-8")
    seen: list[Step] = []
    stamp = train(prepared, finished, recipe=SMALL_RECIPE, base=base, report=seen.append)
    assert [step.step for step in seen] == [5, 6]
    assert losses(finished) == [step.loss for step in small_run.steps]
    assert stamp.adapter_digest == small_run.dir.stamp().adapter_digest


def test_the_adapter_is_bf16_safetensors_of_14_tensors_a_layer(small_run: SmallRun) -> None:
    adapter = small_run.dir.adapter
    weights = load_file(adapter / "adapter_model.safetensors")
    assert sorted(path.name for path in adapter.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert len(weights) == 14 * 2
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    assert any(tensor.any() for name, tensor in weights.items() if ".lora_B." in name)
    config = disk.read_json(adapter / "adapter_config.json", "")
    assert (config["r"], config["lora_alpha"], config["bias"]) == (4, 32, "none")
    assert config["base_model_name_or_path"] == "nano"
    assert config["target_modules"] == list(lora.PROJECTIONS)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_an_interrupted_run_ends_as_if_it_had_not_been(
    small_run: SmallRun, prepared: PreparedDir, base: BaseModel, out: RunDir, steps: int
) -> None:
    seen: list[Step] = []
    with pytest.raises(Interrupt):
        train(prepared, out, recipe=SMALL_RECIPE, base=base, report=stop_after(steps, seen))
    assert not out.stamp_file.exists()
    stamp = train(prepared, out, recipe=SMALL_RECIPE, base=base, report=seen.append)
    # A checkpoint is written every second step, after the report: so that many are taken again.
    kept = (steps - 1) // 2 * 2
    assert [step.step for step in seen] == [*range(1, steps + 1), *range(kept + 1, 7)]
    assert losses(out) == [step.loss for step in small_run.steps]
    assert stamp.adapter_digest == small_run.dir.stamp().adapter_digest


def test_a_run_interrupted_twice_ends_as_if_it_had_not_been(
    small_run: SmallRun, prepared: PreparedDir, base: BaseModel, out: RunDir
) -> None:
    for steps in (3, 5):
        with pytest.raises(Interrupt):
            train(prepared, out, recipe=SMALL_RECIPE, base=base, report=stop_after(steps, []))
    train(prepared, out, recipe=SMALL_RECIPE, base=base)
    assert losses(out) == [step.loss for step in small_run.steps]
    assert out.stamp().adapter_digest == small_run.dir.stamp().adapter_digest


def test_metrics_of_steps_that_are_taken_again_are_forgotten(
    small_run: SmallRun, prepared: PreparedDir, base: BaseModel, finished: RunDir
) -> None:
    shutil.rmtree(finished.checkpoints / "step-00000006")
    finished.stamp_file.unlink()
    with finished.metrics.open("a", encoding="utf-8") as log:
        log.write('{"step": 7, "lo')
    seen: list[Step] = []
    train(prepared, finished, recipe=SMALL_RECIPE, base=base, report=seen.append)
    assert [step.step for step in seen] == [5, 6]
    assert losses(finished) == [step.loss for step in small_run.steps]


def test_dropout_resumes_exactly_too(
    prepared: PreparedDir, base: BaseModel, tmp_path: Path
) -> None:
    lora = SMALL_RECIPE.train.lora.model_copy(update={"dropout": 0.3})
    chosen = changed(lora=lora, epochs=1, checkpoint_steps=1)
    whole, halved = RunDir(tmp_path / "whole"), RunDir(tmp_path / "halved")
    train(prepared, whole, recipe=chosen, base=base)
    with pytest.raises(Interrupt):
        train(prepared, halved, recipe=chosen, base=base, report=stop_after(2, []))
    train(prepared, halved, recipe=chosen, base=base)
    assert losses(halved) == losses(whole)
    assert halved.stamp().adapter_digest == whole.stamp().adapter_digest


def test_a_killed_process_is_gone_on_from(
    small_run: SmallRun, prepared: PreparedDir, base: BaseModel, out: RunDir
) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from orpheus_clone import models\n"
        "from orpheus_clone.layout import PreparedDir, RunDir\n"
        "from orpheus_clone.train.run import train\n"
        "from tests.conftest import SMALL_RECIPE\n"
        "data, out = (Path(argument) for argument in sys.argv[1:])\n"
        "def report(step):\n"
        "    if step.step == 3:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "train(PreparedDir(data), RunDir(out), recipe=SMALL_RECIPE, base=models.locate('nano'),"
        " report=report)\n"
    )
    command = [sys.executable, "-c", script, str(prepared.root), str(out.root)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert not out.stamp_file.exists()
    seen: list[Step] = []
    train(prepared, out, recipe=SMALL_RECIPE, base=base, report=seen.append)
    assert [step.step for step in seen] == [3, 4, 5, 6]
    assert losses(out) == pytest.approx([step.loss for step in small_run.steps], abs=1e-5)


def test_a_finished_run_does_nothing(
    prepared: PreparedDir, base: BaseModel, finished: RunDir
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.adapter.iterdir()}
    seen: list[Step] = []
    stamp = train(prepared, finished, recipe=SMALL_RECIPE, base=base, report=seen.append)
    assert seen == []
    assert stamp == finished.stamp()
    assert {path: path.stat().st_mtime_ns for path in finished.adapter.iterdir()} == before


def test_a_changed_gate_is_no_reason_to_train_again(
    prepared: PreparedDir, base: BaseModel, finished: RunDir
) -> None:
    chosen = recipe.load(finished.recipe, ["eval.gates.stop_rate_min=0.5"])
    seen: list[Step] = []
    train(prepared, finished, recipe=chosen, base=base, report=seen.append)
    assert seen == []
    assert recipe.load(finished.recipe) == chosen


def test_a_changed_learning_rate_is_a_reason_to_train_again(
    prepared: PreparedDir, base: BaseModel, finished: RunDir
) -> None:
    old, chosen = finished.stamp(), changed(learning_rate=0.001, epochs=1)
    assert not is_done(prepared, finished, chosen, base)
    seen: list[Step] = []
    stamp = train(prepared, finished, recipe=chosen, base=base, report=seen.append)
    assert [step.step for step in seen] == [1, 2]
    assert len(losses(finished)) == 2
    assert stamp.adapter_digest != old.adapter_digest
    assert is_done(prepared, finished, chosen, base)


def test_changed_data_is_a_reason_to_train_again(
    base: BaseModel, finished: RunDir, own_recordings: Path, tmp_path: Path
) -> None:
    listed = own_recordings / "metadata.csv"
    listed.write_text(listed.read_text(encoding="utf-8").replace("number 3", "three"))
    data = PreparedDir(tmp_path / "data")
    prepare(Order([str(own_recordings)], "jack", base, recipe=SMALL_RECIPE), data)
    assert not is_done(data, finished, SMALL_RECIPE, base)


def test_a_stamp_of_another_version_is_no_finished_run(
    prepared: PreparedDir, base: BaseModel, finished: RunDir
) -> None:
    disk.write_json(finished.stamp_file, {"voice": "jack"})
    assert not is_done(prepared, finished, SMALL_RECIPE, base)
    stamp = train(prepared, finished, recipe=SMALL_RECIPE, base=base)
    assert isinstance(stamp, RunStamp)
    assert finished.stamp() == stamp


@pytest.fixture
def poisoned(base: BaseModel, tmp_path: Path) -> BaseModel:
    """nano with a weight that is not a number."""
    path = Path(shutil.copytree(base.path, tmp_path / "poisoned"))
    weights = load_file(path / "model.safetensors")
    weights["model.norm.weight"][0] = math.nan
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    return models.locate(str(path))


def test_a_loss_that_is_not_a_number_names_the_step_and_the_rows(
    poisoned: BaseModel, recordings: Path, out: RunDir, tmp_path: Path
) -> None:
    data = PreparedDir(tmp_path / "data")
    prepare(Order([str(recordings)], "jack", poisoned, recipe=SMALL_RECIPE), data)
    with pytest.raises(TrainingError, match=r"step 1: the loss is nan on .*rows \[.*learning_rate"):
        train(data, out, recipe=SMALL_RECIPE, base=poisoned)
    assert not out.stamp_file.exists()


def test_a_rate_that_blows_the_weights_up_is_an_error_and_leaves_no_stamp(
    prepared: PreparedDir, base: BaseModel, out: RunDir
) -> None:
    chosen = changed(learning_rate=1e30, batch_size=1)
    with pytest.raises(
        TrainingError, match=r"step 3: the loss is nan .*lower train\.learning_rate"
    ):
        train(prepared, out, recipe=chosen, base=base)
    assert not out.stamp_file.exists()


def test_weights_that_blow_up_in_the_last_step_are_an_error_too(
    prepared: PreparedDir, base: BaseModel, out: RunDir
) -> None:
    chosen = changed(learning_rate=1e30, epochs=1, batch_size=5, warmup_steps=0)
    with pytest.raises(TrainingError, match=r"held-out loss is nan.*lower train.learning_rate"):
        train(prepared, out, recipe=chosen, base=base)
    assert not out.stamp_file.exists()
    assert not out.adapter.exists()


def test_nothing_holds_the_base_when_memory_is_given_back(
    prepared: PreparedDir, base: BaseModel, out: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def living() -> int:
        return sum(issubclass(type(one), PeftModel) for one in gc.get_objects())

    gpu.give_back()
    before, found = living(), list[int]()
    give_back = gpu.give_back

    def counted() -> None:
        give_back()
        found.append(living())

    monkeypatch.setattr(gpu, "give_back", counted)
    train(prepared, out, recipe=changed(epochs=1), base=base)
    assert found == [before]


def test_data_prepared_for_another_base_is_refused(
    prepared: PreparedDir, base: BaseModel, out: RunDir
) -> None:
    for other in (replace(base, digest="0" * 64), replace(base, codec_digest="0" * 64)):
        with pytest.raises(
            ArtifactError, match=r"was prepared for nano .*prepare again with --base"
        ):
            train(prepared, out, recipe=SMALL_RECIPE, base=other)
    assert not out.root.exists()


def test_data_that_was_not_prepared_names_the_command(
    base: BaseModel, out: RunDir, tmp_path: Path
) -> None:
    with pytest.raises(
        ArtifactError, match=r"prepared.json is missing; run: orpheus-clone prepare"
    ):
        train(PreparedDir(tmp_path), out, recipe=SMALL_RECIPE, base=base)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x80\x02cos\nsystem\n."])
def test_a_damaged_checkpoint_says_how_to_go_on(
    prepared: PreparedDir, base: BaseModel, finished: RunDir, content: bytes
) -> None:
    finished.stamp_file.unlink()
    (finished.checkpoints / "step-00000006" / "state.pt").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"step-00000006: is damaged .*delete it to go on"):
        train(prepared, finished, recipe=SMALL_RECIPE, base=base)
    shutil.rmtree(finished.checkpoints / "step-00000006")
    seen: list[Step] = []
    train(prepared, finished, recipe=SMALL_RECIPE, base=base, report=seen.append)
    assert [step.step for step in seen] == [5, 6]


@pytest.mark.parametrize("kib", [16, 200, 320])
def test_a_full_disk_says_so_and_the_run_goes_on_elsewhere(
    small_disk: Callable[[int], Path],
    small_run: SmallRun,
    prepared: PreparedDir,
    base: BaseModel,
    tmp_path: Path,
    kib: int,
) -> None:
    out = RunDir(small_disk(kib) / "jack")
    with pytest.raises(MachineError, match=r"cannot write .*: No space left on device; free some"):
        train(prepared, out, recipe=SMALL_RECIPE, base=base)
    assert not out.stamp_file.exists()
    moved = RunDir(Path(shutil.copytree(out.root, tmp_path / "moved")))
    train(prepared, moved, recipe=SMALL_RECIPE, base=base)
    assert moved.stamp().adapter_digest == small_run.dir.stamp().adapter_digest


@pytest.fixture
def fresh_accelerate() -> Iterator[None]:
    """accelerate fixes the precision for a process, as no user's process minds; its own tests
    forget it in this way."""
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


def test_bf16_trains_too(
    prepared: PreparedDir, base: BaseModel, out: RunDir, fresh_accelerate: None
) -> None:
    with pytest.raises(Interrupt):
        train(prepared, out, recipe=changed(precision="bf16"), base=base, report=stop_after(1, []))
    assert losses(out)[0] == pytest.approx(math.log(28_684), abs=1.0)
