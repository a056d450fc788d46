import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone import audio
from orpheus_clone.errors import ArtifactError, AudioError, MachineError
from orpheus_clone.prepare.decode import REVISION, read_span, working_copy
from orpheus_clone.tokens import SAMPLE_RATE
from tests.conftest import DATA_SAMPLES
from tests.signals import joined, noise, tone, zeros

SPEECH = DATA_SAMPLES / "001.flac"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return working_copy(SPEECH, "d1", tmp_path_factory.mktemp("cache"))


def test_a_working_copy_holds_what_was_read(copy: Path) -> None:
    assert copy.name == f"d1-{REVISION}.flac"
    info = soundfile.info(copy)
    assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
    assert np.abs(read_span(copy, 0, 1e9) - audio.read(SPEECH)).max() < 1e-4


@given(st.floats(-1, 10), st.floats(-1, 10))
def test_a_span_is_the_same_slice_of_the_whole(copy: Path, start_s: float, end_s: float) -> None:
    whole, _ = soundfile.read(copy, dtype="float32")
    start, end = (max(0, round(s * SAMPLE_RATE)) for s in (start_s, end_s))
    assert np.array_equal(read_span(copy, start_s, end_s), whole[start : max(start, end)])


def test_a_copy_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    first = working_copy(SPEECH, "d1", tmp_path)
    made = first.stat().st_mtime_ns
    assert working_copy(tmp_path / "gone.wav", "d1", tmp_path) == first
    assert first.stat().st_mtime_ns == made


def test_a_recording_that_cannot_be_read_leaves_nothing_behind(tmp_path: Path) -> None:
    empty, broken = tmp_path / "empty.wav", tmp_path / "broken.flac"
    soundfile.write(empty, zeros(0), SAMPLE_RATE)
    broken.write_bytes(SPEECH.read_bytes()[:50_000])
    for path in (empty, broken, tmp_path / "none.wav"):
        with pytest.raises(AudioError, match=path.name):
            working_copy(path, "d1", tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_full_disk_is_told_and_leaves_nothing_behind(
    tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, noise(8000, -20), SAMPLE_RATE)
    cache = small_disk(64)
    with pytest.raises(MachineError, match=r"d1-\d+\.flac"):
        working_copy(path, "d1", cache)
    assert not list(cache.iterdir())


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    """Four minutes of 48 kHz stereo are 92 MB as float32; a minute and less is held as it is."""
    path = tmp_path / "long.flac"
    second = np.stack([tone(1000), noise(1000)], axis=1)
    with soundfile.SoundFile(path, "w", 48_000, 2, "PCM_16") as file:
        for _ in range(480):
            file.write(second)
    tracemalloc.start()
    working_copy(path, "d1", tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 15e6


def test_what_is_no_working_copy_is_named(tmp_path: Path) -> None:
    stereo, text = tmp_path / "stereo.flac", tmp_path / "text.flac"
    soundfile.write(stereo, np.stack([tone(100)] * 2, axis=1), SAMPLE_RATE)
    text.write_text("no audio", encoding="utf-8")
    for path in (stereo, text, tmp_path / "none.flac"):
        with pytest.raises(ArtifactError, match=rf"{path.name}.*prepare again"):
            read_span(path, 0, 1)


def test_a_loud_recording_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    path = tmp_path / "loud.wav"
    loud = joined(tone(70_000, 6), noise(500))
    soundfile.write(path, loud, SAMPLE_RATE, subtype="FLOAT")
    peak = np.abs(loud).max()
    written = read_span(working_copy(path, "d1", tmp_path), 60, 80)
    assert np.abs(written - loud[60 * SAMPLE_RATE :] / peak).max() < 3e-4
