import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orpheus_clone.errors import TextError
from orpheus_clone.text import MAX_UTTERANCE_CHARS, clean, utterances

WORDS = st.lists(
    st.text("abcé9'-", min_size=1, max_size=12).filter(lambda word: word[0].isalnum()), min_size=1
)
STOPS = st.sampled_from(["", "", "", ".", "!", "?", "…", ",", ";", ":", '."', ".)"])


def test_white_space_becomes_single_spaces() -> None:
    assert clean("  Hello,\n\tworld \u2028 again\u00a0now ") == "Hello, world again now"


def test_letters_are_composed() -> None:
    assert clean("cafe\u0301") == "caf\u00e9"


@given(st.text())
def test_cleaning_twice_changes_nothing(raw: str) -> None:
    try:
        once = clean(raw)
    except TextError:
        return
    assert clean(once) == once
    assert unicodedata.is_normalized("NFC", once)


@pytest.mark.parametrize(
    "control",
    ["<|eot_id|>", "<|begin_of_text|>", "<|end_of_text|>", "<custom_token_3>", "<|x y|>", "<||>"],
)
def test_control_tokens_are_refused_and_named(control: str) -> None:
    with pytest.raises(TextError, match="control token") as caught:
        clean(f"Hello {control} there")
    assert repr(control) in str(caught.value)


def test_a_control_token_spread_over_lines_is_refused() -> None:
    with pytest.raises(TextError, match="control token"):
        clean("hello <|eot\n id|>")


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\ud800"])
def test_control_characters_and_lone_surrogates_are_refused(character: str) -> None:
    with pytest.raises(TextError, match="control character"):
        clean(f"a{character}b")


@pytest.mark.parametrize("nothing", ["", "  \n", "…", "?!", "👍🎉", "— —", "\u0301", "<giggle>"])
def test_a_text_with_nothing_to_say_is_refused(nothing: str) -> None:
    with pytest.raises(TextError, match="nothing to say"):
        clean(nothing, tags=("laugh",))


@pytest.mark.parametrize("spoken", ["a", "7", "½", "Ωμέγα", "你好", "नमस्ते", "👍 ok"])
def test_any_script_can_be_said(spoken: str) -> None:
    assert clean(spoken) == spoken


def test_a_known_tag_alone_can_be_said() -> None:
    assert clean("<laugh>", tags=("laugh",)) == "<laugh>"
    with pytest.raises(TextError, match="nothing to say"):
        clean("<laugh>")


def test_a_tag_in_a_sentence_is_kept() -> None:
    assert clean("Well <sigh> no.", tags=("sigh",)) == "Well <sigh> no."
    assert clean("Well <sigh> no.") == "Well <sigh> no."


def test_sentences_are_packed_while_they_fit() -> None:
    assert utterances("One. Two! Three?", 9) == ["One. Two!", "Three?"]
    assert utterances("One. Two! Three?", 8) == ["One.", "Two!", "Three?"]


def test_a_long_sentence_is_cut_after_a_comma() -> None:
    assert utterances("first part, second part", 12) == ["first part,", "second part"]


def test_a_sentence_without_commas_is_cut_at_a_space() -> None:
    assert utterances("one two three", 7) == ["one two", "three"]


def test_a_word_over_the_limit_is_cut_and_loses_nothing() -> None:
    assert utterances("abcdefgh", 3) == ["abc", "def", "gh"]


def test_numbers_and_times_are_not_cut_at_their_commas_and_colons() -> None:
    assert utterances("at 10:30 she paid 12,500 for it", 12) == [
        "at 10:30 she",
        "paid 12,500",
        "for it",
    ]


def test_chinese_is_cut_without_spaces() -> None:
    assert utterances("你好。再见。", 3) == ["你好。", "再见。"]


def test_a_short_text_is_one_utterance() -> None:
    text = "x" * MAX_UTTERANCE_CHARS
    assert utterances(text) == [text]
    assert utterances(text + "y") == [text, "y"]


def test_a_piece_of_dashes_alone_is_not_spoken() -> None:
    assert utterances("Hello. " + "- " * 10 + "there", 10) == ["Hello.", "there"]


@given(words=WORDS, stops=st.data(), longest=st.integers(15, 60))
def test_every_word_is_kept_in_order_and_no_piece_is_too_long(
    words: list[str], stops: st.DataObject, longest: int
) -> None:
    text = " ".join(word + stops.draw(STOPS) for word in words)
    pieces = utterances(clean(text), longest)
    assert " ".join(pieces).split() == clean(text).split()
    assert all(0 < len(piece) <= longest for piece in pieces)


@given(raw=st.text(max_size=300), longest=st.integers(5, 60))
def test_any_text_is_cut_into_pieces_that_can_be_said(raw: str, longest: int) -> None:
    try:
        text = clean(raw)
    except TextError:
        assume(False)
        return
    pieces = utterances(text, longest)
    assert pieces
    assert all(0 < len(piece) <= longest for piece in pieces)
    spoken = [c for c in text if c.isalnum()]
    assert [c for piece in pieces for c in piece if c.isalnum()] == spoken
