"""Text becomes utterances: cut where a speaker would pause, and spoken as soon as may be."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencex import segment

from orpheus_clone.errors import TextError
from orpheus_clone.script import AT_ONCE, LONGEST, PACKED, Script, sentences
from orpheus_clone.text import clean, letters, letters_of

GOLDEN = Path(__file__).parent / "golden" / "sentences.txt"
CASES = [
    (language, marked.split("|"))
    for language, marked in (
        line.split("\t") for line in GOLDEN.read_text(encoding="utf-8").splitlines()
    )
]
UNCUT = [
    "Dr. Smith", "St. James St. in", "Ph.D., spoke", "$3.50", "3.14159", "2.0.1", "5 p.m. on",
    "U.S. economy", "e.g. apples", "i.e. in", "https://example.com/a.b?c=d.e", "www.example.com",
    "jane.doe@example.co.uk", "J. R. R. Tolkien", "George W. Bush", "Fig. 3", "Sec. 2.1", "No. 7",
    "Inc. in", "vs. Smith", "Jan. 5", "ft. tall", "report.final.pdf", "Node.js and ASP.NET",
    "3:30 a.m.", "Mt. Everest", "temp. is -3.5", "3,50", "z.B. viel", "Dr. Müller", "ca. 5",
    "Sr. García", "sig. Rossi", "г. Москва",
]  # fmt: skip
"""Of the golden cases: what nobody pauses in."""

HOSTILE = [
    ".", "? ", "!\n\n", "a", "a.", "A. ", "1. ", "7", " ", "'", "(«", "我", "我。", "🙂", "e\u0301",
    "<", "<laugh>",
]  # fmt: skip

WORDS = st.lists(
    st.text("abcé9'-", min_size=1, max_size=12).filter(lambda word: word[0].isalnum()), min_size=1
)
STOPS = st.sampled_from(["", "", "", ".", "!", "?", "…", ",", ";", ":", '."', ".)"])


class Counted:
    """A function, and the lengths of the texts that it was asked about."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.asked = function, list[int]()

    def __call__(self, *given: str) -> Any:
        self.asked.append(len(given[-1]))
        return self.function(*given)


def stripped(pieces: Iterable[str]) -> list[str]:
    return [piece.strip() for piece in pieces if piece.strip()]


def taken(script: Script) -> list[str]:
    return list(iter(script.take, None))


def utterances(text: str, language: str = "en") -> list[str]:
    return taken(Script.of(text, language))


def test_hard_cases_are_cut_where_a_person_would() -> None:
    right = [stripped(sentences("".join(cut), lang)) == stripped(cut) for lang, cut in CASES]
    assert len(right) == 68
    assert sum(right) >= 60


@pytest.mark.parametrize("words", UNCUT)
def test_what_nobody_pauses_in_is_not_cut(words: str) -> None:
    language, text = next((lang, "".join(cut)) for lang, cut in CASES if words in "".join(cut))
    assert any(words in sentence for sentence in sentences(text, language))


@given(st.text(max_size=200))
def test_sentences_hold_all_of_the_text(text: str) -> None:
    assert "".join(sentences(text)) == text


def test_a_line_that_ends_is_no_sentence_that_ends_and_a_paragraph_is() -> None:
    assert utterances("We go\nhome now.") == ["We go home now."]
    assert utterances("We go home\n\nThey stay " + "here " * 20) == [
        "We go home",
        ("They stay " + "here " * 20).strip(),
    ]


@pytest.mark.parametrize(
    # What an open quotation is can only be told at its end.
    "case",
    [case for case in CASES if not set("".join(case[1])) & set('"“«「(')],
)
def test_letter_by_letter_the_same_sentences_come(case: tuple[str, list[str]]) -> None:
    language, cut = case
    text = "".join(cut)
    script = Script(language)
    for letter in text:
        script.write(letter)
    script.flush()
    assert list(script._ready) == stripped(sentences(text, language))


@given(case=st.sampled_from(CASES), data=st.data())
def test_no_word_is_lost_however_the_text_comes(
    case: tuple[str, list[str]], data: st.DataObject
) -> None:
    language, cut = case
    text = "".join(cut)
    at = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    script, said = Script(language), list[str]()
    for start, end in zip([0, *at], [*at, len(text)], strict=True):
        script.write(text[start:end])
        said += taken(script)
    script.end()
    said += taken(script)
    assert "".join("".join(said).split()) == "".join(text.split())


