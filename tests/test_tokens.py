"""The ids are written out as numbers, worked out by hand: id = 128266 + slot * 4096 + code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from orpheus_clone import tokens
from orpheus_clone.errors import TokenError

CODES = arrays.arrays(
    np.int64, st.tuples(st.integers(0, 12), st.just(7)), elements=st.integers(0, 4095)
)
TEXT = [128000, 72, 105]


def test_one_frame_by_hand() -> None:
    codes = np.array([[1, 2, 3, 4, 5, 6, 7]])
    expected = [128267, 132364, 136461, 140558, 144655, 148752, 152849]
    assert tokens.codes_to_tokens(codes) == expected
    assert tokens.tokens_to_codes(expected).tolist() == codes.tolist()


def test_the_lowest_and_the_highest_frame_by_hand() -> None:
    lowest = [128266, 132362, 136458, 140554, 144650, 148746, 152842]
    highest = [132361, 136457, 140553, 144649, 148745, 152841, 156937]
    assert tokens.codes_to_tokens(np.zeros((1, 7), np.int64)) == lowest
    assert tokens.codes_to_tokens(np.full((1, 7), 4095)) == highest
    assert tokens.tokens_to_codes([*lowest, *highest]).tolist() == [[0] * 7, [4095] * 7]


def test_two_frames_interleave_depth_first() -> None:
    coarse, middle, fine = [10, 20], [11, 14, 21, 24], [12, 13, 15, 16, 22, 23, 25, 26]
    codes = tokens.interleave([np.array(book) for book in (coarse, middle, fine)])
    assert codes.tolist() == [[10, 11, 12, 13, 14, 15, 16], [20, 21, 22, 23, 24, 25, 26]]
    assert [book.tolist() for book in tokens.deinterleave(codes)] == [coarse, middle, fine]


@given(CODES)
def test_interleave_undoes_deinterleave(codes: tokens.Codes) -> None:
    assert np.array_equal(tokens.interleave(tokens.deinterleave(codes)), codes)


@given(st.lists(st.lists(st.integers(0, 4095), min_size=7, max_size=7), max_size=12))
def test_deinterleave_undoes_interleave(frames: list[list[int]]) -> None:
    books = [
        np.array([code for frame in frames for code in frame[at]], np.int64)
        for at in (slice(0, 1), slice(1, 3), slice(3, 7))
    ]
    for book, again in zip(books, tokens.deinterleave(tokens.interleave(books)), strict=True):
        assert book.tolist() == again.tolist()


@given(CODES)
def test_tokens_undo_codes(codes: tokens.Codes) -> None:
    assert np.array_equal(tokens.tokens_to_codes(tokens.codes_to_tokens(codes)), codes)


@given(st.lists(st.tuples(*[st.sampled_from(tokens.slot_ids(slot)) for slot in range(7)])))
def test_codes_undo_tokens(frames: list[tuple[int, ...]]) -> None:
    ids = [token for frame in frames for token in frame]
    assert tokens.codes_to_tokens(tokens.tokens_to_codes(ids)) == ids


@pytest.mark.parametrize("slot", range(7))
@pytest.mark.parametrize("code", [0, 4095])
def test_the_edges_of_the_codebook_are_legal_in_every_slot(slot: int, code: int) -> None:
    codes = np.full((1, 7), 5)
    codes[0, slot] = code
    assert tokens.tokens_to_codes(tokens.codes_to_tokens(codes))[0, slot] == code


@pytest.mark.parametrize("slot", range(7))
@pytest.mark.parametrize("code", [-1, 4096])
def test_one_step_past_the_codebook_is_refused_in_every_slot(slot: int, code: int) -> None:
    codes = np.full((2, 7), 5)
    codes[1, slot] = code
    with pytest.raises(TokenError, match=f"frame 1 slot {slot} holds code {code}"):
        tokens.codes_to_tokens(codes)


@pytest.mark.parametrize("slot", range(7))
@pytest.mark.parametrize("past", [-1, 4096])
def test_an_id_one_step_out_of_its_slot_is_refused(slot: int, past: int) -> None:
    ids = tokens.codes_to_tokens(np.full((2, 7), 5))
    ids[7 + slot] = 128266 + slot * 4096 + past
    with pytest.raises(TokenError, match=f"token {7 + slot} is {ids[7 + slot]}.* slot {slot}"):
        tokens.tokens_to_codes(ids)


@pytest.mark.parametrize("left_over", range(1, 7))
def test_a_partial_frame_is_refused(left_over: int) -> None:
    ids = tokens.codes_to_tokens(np.zeros((2, 7), np.int64))[: 7 + left_over]
    with pytest.raises(TokenError, match=f"{left_over} left over"):
        tokens.tokens_to_codes(ids)


def test_codes_that_are_not_rows_of_seven_are_refused() -> None:
    with pytest.raises(TokenError, match=r"shape \(2, 6\)"):
        tokens.codes_to_tokens(np.zeros((2, 6), np.int64))
    with pytest.raises(TokenError, match=r"shape \(7,\)"):
        tokens.codes_to_tokens(np.zeros(7, np.int64))


@pytest.mark.parametrize("sizes", [(2, 4, 7), (2, 3, 8), (2, 5, 8), (1, 4, 8)])
def test_codebooks_that_are_not_whole_frames_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(TokenError, match="not 1 : 2 : 4"):
        tokens.interleave([np.zeros(size, np.int64) for size in sizes])


def test_a_codec_of_four_codebooks_is_refused() -> None:
    with pytest.raises(TokenError, match="3 codebooks, got 4"):
        tokens.interleave([np.zeros(0, np.int64)] * 4)


def test_slots_are_seven_ranges_that_touch() -> None:
    ids = [token for slot in range(7) for token in tokens.slot_ids(slot)]
    assert ids == list(range(128266, 156938))
    assert tokens.AUDIO_END == 156938
    for slot in (-1, 7):
        with pytest.raises(TokenError, match=f"slot {slot} does not exist"):
            tokens.slot_ids(slot)


def test_real_time_is_82_tokens_a_second() -> None:
    assert tokens.REAL_TIME_RATE == 82.03125


def test_a_prompt_by_hand() -> None:
    assert tokens.prompt(TEXT) == [128259, 128000, 72, 105, 128009, 128260, 128261, 128257]


@pytest.mark.parametrize("text_ids", [[], [72, 105], [128259, 128000, 72]])
def test_a_text_that_does_not_begin_with_128000_is_refused(text_ids: list[int]) -> None:
    with pytest.raises(TokenError, match="begins with"):
        tokens.prompt(text_ids)


@pytest.mark.parametrize("control", [128000, 128001, 128009, 128257, 128258, 128266, 156939, -1])
def test_a_second_begin_or_any_control_id_in_a_text_is_refused(control: int) -> None:
    with pytest.raises(TokenError, match=f"text token 2 is {control}"):
        tokens.prompt([128000, 72, control, 105])


def test_the_last_ordinary_text_id_is_legal() -> None:
    assert 127999 in tokens.prompt([128000, 127999])
    assert 0 in tokens.prompt([128000, 0])


def test_a_training_row_learns_the_audio_and_the_end_of_speech_alone() -> None:
    row = tokens.training_row(tokens.prompt(TEXT), np.array([[1, 2, 3, 4, 5, 6, 7]]))
    audio = [128267, 132364, 136461, 140558, 144655, 148752, 152849]
    assert row.input_ids == [
        *[128259, 128000, 72, 105, 128009, 128260, 128261, 128257],
        *audio,
        *[128258, 128262],
    ]
    assert row.labels == [-100] * 8 + audio + [128258, -100]


@given(CODES.filter(len), st.lists(st.integers(0, 127999)))
def test_row_length_foretells_the_row(codes: tokens.Codes, text: list[int]) -> None:
    prompt = tokens.prompt([128000, *text])
    row = tokens.training_row(prompt, codes)
    assert tokens.row_length(len(prompt), len(codes)) == len(row.input_ids) == len(row.labels)


def test_a_row_without_audio_is_refused() -> None:
    with pytest.raises(TokenError, match="at least one frame"):
        tokens.training_row(tokens.prompt(TEXT), np.zeros((0, 7), np.int64))


def test_labels_are_as_many_as_ids() -> None:
    with pytest.raises(TokenError, match="2 ids have 1 labels"):
        tokens.TrainingRow([1, 2], [1])
