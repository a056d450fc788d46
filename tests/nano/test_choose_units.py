"""Which recording of a word is taken: the one that is heard, and not by chance."""

import random

import choose_units
import measure
import numpy as np
import pytest
import sentences
from choose_units import Codes, Trial

from orpheus_clone import nano

CAT, DOG = ("ada", "cat"), ("ada", "dog")


def codes(number: int) -> Codes:
    return np.full((2, 7), number, np.uint16)


@pytest.fixture
def trial() -> Trial:
    return Trial({CAT: [codes(0), codes(1)], DOG: [codes(2), codes(3)]})


def taken(trial: Trial, key: tuple[str, str]) -> int:
    return int(trial.best()[key][0, 0])


def test_what_is_heard_as_its_word_is_taken(trial: Trial) -> None:
    for _ in range(4):
        trial.add([(CAT, 0), (DOG, 1)], ["hat", "dog"])
        trial.add([(CAT, 1), (DOG, 0)], ["cat", "bog"])
    assert (taken(trial, CAT), taken(trial, DOG)) == (1, 3)


def test_words_that_are_heard_beside_the_line_count_for_nobody(trial: Trial) -> None:
    trial.add([(CAT, 0), (DOG, 0)], ["a", "cat", "and", "dog"])
    assert [trial.tally[key, 0].right for key in (CAT, DOG)] == [1, 1]


def test_what_was_heard_least_is_said_next(trial: Trial) -> None:
    trial.add([(CAT, 1)], ["cat"])
    assert trial.least_heard(CAT, random.Random(0)) == 0
    assert {trial.least_heard(DOG, random.Random(seed)) for seed in range(9)} == {0, 1}


def test_one_lucky_hearing_weighs_less_than_its_kind(trial: Trial) -> None:
    for _ in range(30):
        trial.add([(DOG, 0)], ["bog"])
        trial.add([(DOG, 1)], ["dog"])
    trial.add([(CAT, 0)], ["cat"])
    trial.add([(CAT, 1)], ["cat"])
    assert trial.score(CAT, 0) < trial.score(CAT, 1)
    assert taken(trial, CAT) == 1


def test_its_lines_are_not_what_nano_is_measured_with_and_every_voice_gets_some() -> None:
    made = [line for _, line in zip(range(400), choose_units.lines(), strict=False)]
    kept = {*measure.rung(50), *nano.prompts()}
    asked = {tuple(sentences.words_of(line)) for line in kept}
    assert {voice for voice, _ in made} == set(nano.VOICES)
    assert not {tuple(words) for _, words in made} & asked
