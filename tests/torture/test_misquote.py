"""Wrong transcripts are wrong in the way that their case says."""

import misquote
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

TEXTS = [
    "The general good was at a discount.",
    "Bates was at once captured in Norfolk Street, Strand.",
    "They retain the hydrogen and the carbon.",
    "Sometimes this money might be expended.",
    "Authority was given to raise money.",
]
VOCABULARY = ["hydrogen", "captured", "discount", "morning", "quarter", "carbon", "street"]


def words_of(texts: list[str]) -> list[set[str]]:
    return [{w for w in misquote.words(text) if misquote.is_content(w)} for text in texts]


@pytest.mark.parametrize("seed", range(5))
def test_swapped_texts_are_the_same_texts_in_other_places(seed: int) -> None:
    swapped = misquote.swapped(TEXTS, np.random.default_rng(seed))
    assert sorted(swapped) == sorted(TEXTS)
    for mine, theirs in zip(words_of(TEXTS), words_of(swapped), strict=True):
        assert len(mine & theirs) <= min(len(mine), len(theirs)) / 4


def test_texts_that_are_alike_cannot_be_swapped() -> None:
    with pytest.raises(ValueError, match="too alike"):
        misquote.swapped(["press one", "press two", "press"], np.random.default_rng(0))


@given(st.integers(0, 1000), st.sampled_from(TEXTS))
def test_a_change_is_one_content_word_of_a_short_text(seed: int, text: str) -> None:
    old = misquote.words(text)
    new = misquote.words(misquote.changed(text, VOCABULARY, np.random.default_rng(seed)))
    different = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert len(different) == 1
    assert misquote.is_content(different[0][0])
    assert different[0][1] in VOCABULARY


def test_a_long_text_loses_one_content_word_in_eight() -> None:
    text = " ".join(["window"] * 24)
    changed = misquote.changed(text, VOCABULARY, np.random.default_rng(0)).split()
    assert sum(word != "window" for word in changed) == 3


def test_a_text_without_content_words_loses_its_longest() -> None:
    changed = misquote.changed("It is not at all so", VOCABULARY, np.random.default_rng(0))
    assert changed.startswith("It is ")
    assert len(set(changed.split()) & set(VOCABULARY)) == 1


def test_a_new_word_keeps_the_capital_of_the_old() -> None:
    changed = misquote.changed("Window.", VOCABULARY, np.random.default_rng(0))
    assert changed[0].isupper()
    assert changed.endswith(".")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Please stay on the line, and somebody will answer.", "Please stay on the line."),
        ("To begin, press the star key on your telephone.", "To begin, press the star key."),
        ("All our lines are busy now", "All our lines are."),
        ("One. Two three four five six, seven.", "One. Two three four five."),
    ],
)
def test_the_last_clause_is_lost_or_else_the_last_third(text: str, left: str) -> None:
    assert misquote.cut(text) == left


@pytest.mark.parametrize(
    ("word", "is_content"),
    [("hydrogen", True), ("four", True), ("the", False), ("this", False), ("8500", False)],
)
def test_content_words_are_long_and_no_function_words(word: str, is_content: bool) -> None:
    assert misquote.is_content(word) is is_content
