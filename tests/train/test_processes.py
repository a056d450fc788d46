"""Several processes with one recipe take the steps that one takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from orpheus_clone import recipe
from orpheus_clone.errors import MachineError
from orpheus_clone.layout import PreparedDir, RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.train.run import train
from tests.commands import run
from tests.conftest import DATA_SAMPLES, SMALL_RECIPE, SmallRun


def test_two_processes_have_the_losses_and_the_adapter_of_one(
    small_run: SmallRun, prepared: PreparedDir, tmp_path: Path
) -> None:
    out, chosen = RunDir(tmp_path / "jack"), tmp_path / "small.yaml"
    # A clip to a row: of three clips one process has two rows, the other one and one for nothing.
    short = SMALL_RECIPE.train.model_copy(update={"row_tokens": 64})
    chosen.write_text(recipe.dump(SMALL_RECIPE.model_copy(update={"train": short})))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command = ["-m", "orpheus_clone", "train", str(prepared.root), "--out", str(out.root)]
    done = subprocess.run(
        [*launch, *command, "--recipe", str(chosen), "--json"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 6  # one of them tells
    lines = [json.loads(line) for line in out.metrics.read_text(encoding="utf-8").splitlines()]
    for name in ("step", "loss", "grad_norm", "heldout_loss"):
        alone = [getattr(step, name) for step in small_run.steps]
        assert [line[name] for line in lines] == [pytest.approx(value, abs=1e-4) for value in alone]
    ours, alone_weights = (
        load_file(run.adapter / "adapter_model.safetensors") for run in (out, small_run.dir)
    )
    assert ours.keys() == alone_weights.keys()
    for name, tensor in ours.items():
        assert float((tensor - alone_weights[name]).abs().max()) < 1e-3, name


@pytest.mark.parametrize("launcher", ["FSDP", "DEEPSPEED"])
def test_a_launcher_that_wants_the_base_in_parts_is_refused(
    prepared: PreparedDir,
    base: BaseModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    launcher: str,
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{launcher}", "true")
    with pytest.raises(MachineError, match=f"{launcher}, which train cannot.*quantize=nf4"):
        train(prepared, RunDir(tmp_path / "jack"), recipe=SMALL_RECIPE, base=base)


def test_clone_is_not_for_several_processes(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    out = tmp_path / "jack"
    done = run("clone", str(DATA_SAMPLES), "--voice", "jack", "--base", "nano", "--out", str(out))
    assert done.code == 2
    assert "run prepare by itself, then train with the launcher" in done.said
    assert not out.exists()
