"""Whether a voice survives the codec."""

from pathlib import Path

import numpy as np
import pytest

from orpheus_clone import audio
from orpheus_clone.codec.snac import Codec
from orpheus_clone.prepare.memory import Memory
from orpheus_clone.prepare.survival import SAMPLE, Survival, mel_distance_db, survival
from orpheus_clone.tokens import Codes
from tests.signals import noise, tone


def test_equal_sounds_are_no_distance_apart_and_louder_ones_neither() -> None:
    sound = tone(500) + noise(500)
    assert mel_distance_db(sound, sound) == 0
    # Levels are relative to the loudest band.
    assert mel_distance_db(sound, 0.5 * sound) == pytest.approx(0, abs=1e-3)


def test_other_sounds_are_apart() -> None:
    assert mel_distance_db(tone(500), noise(500, -20)) > 10


@pytest.fixture
def clips(tmp_path: Path, codec: Codec) -> list[tuple[str, Path, Codes]]:
    made = []
    for n in range(SAMPLE + 2):
        samples = tone(2048 / 24, hertz=200 + 10 * n)
        path = tmp_path / f"{n}.flac"
        audio.write(path, samples)
        made.append((f"{n:02}", path, codec.encode(samples)))
    return made


def test_some_clips_are_decoded_once_and_what_was_found_is_kept(
    clips: list[tuple[str, Path, Codes]], codec: Codec, tmp_path: Path
) -> None:
    opened: list[int] = []

    def open_codec() -> Codec:
        opened.append(1)
        return codec

    memory = Memory(tmp_path / "memory")
    first = survival(clips, "c" * 64, open_codec, None, memory)
    again = survival(clips[::-1], "c" * 64, open_codec, None, memory)
    assert first == again
    assert (first.clips, first.similarity, len(opened)) == (SAMPLE, None, 1)
    wanted = np.mean(
        [
            mel_distance_db(audio.read(path), codec.decode(codes))
            for _, path, codes in clips[:SAMPLE]
        ]
    )
    assert first.mel_distance_db == pytest.approx(float(wanted), abs=0.01)
    survival(clips, "d" * 64, open_codec, None, memory)
    assert len(opened) == 2


def test_a_voice_that_does_not_survive_is_told() -> None:
    assert Survival(8, 3.0, None).warning() is None
    assert Survival(8, 3.0, 0.45).warning() is None
    warning = Survival(8, 9.0, 0.449).warning()
    assert warning is not None
    assert "does not survive the codec" in warning
