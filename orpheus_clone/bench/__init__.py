"""bench: each measures two things side by side in one run and ends in a ratio.

Absolute times are of the machine that ran it, and worth quoting only from a GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orpheus_clone.errors import RecipeError


@dataclass(frozen=True)
class Result:
    """A table for people, and the line for scripts."""

    rows: list[dict[str, Any]]
    line: dict[str, Any]


def run(name: str, *, whisper: str | None = None, recordings: Path | None = None) -> Result:
    """Run the bench of that name on nano; RecipeError if there is none.

    `whisper` and `recordings` are of the bench prepare; see there.
    """
    from orpheus_clone.bench import decode, first_audio, generate, prepare, ring, train

    known: dict[str, Callable[[], Result]] = {
        "decode": decode.run,
        "generate": generate.run,
        "first_audio": first_audio.run,
        "prepare": lambda: prepare.run(whisper, recordings),
        "train": train.run,
        "ring": ring.run,
    }
    if name not in known:
        raise RecipeError(f"there is no bench {name!r}, only {', '.join(known)}")
    if name != "prepare" and (whisper is not None or recordings is not None):
        raise RecipeError("--asr and --recordings are only of the bench prepare")
    return known[name]()
