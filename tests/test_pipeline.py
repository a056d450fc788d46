"""clone: from recordings to a published voice, again, after a change, and after being killed."""

import fcntl
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orpheus_clone.models import BaseModel
from orpheus_clone.store import Canary, open_store
from tests.commands import Done, run
from tests.waiting import eventually

ROOT = Path(__file__).parents[1]
SMOKE = str(ROOT / "recipes" / "smoke.yaml")
OVERRIDES = (
    "train.epochs=2",
    "train.warmup_steps=1",
    "eval.prompts=2",
    "eval.sweep=[]",
    "eval.adapters=1",
    "eval.max_seconds=0.3",
    "eval.gates.stream_rate_min=0.01",
    "eval.gates.first_speech_p50_ms=60000.0",
)
QUICK = ["--recipe", SMOKE, *(word for override in OVERRIDES for word in ("--set", override))]
VOICE = "jack"


def command(recordings: Path, out: Path, *more: str) -> list[str]:
    where = ["--voice", VOICE, "--base", "nano", "--out", str(out), "--engine", "hf"]
    return ["clone", str(recordings), *where, *QUICK, *more, "--json"]


def clone(recordings: Path, out: Path, *more: str) -> Done:
    return run(*command(recordings, out, *more))


@pytest.fixture(scope="module")
def cloned(
    recordings: Path, base: BaseModel, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Where the small corpus was cloned, and what the command printed; not to be changed."""
    out = tmp_path_factory.mktemp("cloned") / VOICE
    done = clone(recordings, out)
    assert done.code == 0, done.err
    return out, done.json


@pytest.fixture
def copy(cloned: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of the finished clone that a test may go on with."""
    return Path(shutil.copytree(cloned[0], tmp_path / VOICE))


def test_recordings_become_a_voice_in_one_command(cloned: tuple[Path, dict[str, Any]]) -> None:
    out, result = cloned
    assert result["stages_run"] == ["prepare", "train", "eval"]
    assert (result["voice"], result["verdict"], result["bundle"]) == (VOICE, "unproven", None)
    assert Path(result["report"]).is_file()
    assert (out / "run" / "loss.png").is_file()
    assert (out / "run" / "adapter" / "adapter_model.safetensors").is_file()


def test_the_same_command_again_does_nothing(recordings: Path, copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    done = clone(recordings, copy)
    assert done.json["stages_run"] == []
    assert done.said.count("was done before") == 3
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_a_changed_transcript_is_a_reason_to_begin_with_prepare(
    own_recordings: Path, recordings: Path, tmp_path: Path
) -> None:
    out = tmp_path / VOICE
    assert clone(own_recordings, out).json["stages_run"] == ["prepare", "train", "eval"]
    transcripts = own_recordings / "metadata.csv"
    text = transcripts.read_text(encoding="utf-8")
    transcripts.write_text(text.replace("Sentence", "Line"), encoding="utf-8")
    assert clone(own_recordings, out).json["stages_run"] == ["prepare", "train", "eval"]
    assert clone(own_recordings, out).json["stages_run"] == []


def test_a_changed_gate_is_a_reason_for_eval_alone(recordings: Path, copy: Path) -> None:
    changed = ("--set", "eval.gates.first_speech_p50_ms=50000.0")
    assert clone(recordings, copy, *changed).json["stages_run"] == ["eval"]
    assert clone(recordings, copy, *changed).json["stages_run"] == []


def test_a_failed_gate_ends_with_1_and_names_the_report(recordings: Path, copy: Path) -> None:
    done = clone(recordings, copy, "--set", "eval.gates.stream_rate_min=1e9")
    assert (done.code, done.out) == (1, "")
    assert f"a gate failed; see {copy / 'run' / 'eval' / 'report.html'}" in done.err
    store = copy.parent / "store"
    refused = clone(
        recordings, copy, "--set", "eval.gates.stream_rate_min=1e9", "--publish-to", str(store)
    )
    assert (refused.code, "not published: stream rate P5 failed" in refused.said) == (1, True)
    assert not store.exists()


def test_publishing_is_the_last_stage_and_is_not_redone_either(
    recordings: Path, copy: Path
) -> None:
    store = copy.parent / "store"
    first = clone(recordings, copy, "--publish-to", str(store)).json
    assert first["stages_run"] == ["publish"]
    assert open_store(store).pointer(VOICE).current == first["bundle"]
    again = clone(recordings, copy, "--publish-to", str(store)).json
    assert (again["stages_run"], again["bundle"]) == ([], first["bundle"])


def test_a_canary_is_published_as_one_and_signed(recordings: Path, copy: Path) -> None:
    store = copy.parent / "store"
    to = ["--publish-to", str(store)]
    name = clone(recordings, copy, *to, "--canary", "0%", "--by", "night job").json["bundle"]
    seen = open_store(store).see(VOICE)
    assert (seen.pointer.canary, seen.moves[0].by) == (Canary(name, 0.0), "night job")


@pytest.mark.parametrize("option", [["--canary", "10%"], ["--by", "ci"]])
def test_how_to_publish_without_a_place_is_wrong_usage(
    recordings: Path, tmp_path: Path, option: list[str]
) -> None:
    done = clone(recordings, tmp_path / VOICE, *option)
    assert (done.code, "are about what --publish-to publishes" in done.said) == (2, True)


def test_a_directory_of_another_voice_is_made_anew(recordings: Path, copy: Path) -> None:
    where = ["--voice", "tom", "--base", "nano", "--out", str(copy), "--engine", "hf", *QUICK]
    done = run("clone", str(recordings), *where, "--json")
    assert done.json["stages_run"] == ["prepare", "train", "eval"]
    assert done.json["voice"] == "tom"


def killed_when(arguments: list[str], log: Path, moment: Callable[[str], object], what: str) -> str:
    """Start the command, SIGKILL it at the moment, and return what it had said by then."""
    with log.open("wb") as talk:
        process = subprocess.Popen(
            [sys.executable, "-m", "orpheus_clone", *arguments], stdout=subprocess.PIPE, stderr=talk
        )
    assert process.stdout is not None
    with process.stdout:
        try:
            eventually(
                lambda: process.poll() is not None or moment(log.read_text(encoding="utf-8")),
                120,
                what,
            )
            assert process.poll() is None, log.read_text(encoding="utf-8")
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    return log.read_text(encoding="utf-8")


@pytest.mark.timeout(300)
def test_killed_in_every_stage_it_goes_on_and_redoes_no_finished_one(
    recordings: Path, base: BaseModel, tmp_path: Path
) -> None:
    out, store, log = tmp_path / VOICE, tmp_path / "store", tmp_path / "log"
    arguments = command(recordings, out, "--publish-to", str(store))

    said = killed_when(arguments, log, lambda _: remembered(out), "prepare")
    assert not (out / "data" / "prepared.json").exists()
    kept = remembered(out)

    said = killed_when(arguments, log, lambda _: steps(out / "run" / "metrics.jsonl"), "train")
    assert "prepare: done" in said
    assert not (out / "run" / "run.json").exists()
    assert kept.items() <= remembered(out).items(), "a clip was made twice"

    said = killed_when(arguments, log, lambda talk: "starting the hf engine" in talk, "eval")
    assert "prepare: was done before" in said
    assert "train: done" in said
    assert not (out / "run" / "eval").exists()

    store.mkdir()
    with (store / ".lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # publish waits here, with the bundle half-way in
        said = killed_when(arguments, log, lambda _: any(store.glob("bundles/jack@*")), "publish")
    assert "train: was done before" in said
    assert "eval: done" in said
    assert open_store(store).pointer(VOICE).current is None

    last = subprocess.run(
        [sys.executable, "-m", "orpheus_clone", *arguments], capture_output=True, check=True
    )
    result = json.loads(last.stdout)
    assert result["stages_run"] == ["publish"]
    assert open_store(store).pointer(VOICE).current == result["bundle"]
    assert open_store(store).read(result["bundle"]).card.proof == "unproven"


def remembered(out: Path) -> dict[Path, int]:
    """The clips that prepare has finished, and when."""
    return {path: path.stat().st_mtime_ns for path in out.glob("data/cache/codes/[!.]*")}


def steps(metrics: Path) -> int:
    return len(metrics.read_text(encoding="utf-8").splitlines()) if metrics.is_file() else 0
