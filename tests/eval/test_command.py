"""`eval` as it is typed: beside another run, against another run, and in a batch with one."""

import json
import shutil
from pathlib import Path

import pytest

from orpheus_clone.layout import RunDir
from tests.commands import Done, run
from tests.eval.test_network import lively

CHEAP = (
    "prompts=2",
    "concurrency=2",
    "max_seconds=0.2",
    "speed_target=cpu",
    "sweep=[]",
    "adapters=2",
    "gates.stream_rate_min=0.001",
)
SETTINGS = [
    *(word for override in CHEAP for word in ("--set", f"eval.{override}")),
    *(word for judge in ("asr", "speaker", "mos") for word in ("--set", f"judges.{judge}=none")),
]


def evaluate(where: Path, *more: str) -> Done:
    return run("eval", str(where), "--engine", "hf", *SETTINGS, *more)


@pytest.fixture(scope="module")
def evaluated(run_dir: RunDir, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was evaluated; not to be changed."""
    where = Path(shutil.copytree(run_dir.root, tmp_path_factory.mktemp("evaluated") / "run"))
    done = evaluate(where, "--with", str(run_dir.root), "--json")
    assert done.code == 0, done.err
    assert done.json["voice"] == "jack"
    assert done.json["verdict"] == "unproven"
    assert done.json["real_time_streams"] in (0, 2)
    assert done.json["against"] is None
    return where


@pytest.fixture
def copies(evaluated: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two copies of it, to be compared."""
    mine = Path(shutil.copytree(evaluated, tmp_path / "mine"))
    return mine, Path(shutil.copytree(evaluated, tmp_path / "other"))


def test_a_run_shares_the_batch_with_another(evaluated: Path) -> None:
    report = json.loads((evaluated / "eval" / "report.json").read_text(encoding="utf-8"))
    assert report["shared"]["adapters"] == 2
    assert (evaluated / "eval" / "junit.xml").read_text(encoding="utf-8").count("<testcase") == 14


def test_what_was_evaluated_by_just_these_settings_is_compared_without_speaking(
    copies: tuple[Path, Path], run_dir: RunDir
) -> None:
    mine, other = copies
    clip = mine / "eval" / "clips" / "prompts" / "001.flac"
    before = clip.stat().st_mtime_ns
    done = evaluate(mine, "--with", str(run_dir.root), "--against", str(other), "--json")
    assert done.code == 0, done.err
    assert clip.stat().st_mtime_ns == before
    assert "starting the hf engine" not in done.err
    assert done.json["against"]["other"] == str(other)
    assert {row["result"] for row in done.json["against"]["rows"]} == {"unclear"}


def test_a_comparison_is_a_table_for_people(copies: tuple[Path, Path], run_dir: RunDir) -> None:
    mine, other = copies
    shown = evaluate(mine, "--with", str(run_dir.root), "--against", str(other))
    assert "stream rate P5" in shown.out
    assert "unclear" in shown.out
    assert "unproven; listen:" in shown.said


def test_what_was_evaluated_is_not_spoken_again_but_the_way_to_a_node_is_measured(
    copies: tuple[Path, Path], run_dir: RunDir
) -> None:
    mine, other = copies
    beside = ("--with", str(run_dir.root))
    done = evaluate(mine, *beside)
    assert "starting the hf engine" not in done.err
    assert f"to speak and measure anew, delete {mine / 'eval'}" in done.said
    with lively() as node:
        assert evaluate(mine, *beside, "--against", str(other), "--node", node).code == 0
    report = json.loads((mine / "eval" / "report.json").read_text(encoding="utf-8"))
    assert report["network_ms"] > 0
    assert report["against"]["other"] == str(other)


def test_a_run_that_was_not_evaluated_is_named_before_anything_is_spoken(
    copies: tuple[Path, Path], run_dir: RunDir
) -> None:
    done = evaluate(copies[0], "--against", str(run_dir.root))
    assert done.code == 4
    assert f"run: orpheus-clone eval {run_dir.root}" in done.said
    assert "starting" not in done.err


def test_a_node_that_is_not_there_is_named_before_anything_is_spoken(evaluated: Path) -> None:
    done = evaluate(evaluated, "--node", "http://127.0.0.1:9")
    assert (done.code, "is the node up" in done.said) == (6, True)
    assert "starting" not in done.err
