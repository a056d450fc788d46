"""bench train: the same clips to both sides, memory counted by hand, and its figures' order."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from orpheus_clone import tokens
from orpheus_clone.bench import run as run_bench
from orpheus_clone.bench import train
from orpheus_clone.bench.train import Alive, Figures, clips, is_as_wide_as_a_vocabulary, ratios
from orpheus_clone.train.dataset import loss_tokens

GPU_SCRIPT = Path(__file__).parents[2] / "recipes" / "gpu" / "train.py"


def test_clips_are_whole_rows_of_the_lengths_that_prepare_cuts() -> None:
    rows = clips(9)
    frames = sorted((loss_tokens([row]) - 1) // tokens.FRAME for row in rows)
    assert frames[0] == round(2.0 * 24_000 / 2048)
    assert frames[-1] == round(10.0 * 24_000 / 2048)
    assert len(set(frames)) == 9
    assert clips(9) == rows
    assert all(row.input_ids[-2:] == [128_258, 128_262] for row in rows)


def test_bytes_are_counted_while_they_live_and_parameters_never() -> None:
    model = torch.nn.Linear(4, 10)
    with Alive(model, lambda _tensor: True) as alive:
        first = torch.zeros(10, 10)  # 400 bytes
        first.add_(1).view(-1)
        del first
        second = torch.zeros(5, 10)  # 200
        third = second + 1  # 200
        model.weight.T.contiguous()  # 160, at once forgotten
    assert alive.peak == 560
    assert third.sum() == 50


def test_only_what_is_as_wide_as_a_vocabulary_counts_as_logits() -> None:
    model = torch.nn.Linear(1, 1)
    with Alive(model, is_as_wide_as_a_vocabulary) as alive:
        kept = [torch.zeros(2, 156_940), torch.zeros(1, 3, 28_684), torch.zeros(156_940)]
        kept += [torch.zeros(156_940, 2), torch.zeros(2, 28_683)]
    assert alive.peak == 4 * (2 * 156_940 + 3 * 28_684)
    assert len(kept) == 5


def test_ratios_are_above_one_where_ours_is_better() -> None:
    line = ratios(
        {"plain": Figures(100.0, 8_000_000, None), "ours": Figures(250.0, 2_000_000, None)}
    )
    assert (line["tokens_per_s_ratio"], line["logit_memory_ratio"]) == (2.5, 4.0)
    assert "ours_peak_gb" not in line
    on_gpu = ratios({"plain": Figures(1, 1, 4 * 10**9), "ours": Figures(1, 1, 10**9)})
    assert (on_gpu["plain_peak_gb"], on_gpu["ours_peak_gb"]) == (4.0, 1.0)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "CLIPS", 4)
    monkeypatch.setattr(train, "ROUNDS", 1)
    monkeypatch.setattr(train, "SECONDS", (0.5, 1.0))


def test_ours_takes_less_memory_for_logits_and_less_time(own_cache: Path, short: None) -> None:
    result = run_bench("train")
    line = result.line
    assert (line["bench"], line["model"]) == ("train", "nano")
    assert line["logit_memory_ratio"] >= 2  # the same on every machine
    assert line["tokens_per_s_ratio"] > 0
    assert [row["side"] for row in result.rows] == ["plain", "ours"]
    json.dumps(line)


def test_the_script_for_a_card_runs_on_a_cpu(
    short: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = _gpu_script()
    arguments = ["--shape", "tiny", "--clips", "4", "--rounds", "1", "--set", "train.epochs=2"]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    script.main()
    out = capsys.readouterr().out
    line = json.loads(out.splitlines()[-1])
    assert "logits and loss mb" in out
    assert line["model"] == "random tiny"
    # Half an hour, twice.
    minutes = 2 * 1800 * 82.03125 / line["ours_tokens_per_s"] / 60
    assert line["ours_minutes_for_30"] == pytest.approx(minutes, rel=0.02, abs=0.1)


def _gpu_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_train", GPU_SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
