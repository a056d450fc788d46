"""What is said in a recording, and when: Whisper, through faster-whisper.

A judge of words, shared by prepare, train's selection and eval. The model is named (`base`,
`large-v3`, …; fetched from the hub by faster-whisper) or a directory that holds one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from orpheus_clone.audio import Waveform

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Word:
    """A word as it was heard; times in seconds from the start of what was listened to."""

    text: str
    """With its punctuation, without spaces around it."""
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True)
class Heard:
    """What was heard in one waveform."""

    words: tuple[Word, ...]
    language: str
    """ISO 639-1."""


class Asr(Protocol):
    """Hears words; `digest` names model and settings, so that results can be kept under it."""

    digest: str

    def hear(
        self,
        waveforms: Sequence[Waveform],
        language: str | None,
        progress: Progress = lambda _done, _of: None,
    ) -> list[Heard]:
        """Each of the 24 kHz waveforms, at most 30 s long, to its words; language None: find it."""
        ...


def load(name: str, *, device: str | None = None) -> Asr:
    """Whisper by name or directory; MachineError where it cannot be had, saying what to do."""
    raise NotImplementedError
