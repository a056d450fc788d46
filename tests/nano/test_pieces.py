"""Speech taken to pieces and put together: what is said is what the text says."""

import numpy as np
import pieces
import pytest
from numpy.typing import NDArray

from orpheus_clone.tokens import FRAME_SAMPLES, SAMPLE_RATE

WORD_S, GAP_S = 0.3, 0.05
LEVELS = {"one": 0.1, "two": 0.2, "three,": 0.3, "four?": 0.4}
"""Each word is a tone of its own loudness."""


def clip(words: list[str], voice: str = "ada", gap_s: float = GAP_S) -> pieces.Clip:
    sound: list[NDArray[np.float32]] = []
    times = []
    for word in words:
        start = sum(map(len, sound)) / SAMPLE_RATE + pieces.EARLY_S
        times.append((start, start + WORD_S))
        tone = np.sin(np.arange(round(WORD_S * SAMPLE_RATE)) / 20) * LEVELS[word]
        sound += [tone.astype(np.float32), np.zeros(round(gap_s * SAMPLE_RATE), np.float32)]
    return pieces.cut(voice, " ".join(words), np.concatenate(sound), times)


def loudness(samples: NDArray[np.float32]) -> float:
    return float(np.abs(samples).max())


def test_a_clip_is_cut_in_the_quiet_between_its_words() -> None:
    cut = clip(["one", "two", "three,"])
    assert (len(cut.begins), len(cut.ends), cut.begins[0]) == (3, 3, 0)
    for i in (1, 2):
        assert cut.ends[i - 1] == cut.begins[i]
        assert np.abs(cut.samples[cut.begins[i] - 5 : cut.begins[i] + 5]).max() == 0


def test_a_pause_between_two_words_belongs_to_neither() -> None:
    said = clip(["one", "two"], gap_s=0.5)
    assert said.ends[0] / SAMPLE_RATE == pytest.approx(WORD_S + pieces.EDGE_S, abs=0.01)
    assert said.begins[1] / SAMPLE_RATE == pytest.approx(WORD_S + 0.5 - pieces.EDGE_S, abs=0.01)


def test_joined_pieces_say_what_their_text_says_and_tell_when() -> None:
    first, second = clip(["one", "two", "three,"]), clip(["four?", "one"])
    row = pieces.joined([(first, 1, 3), (second, 0, 1)])
    assert row.text == "two three, four?".replace("three,", "three")
    ends = [*row.starts[1:], len(row.samples)]
    assert row.starts[2] % FRAME_SAMPLES == 0  # where a frame begins
    heard = [loudness(row.samples[a:b]) for a, b in zip(row.starts, ends, strict=True)]
    assert heard == pytest.approx([0.2, 0.3, 0.4], abs=0.01)


def test_marks_stay_inside_a_piece_and_a_row_ends_with_one() -> None:
    row = pieces.joined([(clip(["one", "three,", "two"]), 0, 3)])
    assert row.text == "one three, two."
    assert pieces.joined([(clip(["three,", "two"]), 0, 1)]).text == "three."


def test_a_whole_clip_is_as_it_was_said() -> None:
    said = clip(["one", "four?"])
    row = pieces.whole(said)
    assert row.text == "one four?"
    assert len(row.samples) == said.ends[-1] - said.begins[0]
    assert row.starts == [begin - said.begins[0] for begin in said.begins]


def test_rows_are_of_one_voice_in_turn_and_the_same_for_the_same_seed() -> None:
    clips = [clip(["one", "two"]), clip(["three,", "four?"], "ben")]
    rows = list(pieces.draw(clips, 20, 5, seed=1))
    assert [row.voice for row in rows] == ["ada", "ben"] * 10
    assert all(len(row.starts) == len(row.text.split()) for row in rows)
    ada = {word.strip(".") for row in rows[::2] for word in row.text.split()}
    assert ada <= {"one", "two"}
    assert [row.text for row in pieces.draw(clips, 20, 5, seed=1)] == [row.text for row in rows]
    assert [row.text for row in pieces.draw(clips, 20, 5, seed=2)] != [row.text for row in rows]
    assert max(len(row.starts) for row in rows) <= 5


def test_softened_a_row_begins_and_ends_in_quiet_and_is_else_as_it_was() -> None:
    row = pieces.whole(clip(["one", "two"]))
    soft = pieces.softened(row)
    assert soft.samples[0] == soft.samples[-1] == 0
    middle = slice(pieces.SOFT, -pieces.SOFT)
    assert np.array_equal(soft.samples[middle], row.samples[middle])
    assert loudness(soft.samples[: pieces.SOFT // 8]) < loudness(row.samples[: pieces.SOFT]) / 4
    assert (soft.text, soft.starts) == (row.text, row.starts)
