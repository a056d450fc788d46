from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.asr import Word
from orpheus_clone.prepare.slices import Slices, ends_after


def heard(text: str, word_s: float = 0.3) -> list[Word]:
    return [Word(word, i * word_s, (i + 1) * word_s, 0.9) for i, word in enumerate(text.split())]


def slices(text: str, words: str, language: str = "en") -> Slices:
    spoken = heard(words)
    return Slices(text, spoken, spoken[-1].end_s, language)


def cut(text: str, words: str) -> list[str]:
    """The slices of a text, `/` among the heard words being the cuts."""
    parts = [part.split() for part in words.split("/")]
    counts = [0]
    for part in parts:
        counts.append(counts[-1] + len(part))
    sliced = slices(text, words.replace("/", " "))
    return [sliced.between(a, b) for a, b in pairwise(counts)]


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("Hello, you. Bye now.", "hello you / bye now", ["Hello, you.", "Bye now."]),
        # Misheard words keep their place.
        ("The Babylonians were here. He left.", "the baby loans were hear / he left",
         ["The Babylonians were here.", "He left."]),
        # Punctuation goes with the word before it, an opening quote with the one after.
        ("It was \u2014 no. \u201cYes,\u201d he said.", "it was no / yes he said",
         ["It was \u2014 no.", "\u201cYes,\u201d he said."]),
        ("\u2014 Oh. So.", "oh / so", ["\u2014 Oh.", "So."]),
        # What was not heard at a cut is divided at the end of its sentence.
        ("One two. Three four. Five six.", "one two / five six",
         ["One two. Three four.", "Five six."]),
        ("One two three four. Five six.", "one two / five six",
         ["One two three four.", "Five six."]),
        ("One two. And then five six.", "one two / five six", ["One two.", "And then five six."]),
        # What is heard and not in the text belongs to no slice.
        ("One two three. Four five six.", "one two three / um well / four five six",
         ["One two three.", "", "Four five six."]),
        ("Five, six.  Seven\n eight.", "five six / seven eight", ["Five, six.", "Seven eight."]),
    ],
)  # fmt: skip
def test_each_clip_gets_its_part_of_the_text(text: str, words: str, expected: list[str]) -> None:
    assert cut(text, words) == expected


def test_text_that_cannot_have_been_said_in_the_time_is_left_out() -> None:
    chapter = "Nobody recorded this chapter about the old mill by the river. " * 4
    assert cut(f"One two three. {chapter}Four five six.", "one two three / four five six") == [
        "One two three.",
        "Four five six.",
    ]
    # There is time for it in a pause of twelve seconds, in which the ASR may have missed it.
    words = [
        *heard("one two three"),
        *(Word(w.text, w.start_s + 12, w.end_s + 12, 0.9) for w in heard("four five six")),
    ]
    patient = Slices(f"One two three. {chapter}Four five six.", words, 20.0, "en")
    assert patient.between(0, 3) == f"One two three. {chapter}".strip()
    assert patient.between(3, 6) == "Four five six."


def test_a_chapter_that_was_not_recorded_does_not_scatter_what_was() -> None:
    chapter = "a man and the woman went to the mill and the house by the river "
    text = f"He said so at once. {chapter * 5}. The man went to the house."
    assert cut(text, "he said so at once / the man went to the house") == [
        "He said so at once.",
        "The man went to the house.",
    ]


def test_sentences_end_where_the_text_says_and_abbreviations_end_none() -> None:
    sliced = slices(
        "He met Mr. Briggs. It was late, and cold", "he met mister briggs it was late and cold"
    )
    assert [i for i in range(10) if sliced.ends_sentence(i)] == [0, 4, 9]


@pytest.mark.parametrize(
    ("pieces", "ends"),
    [
        (["He", "met", "Mr.", "Briggs.", "Then", "he", "left"], {0, 4, 7}),
        (["A", "sum", "of", "3.", "and", "more."], {0, 6}),
        (["\u201cOh!\u201d", "Yes?", "No."], {0, 1, 2, 3}),
        (["One cue", "ends. Another", "begins."], {0, 3}),
        ([], {0}),
    ],
)
def test_sentences_end_after_these_words(pieces: list[str], ends: set[int]) -> None:
    assert ends_after(pieces, "en") == ends


def test_a_script_without_spaces_is_cut_by_its_characters() -> None:
    text = "\u4eca\u65e5\u306f\u6674\u308c\u3002\u660e\u65e5\u306f\u96e8\u3002"
    words = [
        Word(c, i * 0.2, i * 0.2 + 0.2, 0.9)
        for i, c in enumerate("\u4eca\u65e5\u306f\u6674\u308c\u660e\u65e5\u306f\u96e8")
    ]
    sliced = Slices(text, words, 2.0, "ja")
    assert sliced.between(0, 5) == "\u4eca\u65e5\u306f\u6674\u308c\u3002"
    assert sliced.between(5, 9) == "\u660e\u65e5\u306f\u96e8\u3002"
    assert sliced.ends_sentence(5)


WORDS = st.lists(
    st.sampled_from(["the", "a", "man", "river", "old.", "mill,", "went!", "\u2014", "home"]),
    max_size=25,
)


@given(WORDS, WORDS.filter(bool), st.data())
def test_slices_follow_each_other_and_lose_nothing(
    text: list[str], words: list[str], data: st.DataObject
) -> None:
    spoken = heard(" ".join(words), word_s=5.0)  # so slowly that nothing is impossible
    sliced = Slices(" ".join(text), spoken, spoken[-1].end_s + 100, "en")
    counts = sorted(data.draw(st.lists(st.integers(0, len(words)), max_size=4)))
    edges = [0, *counts, len(words)]
    parts = [sliced.between(a, b) for a, b in pairwise(edges)]
    assert " ".join(" ".join(parts).split()) == (
        " ".join(text) if any(t != "\u2014" for t in text) else ""
    )
