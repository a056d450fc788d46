"""What a voice is asked to say: 200 sentences of our own, of every length, and a few special ones.

prompts.txt   greetings, numbers, names, questions, orders, tongue twisters, two sentences
ONE_WORD      the shortest texts, which voices like to answer with silence or with noise
CARRIERS      into which an emotion tag is put
"""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from orpheus_clone.errors import RecipeError
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Eval

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


def prompts_for(
    settings: Eval, base: BaseModel, language: str, heldout: Sequence[str]
) -> list[str]:
    """As many as the recipe asks for: its own, or what the base can say, or ours, or of a voice
    that speaks no English what its speaker says in the held-out clips."""
    if settings.prompts_file is not None:
        lines = _own(Path(settings.prompts_file).expanduser())
    elif base.prompts:
        lines = list(base.prompts)
    elif language == ENGLISH:
        lines = _lines()
    else:
        lines = list(heldout)
    return [lines[i % len(lines)] for i in range(settings.prompts)]


def _own(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"eval.prompts_file {path}: cannot be read: {error}") from None
    prompts = [line for line in lines if line]
    if not prompts:
        raise RecipeError(f"eval.prompts_file {path}: holds no prompt; write one a line")
    return prompts


@cache
def _lines() -> list[str]:
    text = (files("orpheus_clone.eval") / "prompts.txt").read_text(encoding="utf-8")
    return text.splitlines()
