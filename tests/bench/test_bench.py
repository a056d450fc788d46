"""Benches: a table for people, and one JSON line last for scripts."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orpheus_clone.audio import Waveform
from orpheus_clone.bench import decode
from orpheus_clone.bench.decode import best_of
from orpheus_clone.bench.first_audio import Stamps, listen
from tests.commands import run
from tests.signals import noise, tone


def last_line(output: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(output.splitlines()[-1])
    return data


def line_of(bench: str) -> dict[str, Any]:
    """What a bench says, in a process of its own."""
    command = [sys.executable, "-m", "orpheus_clone", "bench", bench, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return last_line(done.stdout)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of sound, few lengths, once: the figures are of no interest here."""
    monkeypatch.setattr(decode, "MAX_SECONDS", 1.2)
    monkeypatch.setattr(decode, "LENGTHS", range(1, 6))
    monkeypatch.setattr(decode, "STREAMS", (1, 8))
    monkeypatch.setattr(decode, "ROUNDS", 1)


def test_decode_prints_one_line_with_what_is_lost_how_soon_and_how_fast(
    short: None, own_cache: Path
) -> None:
    done = run("bench", "decode", "--json")
    assert done.code == 0
    line = done.json
    quality = {"tokens_before_first_sample", "first_frame_snr_db", "later_frames_snr_db"}
    lost = {"frames_lost", "upstream_frames_lost", "underruns"}
    assert set(line) == {"bench", "model", "codec_speedup_1", "codec_speedup_8"} | quality | lost
    assert (line["bench"], line["model"]) == ("decode", "nano")
    assert (line["frames_lost"], line["underruns"], line["tokens_before_first_sample"]) == (0, 0, 7)
    assert line["upstream_frames_lost"] == 1 + 2 + 3 + 3 + 3
    assert line["codec_speedup_8"] > 0


def test_without_json_a_table_comes_first(short: None, own_cache: Path) -> None:
    done = run("bench", "decode")
    assert "upstream ms per frame" in done.out
    assert "24 kHz" in done.out
    assert last_line(done.out)["bench"] == "decode"


@pytest.mark.vllm
@pytest.mark.timeout(300)
def test_generate_prints_one_line_with_the_ratio_of_the_audio_head_to_the_stock_one(
    own_cache: Path,
) -> None:
    line = line_of("generate")
    ratios = {"audio_head_speedup_1", "audio_head_speedup_8", "greedy_agreement"}
    assert set(line) == {"bench", "model", "hardware", "engine", "precision"} | ratios
    if line["precision"] == "fp32":
        assert line["greedy_agreement"] == 1
    assert line["audio_head_speedup_1"] > 0
    assert line["audio_head_speedup_8"] > 0


@pytest.mark.vllm
@pytest.mark.timeout(300)
def test_first_audio_prints_one_line_with_the_ratio_of_the_upstream_path_to_ours(
    own_cache: Path,
) -> None:
    line = line_of("first_audio")
    times = {f"{path}_first_speech_p{q}_ms" for path in ("ours", "upstream") for q in (50, 95)}
    assert set(line) == {"bench", "model", "hardware", "engine", "precision", "speedup"} | times
    assert line["speedup"] > 0
    assert all(line[name] > 0 for name in times)


async def test_what_a_path_takes_until_speech_is_heard_is_its_parts_together() -> None:
    loud, hush = tone(200), noise(200, -70)

    async def path(stamps: Stamps) -> AsyncGenerator[Waveform, None]:
        for count in (1, 6):
            await asyncio.sleep(0.02)
            stamps.token(count)
        await asyncio.sleep(0.02)
        stamps.first_decoded = stamps.now()
        yield hush
        yield loud

    stamps = Stamps(7)
    parts = await listen(path(stamps), stamps)
    assert min(parts.prefill, parts.tokens, parts.codec) >= 15
    assert 150 < parts.silence < 250  # of the hush, since the loud part was there in time
    assert parts.first_speech == pytest.approx(60 + 200, abs=40)


async def test_a_path_that_makes_no_sound_is_never_heard_before_its_end() -> None:
    async def path() -> AsyncGenerator[Waveform, None]:
        await asyncio.sleep(0.02)
        yield np.zeros(0, np.float32)

    stamps = Stamps(28)
    assert (await listen(path(), stamps)).first_speech >= 20


def test_an_unknown_bench_is_wrong_usage_and_names_the_known() -> None:
    done = run("bench", "encode")
    assert done.code == 2
    known = "decode, generate, first_audio, prepare, train, ring, serve, fleet"
    assert f"no bench 'encode', only {known}" in done.said


def test_the_best_round_of_each_candidate_counts() -> None:
    turns: list[str] = []
    seconds = best_of(3, lambda: turns.append("a"), lambda: turns.append("b"))
    assert turns == ["a", "b"] * (1 + 3)
    assert all(0 <= second < 1 for second in seconds)
