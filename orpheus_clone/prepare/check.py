"""Whether a text is what was said: the transcript against what the ASR heard."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Match:
    """How a clip's text and what was heard in it agree, after both are normalised."""

    cer: float
    """Character error rate, edits over the text's characters; can exceed 1."""
    unspoken: str
    """The longest run of words of the text that was not heard; "" if there is none."""
    untold: str
    """The longest run of words that was heard and is not in the text."""
    substituted: tuple[tuple[str, str], ...]
    """Words of the text and what was heard in their place, where they do not sound alike."""


def match(text: str, heard: str, language: str) -> Match:
    """Align `text` and `heard`."""
    raise NotImplementedError
