"""Benches: a table for people, and one JSON line last for scripts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orpheus_clone.bench import decode
from orpheus_clone.bench.decode import best_of
from tests.commands import run


def last_line(output: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(output.splitlines()[-1])
    return data


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the sound, once: the figures are of no interest here."""
    monkeypatch.setattr(decode, "FRAMES", 30)
    monkeypatch.setattr(decode, "ROUNDS", 1)


def test_decode_prints_one_line_with_the_ratio_of_streaming_to_all_at_once(
    short: None, own_cache: Path
) -> None:
    done = run("bench", "decode", "--json")
    assert done.code == 0
    line = done.json
    assert set(line) == {"bench", "ratio", "frames_lost", "snr_db", "model"}
    assert (line["bench"], line["frames_lost"], line["model"]) == ("decode", 0, "nano")
    assert line["ratio"] > 0
    assert line["snr_db"] > 20


def test_without_json_a_table_comes_first(short: None, own_cache: Path) -> None:
    done = run("bench", "decode")
    assert "times real time" in done.out
    assert "streamed" in done.out
    assert last_line(done.out)["bench"] == "decode"


@pytest.mark.vllm
@pytest.mark.timeout(300)
def test_generate_prints_one_line_with_the_ratio_of_vllm_to_hf(own_cache: Path) -> None:
    command = [sys.executable, "-m", "orpheus_clone", "bench", "generate", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    line = last_line(done.stdout)
    ratios = {"vllm_over_hf_1", "vllm_over_hf_4", "greedy_agreement"}
    assert set(line) == {"bench", "model", "hardware", "engine", "precision"} | ratios
    if line["precision"] == "fp32":
        assert line["greedy_agreement"] == 1
    assert line["vllm_over_hf_1"] > 0
    assert line["vllm_over_hf_4"] > 0


def test_an_unknown_bench_is_wrong_usage_and_names_the_known() -> None:
    done = run("bench", "encode")
    assert (done.code, "no bench 'encode', only decode, generate" in done.said) == (2, True)


def test_the_best_round_of_each_candidate_counts() -> None:
    turns: list[str] = []
    seconds = best_of(3, lambda: turns.append("a"), lambda: turns.append("b"))
    assert turns == ["a", "b", "a", "b", "a", "b"]
    assert all(0 <= second < 1 for second in seconds)
