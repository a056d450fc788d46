"""Two evaluations compared: pairs, differences that are sure and those that are not."""

from dataclasses import replace

import numpy as np
import pytest

from orpheus_clone.errors import DataError
from orpheus_clone.eval.compare import FEWEST_TEXTS, Compared, compare
from orpheus_clone.eval.lines import Line
from tests.eval.test_measures import LINE, MUTE

LUCK = np.random.default_rng(0)


def lines(count: int = 40, **changes: object) -> list[Line]:
    return [replace(LINE, text=f"Text {n}.", **changes) for n in range(count)]  # type: ignore[arg-type]


def row(name: str, these: list[Line], others: list[Line]) -> Compared:
    return next(row for row in compare(these, others) if row.name == name)


def test_a_voice_is_no_better_than_itself() -> None:
    assert {found.result for found in compare(lines(), lines())} == {"unclear"}
    assert {found.difference for found in compare(lines(), lines())} == {0}


def test_fewer_errors_are_better_and_a_lower_similarity_is_worse() -> None:
    better = row("word error rate", lines(word_edits=0), lines(word_edits=1))
    assert (better.this, better.other, better.difference) == (0, 0.1, -0.1)
    assert (better.low, better.high, better.result) == (-0.1, -0.1, "better")
    assert row("similarity", lines(similarity=0.5), lines()).result == "worse"


def test_a_pace_that_differs_is_neither_better_nor_worse() -> None:
    assert row("pace", lines(pace=1.2), lines()).result == "different"


def test_a_small_difference_in_noise_is_unclear_unless_it_is_in_every_pair() -> None:
    noisy = [replace(line, similarity=0.7 + LUCK.normal(0, 0.2)) for line in lines()]
    others = [replace(line, similarity=0.7 + LUCK.normal(0, 0.2)) for line in lines()]
    assert row("similarity", noisy, others).result == "unclear"
    lifted = [replace(line, similarity=(line.similarity or 0) + 0.02) for line in noisy]
    assert row("similarity", lifted, noisy).result == "better"


def test_one_voice_that_spoke_twice_is_seldom_surely_better_in_anything() -> None:
    luck = np.random.default_rng(1)

    def spoken() -> list[Line]:
        return [
            replace(
                LINE,
                text=f"Text {n}.",
                rate=100 + luck.normal(0, 5),
                first_audio_ms=200 + luck.normal(0, 20),
                head_ms=50 + luck.normal(0, 10),
                tail_ms=100 + luck.normal(0, 40),
                pace=1 + luck.normal(0, 0.1),
                similarity=0.6 + luck.normal(0, 0.05),
                mos=3 + luck.normal(0, 0.2),
                pitch_hz=120 + luck.normal(0, 10),
            )
            for n in range(FEWEST_TEXTS)
        ]

    found = [compare(spoken(), spoken()) for _ in range(40)]
    assert sum(any(row.result != "unclear" for row in rows) for rows in found) <= 5


def test_of_few_texts_nothing_is_sure_however_often_they_were_spoken() -> None:
    few = lines(FEWEST_TEXTS - 1) * 4
    worse = [replace(line, similarity=0.1) for line in few]
    found = row("similarity", worse, few)
    assert (found.difference, found.low, found.high, found.result) == (-0.6, None, None, "unclear")
    more = lines(FEWEST_TEXTS)
    worse = [replace(line, similarity=0.1) for line in more]
    assert row("similarity", worse, more).result == "worse"


def test_prompts_are_paired_by_text_wherever_they_stand() -> None:
    mine = [replace(LINE, text="One.", word_edits=0), replace(LINE, text="Two.", word_edits=3)]
    found = row("word error rate", mine, [*reversed(mine), replace(LINE, text="Three.")])
    assert (found.pairs, found.difference) == (2, 0)


def test_a_prompt_that_is_spoken_twice_is_paired_in_order() -> None:
    twice = [replace(LINE, word_edits=0), replace(LINE, word_edits=5)]
    found = row("word error rate", twice, twice[:1])
    assert (found.pairs, found.this) == (1, 0)


def test_what_one_has_no_judge_for_is_not_compared() -> None:
    found = row("similarity", lines(similarity=None), lines())
    assert (found.pairs, found.this, found.result) == (0, None, "unclear")


def test_a_voice_that_went_mute_is_worse_and_never_is_null() -> None:
    mute = [replace(MUTE, text=line.text) for line in lines()]
    found = row("head silence P50", mute, lines())
    assert (found.this, found.other, found.difference, found.result) == (None, 60.0, None, "worse")


def test_two_mute_voices_are_unclear() -> None:
    mute = [replace(MUTE, text=line.text) for line in lines()]
    assert row("head silence P50", mute, mute).result == "unclear"


def test_without_a_prompt_in_common_nothing_is_compared() -> None:
    with pytest.raises(DataError, match="no prompt in common"):
        compare([LINE], [replace(LINE, text="Other.")])
