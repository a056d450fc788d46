"""Constructed clips whose onset and offset are known to the sample; 10 ms is one window.

What the constants are for: a click of 5 ms rings in three windows, far from the eight of
CORE_RUN_MS; a breath lies 25 dB below the voice, CORE_BELOW_LOUD_DB allows 20; an "s" at -45 dBFS
is above room tone of -60 by more than EDGE_ABOVE_FLOOR_DB and is kept; a prepared clip has 150 ms
of room tone in several seconds, which FLOOR_MS finds and a percentile would not.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.audio import Waveform
from orpheus_clone.errors import NoSpeechError
from orpheus_clone.silence import HeadTrim, levels_dbfs, speech_span
from orpheus_clone.tokens import SAMPLE_RATE
from tests.signals import joined, noise, tone, zeros

CASES: dict[str, tuple[Waveform, float, float]] = {
    "a tone after digital silence": (joined(zeros(500), tone(1000), zeros(700)), 500, 1500),
    "a tone between two grid points": (joined(zeros(503), tone(1001), zeros(700)), 503, 1504),
    "a tone after room tone": (joined(noise(500), tone(1000), noise(700)), 500, 1500),
    "a tone in a noisy room": (joined(noise(500, -40), tone(1000), noise(700, -40)), 500, 1500),
    "a soft breath, a gap, speech": (
        joined(noise(500), noise(200, -45), noise(60), tone(1000), noise(600)),
        760,
        1760,
    ),
    "speech, a gap, a soft breath": (
        joined(noise(500), tone(1000), noise(60), noise(200, -45), noise(500)),
        500,
        1500,
    ),
    "a loud click before speech": (
        joined(noise(500), tone(5, -6, 2000), noise(60), tone(1000), noise(600)),
        565,
        1565,
    ),
    "a loud click after speech": (
        joined(noise(500), tone(1000), noise(60), tone(5, -6, 2000), noise(600)),
        500,
        1500,
    ),
    "a soft s that runs into the word": (
        joined(noise(500), noise(100, -45), tone(1000), noise(100, -45), noise(500)),
        500,
        1700,
    ),
    "two words with a long pause": (
        joined(noise(500), tone(300), noise(2000), tone(300), noise(500)),
        500,
        3100,
    ),
    "a soft first word in a trimmed clip": (
        joined(noise(50), tone(300, -32), tone(4000, -15), noise(100)),
        50,
        4350,
    ),
    "room tone with a muted stretch beside it": (
        joined(zeros(200), noise(300), tone(1000), noise(300), zeros(200)),
        500,
        1500,
    ),
    "a tone on a DC offset": (
        joined(noise(500), tone(1000), noise(500)) + np.float32(0.1),
        500,
        1500,
    ),
    "a tone throughout": (tone(1000), 0, 1000),
    "one frame of tone": (tone(85), 0, 85),
}


@pytest.mark.parametrize("case", CASES)
def test_onset_and_offset_are_within_10_ms(case: str) -> None:
    clip, onset_ms, offset_ms = CASES[case]
    span = speech_span(clip, SAMPLE_RATE)
    assert span.onset_ms == pytest.approx(onset_ms, abs=10)
    assert span.offset_ms == pytest.approx(offset_ms, abs=10)
    assert span.head_ms == span.onset_ms
    assert span.tail_ms == pytest.approx(span.clip_ms - span.offset_ms)
    assert span.clip_ms == pytest.approx(1000 * len(clip) / SAMPLE_RATE)


@pytest.mark.parametrize(
    "case", ["a tone after digital silence", "a tone after room tone", "a tone in a noisy room"]
)
def test_where_windows_fall_on_the_edges_the_span_is_exact(case: str) -> None:
    clip, onset_ms, offset_ms = CASES[case]
    span = speech_span(clip, SAMPLE_RATE)
    assert (span.onset_ms, span.offset_ms) == (onset_ms, offset_ms)


def test_a_tone_throughout_leaves_no_silence_at_all() -> None:
    span = speech_span(tone(1000), SAMPLE_RATE)
    assert (span.head_ms, span.tail_ms) == (0, 0)


def test_what_is_too_short_for_speech_is_a_click_and_longer_is_a_word() -> None:
    def clip(ms: float) -> Waveform:
        return joined(noise(100), tone(ms), noise(100))

    with pytest.raises(NoSpeechError, match="for 40 ms"):
        speech_span(clip(20), SAMPLE_RATE)
    assert speech_span(clip(60), SAMPLE_RATE).onset_ms == pytest.approx(100, abs=10)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
def test_other_rates_are_measured_in_milliseconds_too(rate: int) -> None:
    seconds = np.arange(round(1.5 * rate)) / rate
    clip = np.where(seconds < 0.5, 0.0, 0.1 * np.sin(2 * np.pi * 200 * seconds))
    span = speech_span(clip.astype(np.float32), rate)
    assert span.onset_ms == pytest.approx(500, abs=10)
    assert span.offset_ms == pytest.approx(1500, abs=10)


@pytest.mark.parametrize(
    "clip",
    [zeros(1000), noise(1000, -60), noise(3, -60), zeros(0), tone(5, -6) * 0],
    ids=["digital silence", "room tone", "3 ms of room tone", "no samples", "5 ms of nothing"],
)
def test_where_nobody_speaks_is_refused(clip: Waveform) -> None:
    with pytest.raises(NoSpeechError):
        speech_span(clip, SAMPLE_RATE)


def test_a_click_alone_is_no_speech() -> None:
    with pytest.raises(NoSpeechError):
        speech_span(joined(noise(40), tone(5, -6, 2000), noise(40)), SAMPLE_RATE)


@given(
    gain=st.floats(0.25, 1.0),
    head_ms=st.integers(100, 600),
    speech_ms=st.integers(100, 900),
    tail_ms=st.integers(100, 600),
)
def test_the_span_is_the_same_at_another_gain(
    gain: float, head_ms: int, speech_ms: int, tail_ms: int
) -> None:
    clip = joined(noise(head_ms), tone(speech_ms), noise(tail_ms, seed=1))
    span = speech_span(clip, SAMPLE_RATE)
    quieter = speech_span(clip * np.float32(gain), SAMPLE_RATE)
    assert quieter.onset_ms == pytest.approx(span.onset_ms, abs=5)
    assert quieter.offset_ms == pytest.approx(span.offset_ms, abs=5)


def test_levels_are_rms_in_dbfs() -> None:
    assert levels_dbfs(tone(1000, -20), SAMPLE_RATE) == pytest.approx(-20, abs=0.1)
    assert levels_dbfs(zeros(1000), SAMPLE_RATE) == pytest.approx(-120)
    assert len(levels_dbfs(zeros(1), SAMPLE_RATE)) == 1


def let_through(clip: Waveform, size: int, **limits: float) -> tuple[Waveform, int, int]:
    """What is heard of a stream in blocks of `size`, how much was dropped, and when it began."""
    trim = HeadTrim(SAMPLE_RATE, **({"keep_ms": 30.0, "limit_ms": 1500.0} | limits))
    heard, began = [], 0
    for start in range(0, len(clip), size):
        heard.append(trim.push(clip[start : start + size]))
        began = began or (start + size if len(heard[-1]) else 0)
    return np.concatenate([*heard, trim.finish()]), trim.dropped, began


@pytest.mark.parametrize("size", [100, 2048, 5000])
@pytest.mark.parametrize("head_ms", [100.0, 600.0, 1300.0])
def test_a_stream_begins_with_its_speech(head_ms: float, size: int) -> None:
    clip = joined(noise(head_ms, -65), tone(700, -20), noise(200, -65))
    heard, dropped, began = let_through(clip, size)
    assert heard.tolist() == clip[dropped:].tolist()
    assert head_ms - 45 <= dropped * 1000 / SAMPLE_RATE <= head_ms - 20
    assert began * 1000 / SAMPLE_RATE <= head_ms + 20 + size * 1000 / SAMPLE_RATE


def test_a_stream_that_starts_at_once_is_let_through_at_once() -> None:
    for clip in (tone(500, -20), joined(noise(30, -60), tone(500, -20)), noise(500, -25)):
        heard, dropped, began = let_through(clip, 2048)
        assert (len(heard), dropped, began) == (len(clip), 0, 2048)


def test_no_more_than_the_limit_is_dropped_and_nothing_of_a_stream_of_silence() -> None:
    late = joined(noise(2500, -70), tone(300, -20))
    heard, dropped, _ = let_through(late, 2048)
    assert dropped == 1.5 * SAMPLE_RATE
    assert len(heard) == len(late) - dropped
    hush = noise(900, -70)
    assert len(let_through(hush, 2048)[0]) == len(hush)


def test_a_click_in_the_silence_opens_nothing() -> None:
    clip = joined(noise(200, -65), tone(8, -20), noise(400, -65), tone(500, -20))
    assert let_through(clip, 2048)[1] > 0.5 * SAMPLE_RATE


def test_a_soft_beginning_is_kept() -> None:
    soft = joined(noise(500, -70), noise(80, -48), tone(500, -20))
    assert let_through(soft, 2048)[1] <= 0.48 * SAMPLE_RATE
