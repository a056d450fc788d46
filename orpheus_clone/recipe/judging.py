"""Who listens: in prepare, while training chooses an epoch, and in eval."""

from typing import Literal

from orpheus_clone.recipe.section import Section


class Judges(Section):
    """The models that hear words, tell voices apart, and rate the sound."""

    asr: str = "auto"
    """What hears the words: a Whisper model's name or directory; none; auto: base, or turbo on a
    GPU, if it can be had."""
    speaker: str = "auto"
    """What tells voices apart: a directory with ECAPA-TDNN's weights; none; auto: if it is here."""
    mos: Literal["auto", "none"] = "auto"
    """Whether DNSMOS listens too, if it is installed."""
