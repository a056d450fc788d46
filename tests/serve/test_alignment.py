"""Which letters are heard when, by hand: fifteen letters a second until a voice was heard."""

import pytest

from orpheus_clone.serve.alignment import USUAL_PACE, Alignment


def heard(alignment: Alignment) -> tuple[str, list[int], list[int]]:
    times = alignment.take()
    assert times is not None
    starts, durations = times["charStartTimesMs"], times["charDurationsMs"]
    return "".join(map(str, times["chars"])), [int(s) for s in starts], [int(d) for d in durations]


def test_letters_come_with_the_sound_at_the_usual_pace() -> None:
    alignment = Alignment()
    alignment.begin("abcdef")
    alignment.sounded(3 / USUAL_PACE, is_end=False)
    assert heard(alignment) == ("abc", [0, 67, 133], [67, 66, 67])
    alignment.sounded(0.3 / USUAL_PACE, is_end=False)
    assert alignment.take() is None


def test_what_is_left_at_the_end_is_laid_along_what_is_left_of_the_sound() -> None:
    alignment = Alignment()
    alignment.begin("abc")
    alignment.sounded(0.4, is_end=True)
    assert heard(alignment) == ("abc ", [0, 100, 200, 300], [100, 100, 100, 100])


def test_an_utterance_is_laid_out_at_the_pace_of_the_one_before() -> None:
    alignment = Alignment()
    alignment.begin("abc")
    alignment.sounded(0.4, is_end=True)  # ten letters a second
    alignment.take()
    alignment.begin("defgh")
    alignment.sounded(0.2, is_end=False)
    assert heard(alignment) == ("de", [0, 100], [100, 100])
    for _ in range(3):
        alignment.sounded(0.04, is_end=False)
        if told := alignment.take():  # with the third, from the start of the first
            assert told == {"chars": ["f"], "charStartTimesMs": [0], "charDurationsMs": [120]}
    assert told is not None


def test_counted_from_the_start_of_the_stream_offsets_go_on() -> None:
    alignment = Alignment(is_synchronised=True)
    for begins, utterance in ((0, "abc"), (400, "def")):
        alignment.begin(utterance)
        alignment.sounded(0.4, is_end=True)
        at = [begins, begins + 100, begins + 200, begins + 300]
        assert heard(alignment) == (utterance + " ", at, [100] * 4)


def test_a_digit_takes_as_long_as_a_word() -> None:
    alignment = Alignment()
    alignment.begin("7 a")
    alignment.sounded(0.8, is_end=True)
    _, _, durations = heard(alignment)
    assert durations[0] == pytest.approx(5 * durations[2], abs=1)


def test_an_utterance_without_sound_still_spells_its_letters_once() -> None:
    alignment = Alignment()
    alignment.begin("abc")
    alignment.sounded(0.0, is_end=True)
    assert heard(alignment) == ("abc ", [0, 0, 0, 0], [0, 0, 0, 0])
    assert alignment.take() is None
