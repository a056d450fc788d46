"""One speaker: who speaks most, and how near each clip is to them."""

from collections.abc import Sequence
from dataclasses import dataclass

from orpheus_clone.speaker import Embedding


@dataclass(frozen=True)
class Voiceprint:
    """A clip's embedding, and those of overlapping stretches of it (for changes of speaker)."""

    whole: Embedding
    parts: tuple[Embedding, ...]
    seconds: float


@dataclass(frozen=True)
class Identity:
    """How near a clip is to the voice that is wanted, -1 to 1."""

    similarity: float
    lowest_part: float
    """Of the stretch that is least like the voice: two speakers in one clip show here."""


def identify(prints: Sequence[Voiceprint], reference: Embedding | None) -> list[Identity]:
    """Each clip against the dominant speaker, or against `reference` where one is given."""
    raise NotImplementedError
