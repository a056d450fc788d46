import unicodedata

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.errors import TextError
from orpheus_clone.text import clean, longest_s, unknown_tags
from tests.conftest import DATA_SAMPLES


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


def test_thirty_marks_may_stand_on_a_letter_and_no_more() -> None:
    assert clean("a\u0301" + 29 * "\u0323")
    for marks in (31 * "\u0323", 4000 * "\u0301\u0323"):
        with pytest.raises(TextError, match="more than 30 marks"):
            clean(f"Hello a{marks}")


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


@pytest.mark.parametrize(
    ("spoken", "seconds"),
    [
        ("Hi.", 2.5),
        ("1984", 5.3),
        ("你好。", 4.5),
        ("Well <sigh> no.", 6.83),
        ("x" * 120, 22.0),
        ("5 %", 3.83),
    ],
)
def test_how_long_a_text_may_take_at_most(spoken: str, seconds: float) -> None:
    assert longest_s(spoken) == pytest.approx(seconds, abs=0.05)


def test_no_recording_of_the_sample_takes_as_long() -> None:
    lines = (DATA_SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()
    shares = [
        soundfile.info(DATA_SAMPLES / f"{name}.flac").duration / longest_s(spoken)
        for name, spoken in (line.split("|") for line in lines)
    ]
    assert len(shares) == 18
    assert max(shares) < 0.8


TAGS = ("laugh", "chuckle", "sigh", "cough", "sniffle", "groan", "yawn", "gasp")


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("<laugh> Well <sigh>.", {}),
        ("<laughs> and <laughter>", {"laughs": "laugh", "laughter": "laugh"}),
        ("<giggle>", {"giggle": None}),
        ("</laugh> <Laugh>", {"/laugh": "laugh", "Laugh": "laugh"}),
        ("<long pause>", {"long pause": None}),
        ("a < b > c, <3, <>, <5>", {}),
    ],
)
def test_unknown_tags_come_with_the_nearest_known(
    line: str, unknown: dict[str, str | None]
) -> None:
    assert unknown_tags(line, TAGS) == unknown


def test_a_base_without_tags_knows_none() -> None:
    assert unknown_tags("<laugh>", ()) == {"laugh": None}