def test_it_speaks_once_two_sentences_are_whole() -> None:
    script = Script()
    script.write("This is the first sentence of it. And this")
    assert script.take() is None
    script.write(" is the second of them, which is whole. N")
    assert script.take() is None  # the word after it is not
    script.write("ow")
    assert script.take() is None
    script.write(" a third")
    assert script.take() == (
        "This is the first sentence of it. And this is the second of them, which is whole."
    )
    assert script.take() is None


def test_later_sentences_are_spoken_one_at_a_time_as_they_come() -> None:
    script = Script()
    script.write("One is here. Two is here. And now")
    assert script.take() == "One is here. Two is here."
    script.write(" there is three. Then")
    assert script.take() is None
    script.write(" ")
    assert script.take() == "And now there is three."


def test_a_flush_speaks_what_is_there_and_what_follows_begins_anew() -> None:
    script = Script()
    script.write("Well")
    assert script.take() is None
    script.flush()
    assert script.take() == "Well"
    script.write("One is here. But two is not ")
    assert script.take() is None
    script.flush()
    assert taken(script) == ["One is here. But two is not"]


def test_a_flush_is_a_boundary_even_if_the_speaker_comes_late() -> None:
    script = Script()
    script.write("One is here. Two is here. Three")
    script.flush()
    script.write(" Four is here. And ")
    assert script.take() == "One is here. Two is here. Three"
    assert script.take() is None
    script.flush()
    assert taken(script) == ["Four is here. And"]


def test_several_flushed_utterances_are_all_spoken_and_then_it_waits_again() -> None:
    long = "This is a sentence of some sixty letters, to fill an utterance. "
    script = Script()
    script.write(long * 3)
    script.flush()
    script.write("One is here. And ")
    assert taken(script) == [long.strip()] * 3


def test_a_flush_of_nothing_begins_anew() -> None:
    script = Script()
    script.write("One is here. Two is here. And ")
    assert script.take() == "One is here. Two is here."
    script.flush()
    assert script.take() == "And"
    script.flush()
    script.write("Three is here. And ")
    assert script.take() is None


def test_nothing_is_written_after_the_end() -> None:
    script = Script.of("One is here.")
    with pytest.raises(TextError, match="has ended"):
        script.write("Two is here.")


def test_how_many_sentences_start_it_can_be_chosen() -> None:
    script = Script(start_sentences=1)
    script.write("One is here. Two ")
    assert script.take() == "One is here."


def test_a_sentence_that_never_ends_is_not_waited_for() -> None:
    script, said = Script(), list[str]()
    for _ in range(100):
        script.write("and then we went on, ")
        said += taken(script)
    assert len(said) > 5
    assert all(piece.endswith("went on,") for piece in said)
    assert all(LONGEST / 2 < letters(piece) <= LONGEST for piece in said)


def test_a_sentence_that_just_fits_is_not_cut_while_its_end_is_not_settled() -> None:
    sentence = "a" * 150 + ", " + "b" * 63 + "."
    script = Script(start_sentences=1)
    for letter in sentence + " Next one":
        script.write(letter)
    assert script.take() == sentence


