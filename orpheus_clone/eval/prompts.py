"""What a voice is asked to say: 200 sentences of our own, of every length, and a few special ones.

prompts.txt   greetings, numbers, names, questions, orders, tongue twisters, two sentences
ONE_WORD      the shortest texts, which voices like to answer with silence or with noise
CARRIERS      into which an emotion tag is put
"""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

ONE_WORD = ("Yes.", "No.", "Hello.", "Thanks.", "Okay.", "Tomorrow.", "Seven.", "Goodbye.")
CARRIERS = (
    "I did not expect that. {tag} Anyway, let us go on.",
    "It has been a very long day. {tag} Now I am going home.",
    "So that is what you meant. {tag} I see it now.",
)
ENGLISH = "en"


def prompt_set(count: int) -> list[str]:
    """`count` prompts in English; the set of 200 repeats, with another seed each time."""
    lines = _lines()
    return [lines[i % len(lines)] for i in range(count)]


def prompts_for(language: str, heldout: Sequence[str], count: int) -> list[str]:
    """`count` prompts in a voice's language: where that is not English, what its speaker says."""
    if language == ENGLISH or not heldout:
        return prompt_set(count)
    return [heldout[i % len(heldout)] for i in range(count)]


@cache
def _lines() -> list[str]:
    text = (files("orpheus_clone.eval") / "prompts.txt").read_text(encoding="utf-8")
    return text.splitlines()
