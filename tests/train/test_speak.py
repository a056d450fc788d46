"""The fixed prompts that every epoch speaks."""

from dataclasses import replace

import numpy as np
import pytest

from orpheus_clone import text
from orpheus_clone.listening.reference import HeldOut, Reference
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Selection
from orpheus_clone.train.speak import prompt_set

CLIPS = tuple(
    HeldOut(str(n), f"Satz {n}.", np.zeros(1, np.float32)) for n in ("eins", "zwei", "drei")
)


def spoken_by(language: str) -> Reference:
    return Reference(CLIPS, language, 0.06, None)


def test_the_prompts_are_as_many_as_the_recipe_may_ask_for_and_all_can_be_said(
    base: BaseModel,
) -> None:
    most = Selection.model_fields["prompts"].metadata[1].le
    prompts = prompt_set(100, base, spoken_by("en"))
    assert len(prompts) == len(set(prompts)) == most == 12
    assert all(text.clean(prompt) == prompt for prompt in prompts)


def test_fewer_prompts_are_the_first_ones_and_still_of_every_length(base: BaseModel) -> None:
    four = prompt_set(4, base, spoken_by("en"))
    assert four == prompt_set(12, base, spoken_by("en"))[:4]
    letters = [text.letters(prompt) for prompt in four]
    assert min(letters) < 6 and max(letters) > 80
    assert any(prompt.endswith("?") for prompt in four)


@pytest.mark.parametrize(("count", "wanted"), [(2, 2), (12, 3)])
def test_another_language_is_spoken_in_the_words_of_its_held_out_clips(
    count: int, wanted: int, base: BaseModel
) -> None:
    assert prompt_set(count, base, spoken_by("de")) == [clip.text for clip in CLIPS[:wanted]]


def test_a_base_that_cannot_say_everything_says_what_it_can(base: BaseModel) -> None:
    small = replace(base, prompts=("Hello.", "Good night.", "Yes."))
    assert prompt_set(2, small, spoken_by("en")) == ["Hello.", "Good night."]
