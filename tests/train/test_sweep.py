"""recipes/sweep.py: a grid on the small corpus."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from orpheus_clone import recipe
from orpheus_clone.layout import PreparedDir, RunDir
from tests.conftest import SMALL_RECIPE

SWEEP = Path(__file__).parents[2] / "recipes" / "sweep.py"


def test_a_grid_is_trained_once_and_told_best_first(
    prepared: PreparedDir,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, rest = tmp_path / "sweep", tmp_path / "small.yaml"
    rest.write_text(recipe.dump(SMALL_RECIPE), encoding="utf-8")

    def sweep(*rates: str) -> list[dict[str, object]]:
        command = ["sweep.py", str(prepared.root), str(out), "--rates", *rates, "--epochs", "1"]
        monkeypatch.setattr(sys, "argv", [*command, "--recipe", str(rest)])
        runpy.run_path(str(SWEEP), run_name="__main__")
        rows: list[dict[str, object]] = json.loads((out / "sweep.json").read_text())
        return rows

    first = sweep("0.0001")
    stamp = RunDir(out / "rate-0.0001-epochs-1").stamp_file
    written = stamp.stat().st_mtime_ns
    rows = sweep("0.0001", "0.02")
    assert stamp.stat().st_mtime_ns == written
    assert [row["rate"] for row in rows] == [0.02, 0.0001]  # 0.0001 teaches nothing in two steps
    assert rows[1] == first[0]
    for row in rows:
        assert row["heldout_loss"] == RunDir(Path(str(row["run"]))).stamp().heldout_loss
        assert (row["epochs"], row["epoch"], row["steps"]) == (1, 1, 2)
    assert "heldout loss" in capsys.readouterr().out
