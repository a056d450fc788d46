"""How recordings become clips, and which are kept."""

from pydantic import Field

from orpheus_clone.recipe.section import Section


class Limits(Section):
    """What a clip must be to be kept; null switches a check off.

    What is measured does not depend on these, so that another limit costs seconds.
    """

    cer_max: float | None = Field(0.5, ge=0)
    """Character errors of the text against what the ASR heard; more is another text. With the next
    two, of 687 clips 99 % of swapped texts were found and all that lacked their last clause, at a
    precision of 96 % (whisper-base, a tenth of the texts corrupted)."""
    unspoken_words_max: int | None = Field(1, ge=0)
    """Words of the text in a row that were not heard: a model would learn to skip them."""
    untold_words_max: int | None = Field(1, ge=0)
    """Words heard in a row that the text lacks: a model would learn to add words."""
    similarity_min: float | None = Field(0.30, ge=-1, le=1)
    """Of the clip's voice to the speaker's. A real speaker's own clips of 1.5 s and more were
    never below 0.54, strangers reach 0.33 to 0.41; of shorter clips less is asked."""
    part_similarity_min: float | None = Field(0.36, ge=-1, le=1)
    """Of the least similar 1.5 s of it: somebody else interrupts. With it no clean clip of 278 was
    lost, and all were found in which a stranger spoke for two seconds."""
    snr_min_db: float | None = 12.0
    """Speech over the noise around it."""
    clipped_max: float | None = Field(0.002, ge=0, le=1)
    """Share of samples in flattened peaks."""
    bandwidth_min_hz: float | None = Field(5000.0, ge=0)
    """Telephone audio ends at 4 kHz, whatever its sample rate says."""
    zeros_max: float | None = Field(0.1, ge=0, le=1)
    """Share of the clip in digital silence; the whole corpus has a limit of its own."""
    mos_min: float | None = Field(2.2, ge=1, le=5)
    """DNSMOS's overall score: 2.4 and more for real recordings, 2.2 and less under loud noise."""
    music_max: float | None = Field(0.25, ge=0, le=1)
    """Share of the time in which a note is held, as no voice holds one."""
    echo_doubted_s: float | None = Field(0.3, ge=0)
    """Seconds in which sounds die away; a room with more is a doubt, not a reason to reject."""
    hum_doubted_db: float | None = 15.0
    """Mains hum over the room tone; more is a doubt, not a reason to reject."""


class Prepare(Section):
    """How recordings become clips."""

    limits: Limits = Limits()
    """Which clips are kept."""
    loudness_lufs: float | None = Field(-20.0, ge=-40, le=-10)
    """What one gain for the whole corpus brings it to; null leaves it as it is."""
    pause_max_s: float | None = Field(None, ge=0.2)
    """A longer pause inside a clip is shortened to this; null leaves them all."""
    cut_min_s: float = Field(2.0, ge=0.5)
    """The shortest clip that a long recording is cut into."""
    cut_max_s: float = Field(20.0, ge=5, le=28)
    """The longest; a recording that is not longer is one clip."""
    head_ms: float = Field(50.0, ge=20, le=500)
    """Room tone kept before the speech; the model learns to wait just as long."""
    tail_ms: float = Field(100.0, ge=20, le=1000)
    """Room tone kept after the speech; the model reproduces the tail it was taught."""
    min_seconds: float = Field(0.4, ge=0)
    """A shorter clip is rejected."""
    max_tokens: int = Field(2048, ge=64)
    """Sequence limit of a row, text and audio together; a longer clip is rejected, never cut."""
    heldout_fraction: float = Field(0.08, gt=0, lt=0.5)
    """Share of clips, by content hash, that training never sees."""
    max_zero_fraction: float = Field(0.02, ge=0, le=1)
    """A corpus with a larger share of digital silence is refused: it is a token attractor."""
    max_rejected_fraction: float = Field(0.5, ge=0, le=1)
    """A corpus of which a larger share is rejected is refused: something is wrong with it."""
