"""A voice that has lost its way is told from one that speaks."""

import numpy as np
import pytest

from orpheus_clone import audio, tokens
from orpheus_clone.codec.snac import Codec
from orpheus_clone.runaway import FRAMES, Runaway, Watch
from orpheus_clone.tokens import FRAME_SAMPLES
from tests.conftest import DATA_SAMPLES
from tests.signals import noise, tone

LOUD = tone(1000 * FRAME_SAMPLES / 24_000)
HUSH = noise(1000 * FRAME_SAMPLES / 24_000, -70)


def watched(firsts: list[int], sizes: int = 7) -> tuple[Runaway | None, int]:
    """What is said of frames with these first codes, and after how many of them."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4096, (len(firsts), 7))
    codes[:, 0] = firsts
    ids, watch = tokens.codes_to_tokens(codes), Watch()
    for start in range(0, len(ids), sizes):
        found = watch.look(ids[start : start + sizes], LOUD)
        if found:
            return found, (start + sizes) // 7
    return None, len(firsts)


def speech(frames: int, seed: int = 0) -> list[int]:
    return [int(code) for code in np.random.default_rng(seed).integers(0, 4096, frames)]


@pytest.mark.parametrize("period", [1, 2, 5, 11, 24, 30])
@pytest.mark.parametrize("size", [1, 7, 10])
def test_a_loop_is_told_once_it_is_long_and_came_three_times(period: int, size: int) -> None:
    verdict, frames = watched([*speech(20), *speech(period, 1) * 100], size)
    assert verdict == "loop"
    expected = 20 + period + max(FRAMES, 2 * period)
    assert expected - 1 <= frames <= expected + 2


@pytest.mark.parametrize("period", [3, 6, 12])
def test_a_loop_with_a_slip_in_ten_is_one(period: int) -> None:
    loop = np.array(speech(period, 1) * 60)
    slips = np.random.default_rng(2).random(len(loop)) < 0.1
    loop[slips] = speech(int(slips.sum()), 3)
    assert watched(loop.tolist())[0] == "loop"


def test_what_is_said_twice_is_no_loop() -> None:
    for period in (16, 28, 30):
        assert watched([*speech(20), *speech(period, 1) * 2, *speech(60, 2)])[0] is None


def test_a_held_sound_or_a_pause_of_two_seconds_is_no_loop() -> None:
    assert watched([*speech(10), *[7] * 24, *speech(40, 1)])[0] is None


def test_silence_is_told_after_two_and_a_half_seconds() -> None:
    watch = Watch()
    assert watch.look([], LOUD) is None
    said = [watch.look([], HUSH) for _ in range(40)]
    assert said.index("silence") == 29


def test_who_speaks_again_is_not_silent() -> None:
    watch = Watch()
    assert [watch.look([], part) for part in ([HUSH] * 20 + [LOUD]) * 5] == [None] * 105


def test_what_is_silent_depends_on_how_loud_the_voice_is() -> None:
    soft = noise(1000 * FRAME_SAMPLES / 24_000, -47)
    for before, said in ((LOUD, None), (tone(85.34, -5), "silence")):
        watch = Watch()
        watch.look([], before)
        assert [watch.look([], soft) for _ in range(35)][-1] == said


def test_people_do_neither(codec: Codec) -> None:
    for path in sorted(DATA_SAMPLES.glob("*.flac")):
        samples = audio.read(path)
        samples = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES]
        ids, watch = tokens.codes_to_tokens(codec.encode(samples)), Watch()
        for i in range(len(ids) // 7):
            frame = samples[FRAME_SAMPLES * i :][:FRAME_SAMPLES]
            assert watch.look(ids[7 * i : 7 * i + 7], frame) is None
