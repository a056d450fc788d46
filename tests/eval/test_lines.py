"""An utterance in numbers, by hand: moments, silences and what a listener waits for."""

from dataclasses import replace

import pytest

from orpheus_clone.eval.lines import lines_of, spoken
from orpheus_clone.eval.speed import Arrival, Utterance, Waited
from orpheus_clone.eval.sweep import speech_heard_ms
from orpheus_clone.listening.hear import Hearing
from orpheus_clone.listening.words import Difference
from tests.signals import joined, noise, tone, zeros

ARRIVALS = [Arrival(0.1, 2400), Arrival(0.5, 4800), Arrival(0.6, 12_000)]
HEARING = Hearing(
    text="Yes.",
    seconds=0.5,
    finish="stop",
    speech_s=0.3,
    head_ms=100.0,
    tail_ms=100.0,
    pace=1.234567,
    heard="yes",
    difference=Difference(1, 0, 3, 0, 1),
    similarity=0.7,
    mos=3.0,
    pitch_hz=120.0,
)


def utterance(arrivals: list[Arrival]) -> Utterance:
    sound = joined(noise(100, -70), tone(300, -20), noise(100, -70))
    return Utterance(
        "Yes.", sound, 71, "stop", 0.08, 0.78, arrivals, decoded_s=0.1, decoding_s=0.005
    )


@pytest.mark.parametrize(
    ("position_ms", "heard_ms"),
    [
        (0, 100),  # at once with the first samples, which hold 100 ms
        (50, 150),  # there already, and played 50 ms later
        (100, 200),
        (101, 500),  # the player waits for the second arrival
        (200, 500),
        (450, 600),
        (480, 600),
        (490, 600),
        (500, 600),  # arrived at 600, and played from 100 on without a pause
        (501, 780),  # never arrived: at the end
    ],
)
def test_speech_is_heard_when_it_has_arrived_and_been_played_up_to(
    position_ms: float, heard_ms: float
) -> None:
    assert utterance(ARRIVALS).heard_at_ms(position_ms) == pytest.approx(heard_ms)


def test_the_rate_is_of_the_tokens_after_the_first() -> None:
    assert utterance(ARRIVALS).rate == pytest.approx(70 / 0.7)
    assert utterance(ARRIVALS).first_audio_ms == 100


def test_a_listener_runs_out_where_the_next_came_late() -> None:
    played = utterance(ARRIVALS).played()
    assert played.underruns == 1  # 100 ms came at 100, the next at 500, its next in time
    assert played.starved_s == pytest.approx(0.3)
    assert len(played.samples) == 12_000
    assert utterance([Arrival(0.1, 12_000)]).played().underruns == 0


def test_what_is_waited_for_adds_up_to_the_first_speech() -> None:
    one = utterance([Arrival(0.1, 12_000)])
    heard_ms = speech_heard_ms(one)
    assert heard_ms == pytest.approx(200, abs=15)
    waited = Waited.of(one, heard_ms)
    assert waited.prefill == pytest.approx(80)
    assert waited.codec == pytest.approx(5)
    assert waited.tokens == pytest.approx(15)
    total = waited.prefill + waited.tokens + waited.codec + waited.silence
    assert total == pytest.approx(heard_ms)


def test_where_nobody_speaks_nothing_is_waited_for() -> None:
    mute = replace(utterance(ARRIVALS), samples=zeros(500))
    assert speech_heard_ms(mute) is None
    assert Waited.of(mute, None).silence == 0


def test_a_line_holds_what_came_and_what_was_heard() -> None:
    [line] = lines_of([utterance([Arrival(0.1, 12_000)])], [HEARING])
    assert (line.text, line.tokens, line.finish, line.underruns) == ("Yes.", 71, "stop", 0)
    assert line.first_speech_ms == pytest.approx(200, abs=15)
    assert (line.words, line.word_edits, line.letters, line.letter_edits) == (1, 0, 3, 0)
    assert (line.pace, line.similarity, line.mos) == (1.235, 0.7, 3.0)


def test_a_line_without_speech_and_without_a_judge_has_no_number_for_it() -> None:
    mute = replace(HEARING, speech_s=None, head_ms=None, tail_ms=None, difference=None)
    [line] = lines_of([replace(utterance(ARRIVALS), samples=zeros(500))], [mute])
    assert (line.first_speech_ms, line.head_ms, line.words, line.word_edits) == (None,) * 4


def test_what_judges_hear_includes_the_silence_that_was_dropped() -> None:
    one = replace(utterance(ARRIVALS), dropped=2400, finish=None)
    assert spoken(one).dropped_ms == 100
    assert spoken(one).finish == "length", "what never ended was cut"
