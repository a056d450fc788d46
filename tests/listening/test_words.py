"""What was said against what was heard, in counts: each case can be counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.listening.words import Difference, difference, words

SENTENCE = "Please hang up your phone and call back."


@pytest.mark.parametrize(
    ("heard", "edits", "said"),
    [
        ("Please hang up your phone and call back.", 0, 8),
        ("please hang up your phone and call", 1, 7),  # deleted
        ("please hang up your own phone and call back", 1, 8),  # inserted
        ("please hang up your garden and call back", 1, 7),  # substituted
        ("please hang up your fone and call back", 1, 8),  # an error, but it was said
        ("", 8, 0),
        ("your phone and call back please hang up", 6, 5),
    ],
)
def test_word_errors_are_substitutions_insertions_and_deletions(
    heard: str, edits: int, said: int
) -> None:
    found = difference(SENTENCE, heard, "en")
    assert (found.words, found.word_edits, found.words_said) == (8, edits, said)


def test_digits_tags_and_spelling_of_numbers_make_no_error() -> None:
    found = difference(
        "It's 23 dollars, <laugh> Mr. Smith!", "its twenty-three dollars mister Smith", "en"
    )
    assert (found.words, found.word_edits, found.letter_edits) == (6, 0, 0)


def test_where_words_are_parted_is_no_error() -> None:
    found = difference("She sells sea shells.", "she sells seashells", "en")
    assert found == Difference(words=4, word_edits=0, letters=17, letter_edits=0, words_said=4)


@pytest.mark.parametrize(
    ("text", "language", "wanted"),
    [
        ("वह घर जाता है।", "hi", ["वह", "घर", "जाता", "है"]),
        ("தமிழ் மொழி", "ta", ["தமிழ்", "மொழி"]),
        ("क्\u200dष", "hi", ["क्ष"]),
        ("مُحَمَّدٌ، كِتَاب", "ar", ["محمد", "كتاب"]),
        ("שָׁלוֹם", "he", ["שלום"]),
        ("กิน ข้าว", "th", list("กินข้าว")),
        ("snake_case, naïve!", "en", ["snake", "case", "naïve"]),
    ],
)
def test_words_keep_their_vowel_signs_but_where_those_may_be_left_out(
    text: str, language: str, wanted: list[str]
) -> None:
    assert words(text, language) == wanted


def test_another_vowel_sign_is_another_word() -> None:
    assert difference("की", "को", "hi").word_edits == 1
    assert difference("वह घर जाता है", "वह घर जाती हैं", "hi").word_edits == 2


def test_a_year_may_be_read_either_way() -> None:
    for said in (
        "eighteen twenty-eight boxes",
        "one thousand eight hundred and twenty-eight boxes",
    ):
        assert difference(said, "1828 boxes", "en").word_edits == 0


def test_letter_errors_are_edits_over_the_letters_without_spaces() -> None:
    found = difference("ten cats", "ten dogs", "en")
    assert (found.letters, found.letter_edits) == (7, 3)


def test_more_may_be_wrong_than_there_are_words() -> None:
    found = difference("Yes.", "you know it is so", "en")
    assert (found.words, found.word_edits) == (1, 5)


@given(
    st.lists(st.sampled_from(["red", "boat", "harbour", "seven", "under"]), min_size=1, max_size=8)
)
def test_what_was_said_as_written_has_no_error_and_every_word(spoken: list[str]) -> None:
    found = difference(" ".join(spoken), " ".join(spoken), "en")
    assert (found.word_edits, found.letter_edits) == (0, 0)
    assert found.words_said == found.words == len(spoken)


@given(
    st.lists(st.sampled_from(["red", "boat", "harbour"]), min_size=1, max_size=6),
    st.lists(st.sampled_from(["red", "boat", "window"]), max_size=6),
)
def test_counts_stay_within_what_there_is(said: list[str], heard: list[str]) -> None:
    found = difference(" ".join(said), " ".join(heard), "en")
    assert abs(len(said) - len(heard)) <= found.word_edits <= max(len(said), len(heard))
    assert 0 <= found.words_said <= found.words
