"""Epochs kept, heard and chosen from, through train's front door, with real judges.

nano's weights are random, so what it speaks is noise. Here it is listened to all the same, as a
base that learnt to speak would be: figures of noise are as repeatable as those of speech.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import pytest

from orpheus_clone import disk, quality, recipe
from orpheus_clone.errors import ArtifactError, MachineError, RecipeError
from orpheus_clone.layout import PreparedDir, RunDir, RunStamp
from orpheus_clone.listening import reference
from orpheus_clone.listening.figures import RANDOM_BASE
from orpheus_clone.models import BaseModel
from orpheus_clone.quality import Mos
from orpheus_clone.recipe import Recipe
from orpheus_clone.train import report
from orpheus_clone.train import run as train_run
from orpheus_clone.train.loop import Loop
from orpheus_clone.train.metrics import Step
from orpheus_clone.train.run import is_done, train
from tests import judges
from tests.conftest import SMALL_RECIPE, SmallRun

PROMPTS = 2
SELECTION = {"prompts": PROMPTS, "patience": None}


def small(sampled_s: float = 0.5, **selection: object) -> Recipe:
    """The small recipe, of which each epoch says two short prompts."""
    chosen = SMALL_RECIPE.train.selection.model_copy(update=SELECTION | selection)
    trained = SMALL_RECIPE.train.model_copy(update={"selection": chosen})
    sampling = SMALL_RECIPE.sampling.model_copy(update={"max_seconds": sampled_s})
    return SMALL_RECIPE.model_copy(update={"train": trained, "sampling": sampling})


def judged(settings: Recipe) -> Recipe:
    listening = recipe.load(
        None, [f"judges.asr={judges.whisper_dir()}", f"judges.speaker={judges.ecapa_file()}"]
    ).judges
    return settings.model_copy(update={"judges": listening})


@pytest.fixture(scope="session")
def talkative(base: BaseModel) -> BaseModel:
    return replace(base, is_random=False)


@dataclass(frozen=True)
class HeardRun:
    """A finished run, and what it said on the way."""

    dir: RunDir
    stamp: RunStamp
    steps: list[Step]
    lines: list[str]
    recipe: Recipe


@pytest.fixture(scope="module")
def heard(
    prepared: PreparedDir, talkative: BaseModel, tmp_path_factory: pytest.TempPathFactory
) -> HeardRun:
    """Not to be changed."""
    out = RunDir(tmp_path_factory.mktemp("heard") / "jack")
    steps: list[Step] = []
    lines: list[str] = []
    chosen = judged(small())
    stamp = train(
        prepared, out, recipe=chosen, base=talkative, report=steps.append, say=lines.append
    )
    return HeardRun(out, stamp, steps, lines, chosen)


@pytest.fixture
def own(heard: HeardRun, tmp_path: Path) -> RunDir:
    """A copy that a test may change."""
    return RunDir(Path(copytree(heard.dir.root, tmp_path / "jack")))


def table(run: RunDir) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(run.epochs_table.read_text(encoding="utf-8"))
    return data


def voices(run: RunDir) -> dict[str, bytes]:
    """Every file of every epoch."""
    return {
        str(path.relative_to(run.epochs)): path.read_bytes()
        for path in sorted(run.epochs.rglob("*"))
        if path.is_file()
    }


def spoke(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if line.endswith("is heard")]


def test_every_epoch_is_kept_and_heard(heard: HeardRun) -> None:
    for number in (1, 2, 3):
        files = [name for name in voices(heard.dir) if name.startswith(f"epoch-{number}/")]
        assert files == [
            f"epoch-{number}/adapter_config.json",
            f"epoch-{number}/adapter_model.safetensors",
            f"epoch-{number}/spoken/001.flac",
            f"epoch-{number}/spoken/002.flac",
            f"epoch-{number}/spoken/heard.json",
        ]
    assert spoke(heard.lines) == [f"epoch {n} is heard" for n in (1, 2, 3)]
    assert "epoch 2 speaks: 1 of 2 prompts" in heard.lines


def test_the_chosen_epoch_is_the_voice(heard: HeardRun) -> None:
    stamp, run = heard.stamp, heard.dir
    folder = run.epochs / f"epoch-{stamp.epoch}"
    for path in run.adapter.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()
    assert stamp.adapter_digest == disk.sha256_file(folder / "adapter_model.safetensors")
    assert table(run)["chosen"] == stamp.epoch
    losses = [step.heldout_loss for step in heard.steps if step.heldout_loss is not None]
    assert stamp.heldout_loss == pytest.approx(losses[stamp.epoch - 1], abs=1e-6)
    assert (stamp.steps, stamp.epochs) == (6, 3)


def test_the_table_has_every_figure_of_every_epoch(heard: HeardRun) -> None:
    note, rows = report.read_rows(heard.dir)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert [row["chosen"] for row in rows].count("chosen") == 1
    for row, steps in zip(rows, (heard.steps[:2], heard.steps[2:4], heard.steps[4:]), strict=True):
        assert row["loss"] == pytest.approx(sum(step.loss for step in steps) / 2, abs=1e-6)
        assert row["heldout_loss"] == pytest.approx(steps[-1].heldout_loss, abs=1e-6)
        assert row["stop_rate"] == 0.0
        assert row["wer"] is not None and row["similarity"] is not None
        assert "stop_rate" in row["misses"]
    assert note.startswith("no epoch is within all limits")


def test_the_page_plays_what_every_epoch_said(heard: HeardRun) -> None:
    page = heard.dir.train_report.read_text(encoding="utf-8")
    for number in (1, 2, 3):
        for file in ("001.flac", "002.flac"):
            source = f"epochs/epoch-{number}/spoken/{file}"
            assert f'src="{source}"' in page
            assert (heard.dir.root / source).is_file()
    assert "data:image/png;base64," in page
    assert "did not stop" in page
    assert 'src="reference/001.flac"' in page


def test_speaking_between_epochs_changes_nothing_that_is_learnt(
    heard: HeardRun, small_run: SmallRun
) -> None:
    def learnt(steps: Sequence[Step]) -> list[tuple[float, float, float | None]]:
        return [(step.loss, step.grad_norm, step.heldout_loss) for step in steps]

    assert learnt(heard.steps) == learnt(small_run.steps)
    last = (heard.dir.epochs / "epoch-3" / "adapter_model.safetensors").read_bytes()
    assert last == (small_run.dir.epochs / "epoch-3" / "adapter_model.safetensors").read_bytes()


def test_an_epoch_that_is_asked_again_says_the_same_and_no_other_speaks(
    heard: HeardRun, own: RunDir, prepared: PreparedDir, talkative: BaseModel
) -> None:
    own.stamp_file.unlink()
    rmtree(own.epochs / "epoch-2" / "spoken")
    steps: list[Step] = []
    lines: list[str] = []
    chosen = heard.recipe
    # The last epoch's end is where the run goes on; what it lacks is an earlier one's voice.
    rmtree(own.checkpoints / "step-00000006")
    stamp = train(
        prepared, own, recipe=chosen, base=talkative, report=steps.append, say=lines.append
    )
    assert [step.step for step in steps] == [5, 6]
    assert spoke(lines) == ["epoch 2 is heard"]
    assert voices(own) == voices(heard.dir)
    assert table(own) == table(heard.dir)
    assert stamp.adapter_digest == heard.stamp.adapter_digest


@pytest.fixture(scope="module")
def plain(
    prepared: PreparedDir, talkative: BaseModel, tmp_path_factory: pytest.TempPathFactory
) -> RunDir:
    """A run that nobody judged and nothing interrupted; not to be changed."""
    out = RunDir(tmp_path_factory.mktemp("plain") / "jack")
    train(prepared, out, recipe=small(0.2), base=talkative)
    return out


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_killed_while_an_epoch_spoke_ends_as_if_it_had_not_been(
    plain: RunDir,
    prepared: PreparedDir,
    talkative: BaseModel,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    script = (
        "import os, sys\n"
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "from orpheus_clone import models\n"
        "from orpheus_clone.errors import Interrupted\n"
        "from orpheus_clone.layout import PreparedDir, RunDir\n"
        "from orpheus_clone.train.run import train\n"
        "from tests.train.test_epochs import small\n"
        "data, out, number = sys.argv[1:]\n"
        "def say(line):\n"
        "    if line.startswith('epoch 2 speaks: 1'):\n"
        "        os.kill(os.getpid(), int(number))\n"
        "base = replace(models.locate('nano'), is_random=False)\n"
        "data, out = PreparedDir(Path(data)), RunDir(Path(out))\n"
        "try:\n"
        "    train(data, out, recipe=small(0.2), base=base, say=say)\n"
        "except Interrupted:\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    out = RunDir(tmp_path / "killed")
    command = [sys.executable, "-c", script, str(prepared.root), str(out.root), str(int(number))]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], check=False, timeout=200)
    assert done.returncode == -signal.SIGKILL
    assert not (out.epochs / "epoch-2" / "spoken").exists()
    lines: list[str] = []
    steps: list[Step] = []
    train(prepared, out, recipe=small(0.2), base=talkative, report=steps.append, say=lines.append)
    assert [step.step for step in steps] == [5, 6]
    assert spoke(lines) == ["epoch 2 is heard", "epoch 3 is heard"]
    assert table(out) == table(plain)
    assert voices(out) == voices(plain)
    assert out.stamp().adapter_digest == plain.stamp().adapter_digest


def test_other_limits_choose_anew_and_nobody_learns_or_speaks(
    heard: HeardRun, own: RunDir, prepared: PreparedDir, talkative: BaseModel
) -> None:
    settings = small(stop_rate_min=None, wer_max=5.0, coverage_min=None, cut_rate_max=None)
    loosened = judged(settings)
    assert not is_done(prepared, own, loosened, talkative)
    steps: list[Step] = []
    lines: list[str] = []
    train(prepared, own, recipe=loosened, base=talkative, report=steps.append, say=lines.append)
    assert (steps, lines) == ([], [])
    assert is_done(prepared, own, loosened, talkative)
    assert table(own)["limits"] != table(heard.dir)["limits"]
    _, rows = report.read_rows(own)
    assert all("stop_rate" not in row["misses"] for row in rows)


def test_another_sampling_lets_every_epoch_that_is_kept_speak_again(
    plain: RunDir, prepared: PreparedDir, talkative: BaseModel, tmp_path: Path
) -> None:
    out = RunDir(Path(copytree(plain.root, tmp_path / "jack")))
    rmtree(out.epochs / "epoch-2")
    steps: list[Step] = []
    lines: list[str] = []
    shorter = small(0.1)
    train(prepared, out, recipe=shorter, base=talkative, report=steps.append, say=lines.append)
    assert steps == []
    assert spoke(lines) == ["epoch 1 is heard", "epoch 3 is heard"]
    _, rows = report.read_rows(out)
    assert [(row["epoch"], row["stop_rate"]) for row in rows] == [(1, 0.0), (3, 0.0)]
    assert [row["step"] for row in rows] == [2, 6]
    assert out.stamp().epoch in (1, 3)


def test_training_ends_when_no_epoch_sounds_better(
    prepared: PreparedDir, talkative: BaseModel, tmp_path: Path
) -> None:
    def rows_of(name: str, patience: int | None) -> tuple[RunStamp, list[dict[str, Any]]]:
        settings = small(0.2, patience=patience)
        wild = {"learning_rate": 0.1, "warmup_steps": 0, "epochs": 4}
        chosen = settings.model_copy(update={"train": settings.train.model_copy(update=wild)})
        stamp = train(prepared, RunDir(tmp_path / name), recipe=chosen, base=talkative)
        return stamp, report.read_rows(RunDir(tmp_path / name))[1]

    _, whole = rows_of("whole", None)
    # Noise sounds alike in every epoch, so the loss decides which is best.
    losses = [row["heldout_loss"] for row in whole]
    ends = next(n for n in range(2, 5) if losses[n - 1] > min(losses[: n - 1]))
    assert ends < 4
    stamp, rows = rows_of("stopped", 1)
    assert [row["heldout_loss"] for row in rows] == losses[:ends]
    assert (stamp.steps, stamp.epochs, stamp.epoch) == (2 * ends, ends, ends - 1)
    run = RunDir(tmp_path / "stopped")
    kept = run.epochs / f"epoch-{ends - 1}" / "adapter_model.safetensors"
    assert stamp.adapter_digest == disk.sha256_file(kept)


def test_a_random_base_is_not_asked_to_speak_and_the_lowest_loss_is_chosen(
    small_run: SmallRun,
) -> None:
    run = small_run.dir
    losses = [step.heldout_loss for step in small_run.steps if step.heldout_loss is not None]
    assert run.stamp().epoch == losses.index(min(losses)) + 1
    assert not any("spoken" in name for name in voices(run))
    data = table(run)
    assert data["note"] == "chosen by its held-out loss alone: no epoch was heard"
    assert data["not_measured"] == [RANDOM_BASE]
    note, rows = report.read_rows(run)
    assert note == f"{data['note']}; {RANDOM_BASE}"
    assert [line["figure"] for line in report.by_figure(rows)] == ["loss", "heldout loss"]
    page = run.train_report.read_text(encoding="utf-8")
    assert RANDOM_BASE in page
    assert "<audio" not in page


def test_epochs_of_another_run_are_forgotten(
    own: RunDir, heard: HeardRun, prepared: PreparedDir, talkative: BaseModel
) -> None:
    settings = small(0.2)
    other = settings.train.model_copy(update={"seed": 1, "epochs": 1})
    train(prepared, own, recipe=settings.model_copy(update={"train": other}), base=talkative)
    assert {path.name for path in own.epochs.iterdir()} == {"epoch-1", "identity.txt"}
    before, after = voices(heard.dir), voices(own)
    name = "epoch-1/adapter_model.safetensors"
    assert after[name] != before[name]


def test_a_run_carries_the_speaker_it_was_heard_against(
    heard: HeardRun, prepared: PreparedDir
) -> None:
    assert len(reference.read(heard.dir).clips) == prepared.stamp().heldout


def test_a_judge_that_is_named_and_missing_ends_it_before_the_first_step(
    prepared: PreparedDir, talkative: BaseModel, tmp_path: Path
) -> None:
    listening = recipe.load(None, ["judges.asr=/nowhere/whisper"]).judges
    settings = small().model_copy(update={"judges": listening})
    steps: list[Step] = []
    with pytest.raises(RecipeError, match="/nowhere/whisper"):
        train(
            prepared,
            RunDir(tmp_path / "run"),
            recipe=settings,
            base=talkative,
            report=steps.append,
        )
    assert steps == []


class SecondOfTwo(Loop):
    """What a process has that is not the main one."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.is_main = False


