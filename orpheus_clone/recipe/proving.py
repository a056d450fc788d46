"""How a voice is proved, and what may be released."""

from typing import Annotated, Literal

from pydantic import Field

from orpheus_clone.recipe.section import Section


class Gates(Section):
    """What a voice must reach to be released; null switches a gate off, and proves nothing."""

    stream_rate_min: float | None = 90.0
    """Tokens a second that 19 of 20 streams at `concurrency` get, or more (P5); 82.03 is real time,
    and 90 to 100 a stream are what "Serving Voice AI at $1/hr" asks for."""
    first_speech_p50_ms: float | None = 500.0
    """From request to the first audible speech, median: half a second to one is the talk's goal."""
    head_silence_p50_ms: float | None = 100.0
    """Silence before the speech, median: what the talk trained its 600 ms down to."""
    tail_silence_p50_ms: float | None = 300.0
    """Silence after the speech, median. A voice repeats the tail it was taught, 100 ms by prepare;
    on record, clips with 1.6 s of it made a voice that waits 1.3 s."""
    stop_rate_min: float | None = 0.95
    """Share of utterances that end by themselves."""
    loops_max: float | None = 0.02
    """Share that say the same again and again, or nothing, until they are cut. On record none of
    126 does where no clip was over 20 s, and 19 % do where they were 38 s."""
    cut_endings_max: float | None = 0.1
    """Share of utterances that stop in the middle of speech. prepare leaves 100 ms after it, so
    that none should."""
    wer_max: float | None = 0.1
    """Word error rate over all prompts. The smallest judge mishears 4 % of real speech itself; on
    record a good single-speaker voice has 1.5 %, and 15 % of the words missing is broken."""
    similarity_min: float | None = 0.5
    """Cosine of the voice to the speaker's held-out clips, mean. A real speaker's own clips were
    never below 0.54, strangers reach 0.41."""
    similarity_over_stock_min: float | None = 0.1
    """By how much it is nearer to the speaker than the nearest stock voice of the base is."""
    pace_max: float | None = 1.5
    """Seconds per letter over the speaker's own, median: more is dragging, on record a sign of a
    broken epoch."""
    pace_min: float | None = 0.7
    """Less is rushing, as a repetition penalty of 1.3 makes a voice do."""
    mos_min: float | None = 2.5
    """DNSMOS's overall score, mean. Good recordings have 2.8 and more, noise 2.2 and less; 3.2 is
    on record for a fine-tuned voice."""


class Eval(Section):
    """How the voice is proved."""

    prompts: int = Field(200, ge=1, le=1000)
    """How many of the prompt set of 200 are spoken (it repeats if more are asked for). With 200 a
    word error rate of 5 % is sure to about 1.5 % either way; fewer than 75 prove nothing."""
    prompts_file: str | None = None
    """A text file with prompts of your own, a line each, in place of ours: what the voice will be
    asked to say, or another language than English."""
    concurrency: int = Field(10, ge=1)
    """Streams at a time: the talk's, for which its node is sized."""
    sweep: list[Annotated[int, Field(ge=1)]] = Field([1, 2, 4, 8, 10, 16, 24, 32, 48, 64])
    """Streams at a time to try one after the other, until real time breaks; [] tries none. A node
    takes 64 at most."""
    adapters: int = Field(4, ge=1, le=64)
    """Different voices in one batch at `concurrency`, as on a node that several share: 4 is what a
    node keeps in its engine. A stream speaks in one, so no more than there are streams. 1 leaves it
    out."""
    precision_prompts: int = Field(40, ge=0)
    """Prompts spoken again in bf16 where the engine speaks in FP8, to tell what that costs and
    gains; loads the base once more. 0 leaves it out."""
    speed_target: Literal["gpu", "cpu"] = "gpu"
    """The kind of hardware that the speed gates are about; on another they are not measurable."""
    max_seconds: float | None = Field(None, gt=0)
    """A shorter cut than the sampling's, for a quick look."""
    price_per_hour: float | None = Field(None, ge=0)
    """What an hour of this machine costs, for the cost of an hour of audio."""
    currency: str = "USD"
    """Of that price; only a label."""
    gates: Gates = Gates()


class Publish(Section):
    """What may be released."""

    allow_unproven: bool = False
    """Release a voice with gates that were not measurable; servers need --allow-unproven."""
