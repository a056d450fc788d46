import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus_clone.audio import Waveform
from orpheus_clone.errors import NoSpeechError
from orpheus_clone.prepare.trim import shorten_pauses, span_of_clip, spoken_part, trim
from orpheus_clone.quality import zero_samples
from orpheus_clone.silence import pauses, speech_span
from orpheus_clone.tokens import SAMPLE_RATE
from tests.signals import joined, noise, samples, tone, zeros

RECORDINGS: dict[str, Waveform] = {
    "long silences": joined(noise(900), tone(700), noise(800)),
    "no silence at all": tone(700),
    "a short head": joined(noise(20), tone(700), noise(800)),
    "a short tail": joined(noise(900), tone(700), noise(10)),
    "digital silence around": joined(zeros(20), tone(700), zeros(20)),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_clip_is_whole_frames_with_50_ms_before_and_100_after(name: str) -> None:
    clip = trim(RECORDINGS[name], 50, 100).samples
    assert len(clip) % 2048 == 0
    assert clip.dtype == np.float32
    assert len(clip) - samples(850) == pytest.approx(1024, abs=1024 + samples(10))
    span = speech_span(clip, SAMPLE_RATE)
    assert span.head_ms == pytest.approx(50, abs=10)
    assert span.tail_ms >= 95


@pytest.mark.parametrize("name", RECORDINGS)
def test_no_digital_zeros_are_added(name: str) -> None:
    recording = RECORDINGS[name]
    assert zero_samples(trim(recording, 50, 100).samples) <= zero_samples(recording)


def test_the_speech_itself_is_not_touched() -> None:
    speech = tone(700)
    clip = trim(joined(noise(900), speech, noise(800)), 50, 100).samples
    start = int(np.argmax(np.correlate(clip, speech, "valid")))
    assert np.array_equal(clip[start : start + len(speech)], speech)


def test_what_is_missing_is_filled_with_the_rooms_own_tone() -> None:
    clip = trim(joined(tone(700), noise(800, -55)), 50, 100).samples
    level = 10 * np.log10(np.mean(clip[: samples(40)] ** 2))
    assert level == pytest.approx(-55, abs=1)


def test_where_there_is_no_room_tone_faint_noise_stands_in() -> None:
    clip = trim(tone(700), 50, 100).samples
    assert 10 * np.log10(np.mean(clip[: samples(40)] ** 2)) == pytest.approx(-66, abs=1)
    assert np.array_equal(clip, trim(tone(700), 50, 100).samples)


@settings(deadline=None, max_examples=50)
@given(
    head=st.integers(0, 400),
    tail=st.integers(0, 400),
    head_ms=st.floats(20, 300),
    tail_ms=st.floats(20, 500),
)
def test_any_silence_becomes_the_wanted_silence(
    head: int, tail: int, head_ms: float, tail_ms: float
) -> None:
    clip = trim(joined(noise(head), tone(300), noise(tail, seed=1)), head_ms, tail_ms).samples
    assert len(clip) % 2048 == 0
    span = speech_span(clip, SAMPLE_RATE)
    assert span.head_ms == pytest.approx(head_ms, abs=15)
    assert tail_ms - 15 <= span.tail_ms <= tail_ms + 86 + 15


def test_silence_cannot_be_trimmed() -> None:
    with pytest.raises(NoSpeechError):
        trim(zeros(500), 50, 100)


def test_zeros_count_from_5_ms_on() -> None:
    def after(run: int) -> int:
        return zero_samples(
            joined(
                tone(10) + np.float32(0.5), np.zeros(run, np.float32), tone(10) + np.float32(0.5)
            )
        )

    assert [after(run) for run in (0, 1, 119, 120, 121)] == [0, 0, 0, 120, 121]
    assert zero_samples(zeros(100)) == 2400
    assert zero_samples(zeros(0)) == 0


@pytest.mark.parametrize("level_db", [-55, -30, -10])
def test_a_quiet_memo_is_trimmed_as_a_loud_one(level_db: float) -> None:
    recording = joined(noise(900, -60), tone(700, -20), noise(800, -60))
    soft = (recording * 10 ** ((level_db + 20) / 20)).astype(np.float32)
    assert trim(soft, 50, 100).source == trim(recording, 50, 100).source


def test_room_tone_is_not_lifted_to_speech() -> None:
    with pytest.raises(NoSpeechError):
        trim(noise(3000, -55), 50, 100)
    with pytest.raises(NoSpeechError):
        spoken_part(np.zeros(0, np.float32))


def test_the_spoken_part_is_from_the_onset_to_the_end() -> None:
    speech = tone(700)
    part = spoken_part(joined(noise(900), speech, noise(800)))
    assert len(part) == pytest.approx(len(speech), abs=samples(15))


def test_a_long_pause_is_shortened_and_a_short_one_is_not() -> None:
    recording = joined(
        noise(300), tone(500), noise(2000), tone(500), noise(400), tone(500), noise(9)
    )
    short = shorten_pauses(recording, 0.8)
    fade_ms = 10
    assert len(short) == pytest.approx(len(recording) - samples(1200 + fade_ms), abs=samples(15))
    (pause,) = pauses(short, SAMPLE_RATE, 600)
    assert pause[1] - pause[0] == pytest.approx(800, abs=25)
    assert len(pauses(short, SAMPLE_RATE, 300)) == 2


def test_without_a_long_pause_nothing_is_touched() -> None:
    recording = joined(noise(900), tone(500), noise(700), tone(500), noise(2000))
    assert np.array_equal(shorten_pauses(recording, 0.8), recording)


@pytest.mark.parametrize("level_db", [-40, -20])
def test_the_speech_of_a_quiet_clip_is_found_as_that_of_a_loud_one(level_db: float) -> None:
    clip = trim(joined(noise(900, -60), tone(700, -20), noise(800, -60)), 50, 100).samples
    soft = (clip * 10 ** (level_db / 20)).astype(np.float32)
    assert span_of_clip(soft) == span_of_clip(clip)
    assert span_of_clip(clip).head_ms == pytest.approx(50, abs=10)