def test_only_the_main_process_opens_judges(
    small_run: SmallRun,
    prepared: PreparedDir,
    talkative: BaseModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The main process wrote the run; here a judge that is opened is an error.
    out = RunDir(Path(copytree(small_run.dir.root, tmp_path / "run")))
    listening = recipe.load(None, ["judges.asr=/nowhere/whisper"]).judges
    settings = small().model_copy(update={"judges": listening})
    monkeypatch.setattr(train_run, "Loop", SecondOfTwo)
    assert train(prepared, out, recipe=settings, base=talkative) == out.stamp()
    monkeypatch.undo()
    with pytest.raises(RecipeError, match="/nowhere/whisper"):
        train(prepared, out, recipe=settings, base=talkative)


def test_a_judge_that_is_lost_on_the_way_ends_it_and_it_goes_on_where_the_judge_is_back(
    prepared: PreparedDir, talkative: BaseModel, tmp_path: Path
) -> None:
    listening = recipe.load(None, ["judges.asr=none", "judges.speaker=none"]).judges
    settings = small(0.2).model_copy(update={"judges": listening})
    out, lines, steps = RunDir(tmp_path / "run"), list[str](), list[Step]()

    def out_of_memory() -> Mos:
        raise MachineError("out of memory")

    with pytest.MonkeyPatch.context() as later:

        def say(line: str) -> None:
            if line.startswith("epoch 2 speaks"):
                later.setattr(quality, "load_mos", out_of_memory)

        with pytest.raises(MachineError, match=r"judges\.mos: not what .*out of memory"):
            train(prepared, out, recipe=settings, base=talkative, report=steps.append, say=say)
    train(prepared, out, recipe=settings, base=talkative, report=steps.append, say=lines.append)
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    assert spoke(lines) == ["epoch 2 is heard", "epoch 3 is heard"]


def test_a_damaged_account_of_an_epoch_says_what_to_do(
    heard: HeardRun, own: RunDir, prepared: PreparedDir, talkative: BaseModel
) -> None:
    own.stamp_file.unlink()
    path = own.epochs / "epoch-3" / "spoken" / "heard.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(
        ArtifactError, match=r"heard.json: is not what train wrote .*delete .*spoken"
    ):
        train(prepared, own, recipe=heard.recipe, base=talkative)
