"""nano's text vocabulary: words that occur often are one id, and anything can be written."""

import random

import sentences
import vocabulary
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone import tokens

LINES = [f"ada: {line}" for line in sentences.make(2800, 2026)]
TOKENIZER = vocabulary.train(LINES)


def test_every_word_of_the_list_is_one_id_wherever_it_stands() -> None:
    for word in sentences.WORDS:
        for line, count in ((f": {word.capitalize()}.", 3), (f": a {word}, a.", 6)):
            assert len(TOKENIZER.encode(line, add_special_tokens=False).ids) == count, word


def test_the_order_of_the_lines_does_not_matter() -> None:
    shuffled = random.Random(1).sample(LINES, len(LINES))
    assert vocabulary.train(shuffled).to_str() == TOKENIZER.to_str()


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_is_below_the_control_tokens_and_comes_back_in_lower_case(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False).ids
    assert all(0 <= i < tokens.BEGIN_OF_TEXT for i in ids)
    assert TOKENIZER.decode(ids) == text.lower()


def test_control_tokens_have_orpheuss_ids_and_the_text_begins_by_itself() -> None:
    ids = TOKENIZER.encode("<custom_token_2>hello<|eot_id|>").ids
    assert ids[:2] == [tokens.BEGIN_OF_TEXT, tokens.END_OF_SPEECH]
    assert ids[-1] == tokens.END_OF_TEXT


def test_the_used_ids_are_text_control_and_audio_each_once_in_order() -> None:
    used = vocabulary.used_ids(TOKENIZER)
    assert used == sorted(set(used))
    assert set(range(256)) < set(used)
    assert set(range(tokens.AUDIO_BASE, tokens.AUDIO_END)) < set(used)
    assert len(used) < 256 + vocabulary.SIZE + 13 + 7 * tokens.CODEBOOK
