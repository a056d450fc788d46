import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orpheus_clone import audio
from orpheus_clone.errors import MachineError
from orpheus_clone.prepare import silero
from orpheus_clone.prepare.silero import speech
from tests.prepare.long_recording import SAMPLES, recorded
from tests.signals import noise, tone


def test_it_tells_speech_from_room_tone(tmp_path: Path) -> None:
    said = recorded(tmp_path / "a.flac", range(4, 7), [1.5])
    found = speech(said.path)
    middles = (np.arange(len(found)) + 0.5) * silero.HOP / silero.RATE
    is_said = np.zeros(len(found), bool)
    for cue in said.said:
        is_said |= (middles > cue.start_s) & (middles < cue.end_s)
    assert ((found > 0.5) == is_said).mean() > 0.85


@pytest.mark.parametrize("block_s", [0.032, 0.5, 3.3])
def test_borders_of_blocks_make_no_difference(tmp_path: Path, block_s: float) -> None:
    whole = speech(SAMPLES / "004.flac", block_s=1000)
    np.testing.assert_allclose(speech(SAMPLES / "004.flac", block_s=block_s), whole, atol=1e-5)


@pytest.mark.parametrize(("samples", "hops"), [(1, 1), (767, 1), (768, 1), (769, 2)])
def test_every_hop_that_is_begun_has_a_probability(tmp_path: Path, samples: int, hops: int) -> None:
    soundfile.write(tmp_path / "a.flac", noise(100)[:samples], 24_000)
    assert speech(tmp_path / "a.flac").shape == (hops,)


def test_nobody_speaks_in_noise_or_a_tone(tmp_path: Path) -> None:
    audio.write(tmp_path / "a.flac", np.concatenate([noise(2000, -30), tone(2000)]))
    assert (speech(tmp_path / "a.flac") > 0.5).mean() < 0.05


def test_without_the_model_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper.vad", None)
    silero._session.cache_clear()
    with pytest.raises(MachineError, match=r"pip install 'orpheus-clone\[train\]'"):
        speech(SAMPLES / "004.flac")
