"""The prompt set, and prompts of one's own."""

from dataclasses import replace
from pathlib import Path

import pytest

from orpheus_clone.errors import RecipeError
from orpheus_clone.eval.prompts import ONE_WORD, prompt_set, prompts_for
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Eval
from orpheus_clone.text import clean, letters


def test_there_are_200_sentences_of_every_length_that_can_be_said() -> None:
    prompts = prompt_set(200)
    assert len(set(prompts)) == 200
    assert [clean(prompt) for prompt in prompts] == prompts
    lengths = sorted(map(letters, prompts))
    assert lengths[0] < 5
    assert lengths[100] > 30
    assert lengths[-1] > 100
    assert sum(prompt.endswith("?") for prompt in prompts) >= 25


def test_the_set_repeats_when_more_are_wanted() -> None:
    assert prompt_set(450) == (prompt_set(200) * 3)[:450]


def test_english_is_asked_for_our_own_and_another_language_for_what_its_speaker_says(
    base: BaseModel,
) -> None:
    heldout = ["Guten Morgen.", "Bis bald."]
    assert prompts_for(Eval(prompts=3), base, "en", heldout) == prompt_set(3)
    assert prompts_for(Eval(prompts=3), base, "de", heldout) == [*heldout, "Guten Morgen."]


def test_prompts_of_ones_own_are_read_a_line_each(base: BaseModel, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("One.\n\n  Two.  \n", encoding="utf-8")
    settings = Eval(prompts=3, prompts_file=str(own))
    assert prompts_for(settings, base, "de", ["Guten Tag."]) == ["One.", "Two.", "One."]


@pytest.mark.parametrize("content", [None, "\n \n"])
def test_a_file_without_prompts_is_refused_by_name(
    base: BaseModel, tmp_path: Path, content: str | None
) -> None:
    own = tmp_path / "own.txt"
    if content is not None:
        own.write_text(content, encoding="utf-8")
    with pytest.raises(RecipeError, match=r"eval\.prompts_file .*own\.txt"):
        prompts_for(Eval(prompts_file=str(own)), base, "en", [])


def test_a_base_that_cannot_say_everything_is_asked_for_what_it_can(
    base: BaseModel, tmp_path: Path
) -> None:
    small = replace(base, prompts=("Hello.", "Good night."))
    assert prompts_for(Eval(prompts=3), small, "en", []) == ["Hello.", "Good night.", "Hello."]
    own = tmp_path / "own.txt"
    own.write_text("One.", encoding="utf-8")
    assert prompts_for(Eval(prompts=1, prompts_file=str(own)), small, "en", []) == ["One."]


def test_one_word_is_one_word() -> None:
    assert all(" " not in word for word in ONE_WORD)
