import numpy as np
import pytest
import soundfile

from orpheus_clone.pitch import pitch_hz
from tests.conftest import DATA_SAMPLES
from tests.signals import joined, noise, tone, zeros


def harmonics(ms: float, hertz: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """A buzz, as a voice is: ten harmonics that fall off."""
    parts = [tone(ms, -20 - 3 * n, hertz * n) for n in range(1, 11)]
    return np.asarray(np.sum(parts, axis=0), np.float32)


@pytest.mark.parametrize("hertz", [80.0, 110.0, 220.0, 400.0])
def test_the_pitch_of_a_buzz(hertz: float) -> None:
    assert pitch_hz(harmonics(1000, hertz)) == pytest.approx(hertz, rel=0.02)


def test_pauses_and_noise_between_do_not_count() -> None:
    buzz = harmonics(500, 150.0)
    mixed = joined(buzz, noise(700, -60), buzz, zeros(400), buzz)
    assert pitch_hz(mixed) == pytest.approx(150.0, rel=0.02)


def test_only_the_middle_is_measured() -> None:
    around = harmonics(3000, 300.0)
    assert pitch_hz(joined(around, harmonics(3000, 120.0), around)) == pytest.approx(120, rel=0.02)


@pytest.mark.parametrize(
    "nothing", [zeros(0), zeros(2000), noise(2000, -70), harmonics(100, 150.0)]
)
def test_where_there_is_no_voice_there_is_no_pitch(
    nothing: np.ndarray[tuple[int], np.dtype[np.float32]],
) -> None:
    assert pitch_hz(nothing) is None


def test_one_speaker_has_one_pitch() -> None:
    pitches = []
    for number in range(1, 7):
        speech, _ = soundfile.read(DATA_SAMPLES / f"{number:03}.flac", dtype="float32")
        found = pitch_hz(speech)
        assert found is not None
        pitches.append(found)
    assert max(pitches) / min(pitches) < 1.3
