"""How a voice is proved, and what may be released."""

from typing import Literal

from pydantic import Field

from orpheus_clone.recipe.section import Section


class Gates(Section):
    """What a voice must reach to be released; null switches a gate off."""

    stream_rate_min: float | None = 90.0
    """Tokens a second of each stream at `concurrency`, median; 82.03 is real time."""
    first_speech_p50_ms: float | None = 500.0
    """From request to the first audible speech, median."""
    head_silence_p50_ms: float | None = 100.0
    """Silence before the speech, median."""
    stop_rate_min: float | None = 0.95
    """Share of utterances that end by themselves."""


class Eval(Section):
    """How the voice is proved."""

    prompts: int = Field(20, ge=1, le=200)
    """How many of the prompt set are spoken (the set repeats if it is shorter)."""
    concurrency: int = Field(10, ge=1)
    """Streams at a time."""
    speed_target: Literal["gpu", "cpu"] = "gpu"
    """The kind of hardware that the speed gates are about; on another they are not measurable."""
    max_seconds: float | None = Field(None, gt=0)
    """A shorter cut than the sampling's, for a quick look."""
    gates: Gates = Gates()


class Publish(Section):
    """What may be released."""

    allow_unproven: bool = False
    """Release a voice with gates that were not measurable; servers need --allow-unproven."""
