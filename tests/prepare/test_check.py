"""Texts against what was heard: what is a fault, and what is only another spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.listening.words import ALIKE, likeness, words
from orpheus_clone.prepare.check import Match, match

SENTENCE = "The old harbour was closed before the winter storms arrived."


def test_what_was_said_matches_whatever_its_spelling() -> None:
    said = "It's twenty-three dollars — please, call Mr. Smith <laugh> at 5:00!"
    heard = "its 23 dollars please call mister smith at 5 o'clock"
    assert words(said, "en")[:4] == ["its", "twenty", "three", "dollars"]
    found = match(said, heard, "en")
    assert found.substituted == ()
    assert found.cer < 0.15


def test_equal_texts_have_no_fault() -> None:
    assert match(SENTENCE, SENTENCE.upper(), "en") == Match(0.0, "", "", (), 10)


def test_the_character_error_rate_is_edits_over_the_letters_of_the_text() -> None:
    assert match("ten cats", "ten dogs", "en").cer == pytest.approx(3 / 7)
    assert match("ten", "ten cats", "en").cer == pytest.approx(4 / 3)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("grey", "gray"),
        ("caret", "carrot"),
        ("lowercase", "lower case"),
        ("follow-up", "followup"),
        ("Dickson", "Dixon"),
        ("Probert's", "Proberts"),
        ("whole-heartedly", "wholeheartedly"),
        ("knight", "night"),
        ("write", "right"),
        ("Catherine", "Kathryn"),
        ("naïve", "naive"),
    ],
)
def test_words_that_sound_alike_are_no_fault(said: str, heard: str) -> None:
    assert match(f"he saw {said} there", f"he saw {heard} there", "en").substituted == ()


@pytest.mark.parametrize(
    ("said", "heard"),
    [("harbour", "garden"), ("closed", "opened"), ("winter", "summer"), ("storms", "letters")],
)
def test_a_changed_word_is_named_with_what_was_heard(said: str, heard: str) -> None:
    found = match(SENTENCE, SENTENCE.replace(said, heard), "en")
    assert found.substituted == ((said, heard),)
    assert (found.unspoken, found.untold) == ("", "")


def test_a_year_is_read_as_it_was_said() -> None:
    for said in ("about eighteen twenty-eight", "about one thousand eight hundred twenty-eight"):
        assert match(said, "About 1828.", "en").cer == pytest.approx(0.0, abs=0.1)
    assert match("about eighteen eighteen", "About 1828.", "en").cer > 0.1


def test_one_misspelt_word_is_no_error() -> None:
    assert match("one", "won", "en").cer == 0.0
    assert match("caret", "carrot", "en").cer == 0.0
    assert match("one", "two", "en").cer > 0.6


def test_words_parted_elsewhere_are_the_same() -> None:
    for said, heard in [("N B S", "NBS"), ("by Bonaventura Corti", "by Bonnie Ventura Cordy")]:
        found = match(said, heard, "en")
        assert (found.cer, found.unspoken, found.untold, found.substituted) == (0.0, "", "", ())


def test_a_clause_that_was_not_spoken_is_found() -> None:
    found = match(f"{SENTENCE} Nobody went out.", SENTENCE, "en")
    assert (found.unspoken, found.untold, found.substituted) == ("nobody went out", "", ())


def test_a_clause_that_the_text_lacks_is_found() -> None:
    found = match(SENTENCE, f"Well, you know, {SENTENCE}", "en")
    assert (found.unspoken, found.untold, found.substituted) == ("", "well you know", ())


def test_of_several_runs_the_longest_is_told() -> None:
    found = match("one boat left the long pier today", "one left the today", "en")
    assert found.unspoken == "long pier"


def test_another_sentence_has_a_high_error_rate() -> None:
    found = match(SENTENCE, "Please enter your number followed by the pound key.", "en")
    assert found.cer > 0.6
    assert found.substituted


@pytest.mark.parametrize(("said", "heard"), [("", ""), ("<laugh>", ""), ("...", "?")])
def test_no_words_match_no_words(said: str, heard: str) -> None:
    assert match(said, heard, "en") == Match(0.0, "", "", (), 0)


def test_nothing_heard_of_a_text_is_all_unspoken() -> None:
    assert match("seven boats", "", "en") == Match(1.0, "seven boats", "", (), 2)


def test_words_heard_without_a_text_are_all_untold() -> None:
    assert match("", "seven", "en") == Match(5.0, "", "seven", (), 0)


def test_scripts_without_spaces_go_by_characters() -> None:
    assert words("你好,世界", "zh") == ["你", "好", "世", "界"]
    found = match("今天天气很好", "今天天气", "zh")
    assert found.unspoken.replace(" ", "") == "很好"
    assert found.cer == pytest.approx(2 / 6)


def test_accents_and_compatible_forms_are_the_same_word() -> None:
    assert words("Cafe\u0301 \uff11", "en") == words("café 1", "en")


@pytest.mark.parametrize("language", ["de", "fr", "es", "it", "xx"])
def test_every_language_is_compared(language: str) -> None:
    assert match("Um 3 Uhr", "um 3 uhr", language).cer == 0.0


@given(st.text("abcdefghk ", max_size=30), st.text("abcdefghk ", max_size=30))
def test_the_two_sides_mirror_each_other(a: str, b: str) -> None:
    there, back = match(a, b, "en"), match(b, a, "en")
    assert sum(map(len, there.unspoken.split())) == sum(map(len, back.untold.split()))
    assert there.cer * max(1, len("".join(words(a, "en")))) == pytest.approx(
        back.cer * max(1, len("".join(words(b, "en"))))
    )


@given(st.text("abcdefgh", min_size=1), st.text("abcdefgh", min_size=1))
def test_likeness_is_symmetric_and_whole_for_the_same_word(a: str, b: str) -> None:
    assert likeness(a, b) == likeness(b, a)
    assert 0 <= likeness(a, b) <= 1
    assert likeness(a, a) == 1


def test_likeness_of_known_pairs() -> None:
    assert likeness("grey", "gray") == 1
    assert likeness("harbour", "garden") < ALIKE
    assert likeness("cat", "dog") < ALIKE


def test_two_short_words_in_a_row_are_more_than_a_long_one() -> None:
    found = match("see to it unquestionably one day then", "see one day then", "en")
    assert found.unspoken == "to it unquestionably"
    found = match("an unquestionably good day and so on it goes", "an good day goes", "en")
    assert found.unspoken == "and so on it"
