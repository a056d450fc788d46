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


@dataclass(frozen=True)
class Options:
    """What single benches may be told; None is what they do unless they are."""

    whisper: str | None = None
    """Of prepare,"""
    recordings: Path | None = None
    """too."""
    out: Path | None = None
    """Of fleet,"""
    minutes: float | None = None
    """too."""

    def check(self, name: str) -> None:
        """RecipeError for an option of another bench."""
        if name != "prepare" and (self.whisper is not None or self.recordings is not None):
            raise RecipeError("--asr and --recordings are only of the bench prepare")
        if name != "fleet" and (self.out is not None or self.minutes is not None):
            raise RecipeError("--out and --minutes are only of the bench fleet")


def run(name: str, options: Options = Options()) -> Result:
    """Run the bench of that name; RecipeError if there is none."""
    from orpheus_clone.bench import (
        decode,
        first_audio,
        fleet,
        generate,
        prepare,
        ring,
        serve,
        train,
    )

    known: dict[str, Callable[[], Result]] = {
        "decode": decode.run,
        "generate": generate.run,
        "first_audio": first_audio.run,
        "prepare": lambda: prepare.run(options.whisper, options.recordings),
        "train": train.run,
        "ring": ring.run,
        "serve": serve.run,
        "fleet": lambda: fleet.run(options.out, options.minutes),
    }
    if name not in known:
        raise RecipeError(f"there is no bench {name!r}, only {', '.join(known)}")
    options.check(name)
    return known[name]()