def test_a_quotation_that_is_too_long_is_cut_where_its_sentences_end() -> None:
    said = [f"I went to see number {word}, and it was quite all right." for word in "abcdef"]
    pieces = utterances(f'He said: "{" ".join(said)}"')
    assert len(pieces) > 1
    assert all(piece.endswith((".", '."')) for piece in pieces)


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("size", [1, 8000])
def test_a_text_costs_what_it_is_long_whatever_is_in_it(
    unit: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmented, weighed = Counted(segment), Counted(letters_of)
    monkeypatch.setattr("orpheus_clone.script.segment", segmented)
    monkeypatch.setattr("orpheus_clone.script.letters_of", weighed)
    script, said = Script(start_sentences=1), list[str]()
    text = (unit * (8000 // len(unit)))[: 1000 * size]
    for at in range(0, len(text), size):
        segmented.asked, weighed.asked = [], []
        script.write(text[at : at + size])
        assert max(segmented.asked) <= AT_ONCE + LONGEST
        assert sum(segmented.asked) <= size * 1.25 + LONGEST
        assert sum(weighed.asked) <= size * 3 + 3 * LONGEST
        said += taken(script)
        assert script.held <= LONGEST
    script.end()
    said += taken(script)
    assert sum(map(str.isalnum, "".join(said))) == sum(map(str.isalnum, text))


def test_what_takes_longer_to_say_is_cut_shorter() -> None:
    assert max(map(len, utterances("我们今天去公园" * 30, "zh"))) <= LONGEST / 5
    assert max(map(len, utterances("7" * 300))) <= LONGEST / 5
    assert all(letters(piece) <= LONGEST for piece in utterances("1 " * 300))


def test_a_list_is_cut_at_its_lines_however_they_end() -> None:
    item = "another thing of forty letters or thereabouts"
    for end in ("\n", "\r\n"):
        lines = end.join(f"- {number} {item}" for number in ("one", "two", "three", "four"))
        assert [piece.split()[-1] for piece in utterances(lines)] == ["thereabouts"] * 2
    assert stripped(sentences("We go home\r\n\r\nThey stay")) == ["We go home", "They stay"]


def test_sentences_are_packed_while_they_fit() -> None:
    one = "a" * 49 + "."
    assert utterances(f"A{one} B{one} C{one}") == [f"A{one} B{one}", f"C{one}"]
    assert len(f"A{one} B{one}") <= PACKED


def test_a_long_sentence_is_cut_after_a_comma_else_at_a_space_else_anywhere() -> None:
    half = "x" * 150
    assert utterances(f"{half}, {half}") == [f"{half},", half]
    assert utterances(f"{half} {half}") == [half, half]
    assert utterances("y" * 500) == ["y" * 220, "y" * 220, "y" * 60]


def test_numbers_and_times_are_not_cut_at_their_commas_and_colons() -> None:
    text = "so " * 65 + "at 10:30 she paid 12,500 for it"
    assert [part.split()[-1] for part in utterances(text)] == ["10:30", "it"]


def test_a_piece_of_dashes_alone_is_not_spoken() -> None:
    assert utterances("Hello.\n\n— —\n\nYou there.") == ["Hello. You there."]


def test_a_short_text_is_one_utterance() -> None:
    assert utterances("x" * LONGEST) == ["x" * LONGEST]
    assert utterances("Hello there") == ["Hello there"]
    assert utterances("<laugh> That is funny. <sigh> No.") == ["<laugh> That is funny. <sigh> No."]


@given(words=WORDS, stops=st.data())
def test_every_word_is_kept_in_order_and_no_utterance_is_too_long(
    words: list[str], stops: st.DataObject
) -> None:
    text = " ".join(word + stops.draw(STOPS) for word in words)
    pieces = utterances(clean(text))
    assert " ".join(pieces).split() == clean(text).split()
    assert all(piece and letters(piece) <= LONGEST for piece in pieces)


@given(raw=st.text(max_size=600))
def test_any_text_is_cut_into_utterances_that_can_be_said(raw: str) -> None:
    try:
        text = clean(raw)
    except TextError:
        return
    pieces = utterances(text)
    assert pieces
    assert all(piece and letters(piece) <= LONGEST for piece in pieces)
    spoken = [c for c in text if c.isalnum()]
    assert [c for piece in pieces for c in piece if c.isalnum()] == spoken


async def test_who_waits_for_the_next_is_woken_by_it_and_by_the_end() -> None:
    script = Script()
    first = asyncio.ensure_future(script.next())
    await asyncio.sleep(0)
    script.write("Hello")
    await asyncio.sleep(0)
    assert not first.done()
    script.flush()
    assert await first == "Hello"
    second = asyncio.ensure_future(script.next())
    await asyncio.sleep(0)
    script.write(" you")
    script.end()
    assert await second == "you"
    assert await script.next() is None


def test_what_is_held_was_written_and_not_taken() -> None:
    script = Script()
    script.write("One is here. Two is")
    assert script.held == len("One is here. Two is") - 1  # without the space between
    script.flush()
    script.take()
    assert script.held == 0
