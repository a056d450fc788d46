from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from orpheus_clone import audio
from orpheus_clone.channels import Look
from tests.conftest import DATA_SAMPLES
from tests.signals import joined, noise, tone, zeros

SECOND = 24_000


def close(got: audio.Waveform, expected: NDArray[np.floating], within: float = 1e-6) -> bool:
    """pytest.approx takes seconds for seconds of sound."""
    return len(got) == len(expected) and bool(np.abs(got - expected).max() <= within)


def stereo(path: Path, left: audio.Waveform, right: audio.Waveform) -> audio.Waveform:
    """What is read of two channels."""
    n = min(len(left), len(right))
    soundfile.write(path, np.stack([left[:n], right[:n]], axis=1), SECOND, subtype="FLOAT")
    return audio.read(path)


def speech(number: int) -> audio.Waveform:
    samples, _ = soundfile.read(DATA_SAMPLES / f"{number:03}.flac", dtype="float32")
    return np.asarray(samples, np.float32)


def echo(samples: audio.Waveform, delay: int, seed: int) -> audio.Waveform:
    """Speech at a distance: late, and with the echo of a room that dies away in 0.3 s."""
    seconds = np.arange(7200) / SECOND
    tail = np.random.default_rng(seed).standard_normal(7200) * 10 ** (-3 * seconds / 0.3) * 0.01
    tail[:delay], tail[delay] = 0.0, 1.0
    spectrum = np.fft.rfft(samples, 2 * len(samples)) * np.fft.rfft(tail, 2 * len(samples))
    return np.fft.irfft(spectrum)[: len(samples)].astype(np.float32)


CLIP = "clip.wav"
ONE, OTHER = speech(1), speech(4)
LENGTH_MS = len(ONE) * 1000 / SECOND


@pytest.mark.parametrize("gain", [1.0, 0.8, 1.25])
def test_channels_that_agree_become_their_mean(tmp_path: Path, gain: float) -> None:
    left, right = ONE + noise(LENGTH_MS, -70), ONE * np.float32(gain)
    read = stereo(tmp_path / CLIP, left, right)
    assert close(read, (left + right) / 2)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("silent", zeros(LENGTH_MS)),
        ("dither", noise(LENGTH_MS, -90)),
        ("noise", noise(LENGTH_MS, -40)),
        ("noise louder than the speech", noise(LENGTH_MS, -12)),
        ("hum", tone(LENGTH_MS, -12, 50)),
        ("the same, far away", ONE / np.float32(4)),
        ("another voice, far away", OTHER[: len(ONE)] * np.float32(0.02)),
        ("opposite", -ONE * np.float32(0.9)),
        ("opposite with DC and noise", -0.7 * ONE + 0.1 + noise(LENGTH_MS, -45)),
        ("a room microphone", echo(ONE, 90, 1) * np.float32(0.7)),
    ],
)
@pytest.mark.parametrize("is_left", [True, False])
def test_speech_on_one_channel_keeps_its_level(
    tmp_path: Path, name: str, other: audio.Waveform, is_left: bool
) -> None:
    other = other.astype(np.float32)
    pair = (ONE, other) if is_left else (other, ONE)
    assert np.array_equal(stereo(tmp_path / CLIP, *pair), ONE[: len(other)]), name


def test_two_people_each_on_a_channel_are_both_kept(tmp_path: Path) -> None:
    n = min(len(ONE), len(OTHER))
    silent = np.zeros(n, np.float32)
    at_once = stereo(tmp_path / CLIP, ONE, OTHER)
    assert close(at_once, (ONE[:n] + OTHER[:n]) / 2)
    left, right = joined(ONE[:n], silent), joined(silent, OTHER[:n])
    bleed = np.float32(0.05)
    turns = stereo(tmp_path / CLIP, left + bleed * right, right + bleed * left)
    assert close(turns, (left + right) * (1 + bleed) / 2)


def test_of_six_channels_those_with_speech_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "surround.wav"
    rest = [noise(LENGTH_MS, -50, seed)[: len(ONE)] for seed in range(3)]
    soundfile.write(path, np.stack([*rest, ONE, rest[0] * 0, -ONE * 0.5], axis=1), SECOND)
    assert close(audio.read(path), ONE, 1e-4)


def test_two_channels_shorter_than_can_be_compared_become_their_mean(tmp_path: Path) -> None:
    read = stereo(tmp_path / CLIP, tone(10), zeros(10))
    assert close(read, tone(10) / 2)


@pytest.mark.parametrize("size", [7, 1199, 1200, 1201, 100_000])
def test_it_does_not_matter_in_what_pieces_a_recording_comes(size: int) -> None:
    pair = np.stack([ONE, -ONE * np.float32(0.5)], axis=1)[:48_000]
    look = Look()
    for start in range(0, len(pair), size):
        look.add(pair[start : start + size])
    chosen, scale = look.choice()
    assert chosen == [0]
    assert float(scale) == 1.0
