"""Signals, sent to real processes and to this one."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orpheus_clone import recipe
from orpheus_clone.errors import Interrupted
from orpheus_clone.layout import PreparedDir, RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.train import interrupt
from orpheus_clone.train.metrics import Step
from orpheus_clone.train.run import train
from tests.conftest import SMALL_RECIPE, SmallRun
from tests.waiting import eventually

SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@SIGNALS
def test_a_signal_saves_the_step_and_the_run_ends_as_if_there_had_been_none(
    small_run: SmallRun,
    prepared: PreparedDir,
    base: BaseModel,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    out, seen = RunDir(tmp_path / "jack"), list[Step]()

    def report(step: Step) -> None:
        seen.append(step)
        if step.step == 2:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match=f"ended by {number.name}.*same command") as ended:
        train(prepared, out, recipe=SMALL_RECIPE, base=base, report=report)
    assert ended.value.exit_code == 128 + number
    # The second step ends an epoch, after whose checkpoint nothing would be lost: it ends there.
    assert [path.name for path in out.checkpoints.iterdir()] == ["step-00000002"]
    assert not out.stamp_file.exists()
    train(prepared, out, recipe=SMALL_RECIPE, base=base, report=seen.append)
    assert [step.loss for step in seen] == [step.loss for step in small_run.steps]
    assert out.stamp().adapter_digest == small_run.dir.stamp().adapter_digest


def test_a_signal_within_an_epoch_is_heeded_after_the_step_that_was_running(
    prepared: PreparedDir, base: BaseModel, tmp_path: Path
) -> None:
    out = RunDir(tmp_path / "jack")
    changed = {"batch_size": 1, "checkpoint_steps": 99}
    chosen = SMALL_RECIPE.train.model_copy(update=changed)
    apart = SMALL_RECIPE.model_copy(update={"train": chosen})
    with pytest.raises(Interrupted):
        train(prepared, out, recipe=apart, base=base, report=lambda step: _kill_at(step, 2))
    assert out.metrics.read_text(encoding="utf-8").count("\n") == 3
    assert [path.name for path in out.checkpoints.iterdir()] == ["step-00000003"]


def _kill_at(step: Step, number: int) -> None:
    if step.step == number:
        os.kill(os.getpid(), signal.SIGTERM)


def test_the_command_exits_as_shells_expect_and_says_how_to_go_on(
    prepared: PreparedDir, tmp_path: Path
) -> None:
    out, chosen = RunDir(tmp_path / "jack"), tmp_path / "long.yaml"
    long = SMALL_RECIPE.train.model_copy(update={"epochs": 5000, "checkpoint_steps": 9999})
    chosen.write_text(recipe.dump(SMALL_RECIPE.model_copy(update={"train": long})))
    command = [sys.executable, "-m", "orpheus_clone", "train", str(prepared.root)]
    command += ["--out", str(out.root), "--recipe", str(chosen)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: out.metrics.is_file() and out.metrics.stat().st_size, 120, "a step")
        process.terminate()
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert "ended by SIGTERM; all is saved: run the same command again to go on" in said
    steps = out.metrics.read_text(encoding="utf-8").count("\n")
    assert (out.checkpoints / f"step-{steps:08d}").is_dir()


@SIGNALS
def test_a_second_signal_does_what_it_would_have_done(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interrupt.noticed() as asked:
        assert signal.getsignal(number) != before
        signal.raise_signal(number)
        assert asked.by is number
        assert signal.getsignal(number) == before


@SIGNALS
def test_of_several_processes_a_launchers_repeats_wait_for_the_step_too(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    before = [signal.getsignal(each) for each in interrupt.SIGNALS]
    with interrupt.noticed() as asked:
        signal.raise_signal(number)
        for repeat in (signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(repeat)
        assert asked.by is number
    assert [signal.getsignal(each) for each in interrupt.SIGNALS] == before


def test_a_repeat_while_such_a_process_ends_does_not_end_it_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(Interrupted), interrupt.noticed() as asked, asked.safe():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGTERM)
            assert asked.by is signal.SIGINT


def test_a_block_with_nothing_to_lose_ends_at_once() -> None:
    with pytest.raises(Interrupted), interrupt.noticed() as asked, asked.safe():
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("went on")  # pragma: no cover


def test_a_signal_from_before_such_a_block_ends_it_before_it_begins() -> None:
    with interrupt.noticed() as asked:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted), asked.safe():
            pytest.fail("began")  # pragma: no cover


def test_handlers_are_given_back() -> None:
    before = [signal.getsignal(number) for number in interrupt.SIGNALS]
    with interrupt.noticed() as asked:
        with asked.safe():
            pass
        assert not asked.is_safe
    assert [signal.getsignal(number) for number in interrupt.SIGNALS] == before


def test_a_thread_which_signals_never_reach_trains_without_handlers() -> None:
    found: list[object] = []

    def look() -> None:
        with interrupt.noticed() as asked:
            found.append(asked.by)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [None]
