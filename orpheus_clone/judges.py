"""The judges that listen: words, voices, sound. Each is optional, and what is missing is said.

`auto` takes a judge that can be had here and leaves a note where it cannot; a judge that was named
must be there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from orpheus_clone import asr, quality, recipe, speaker
from orpheus_clone.asr import Asr
from orpheus_clone.errors import MachineError
from orpheus_clone.quality import Mos
from orpheus_clone.speaker import SpeakerModel

J = TypeVar("J")


@dataclass(frozen=True)
class Judges:
    """Who listens, and for people: what is not checked and why."""

    asr: Asr | None
    speaker: SpeakerModel | None
    mos: Mos | None
    notes: tuple[str, ...]

    def digests(self) -> dict[str, str | None]:
        """By what they judge: which model, or None."""
        models = {"asr": self.asr, "speaker": self.speaker, "mos": self.mos}
        return {what: model.digest if model else None for what, model in models.items()}


def open_judges(settings: recipe.Judges) -> Judges:
    """The judges that the recipe asks for; MachineError where one that it names is not here."""
    notes: list[str] = []
    return Judges(
        _open(settings.asr, "words are not checked", notes, _asr),
        _open(settings.speaker, "one speaker is not checked", notes, _speaker),
        _open(settings.mos, "DNSMOS is not measured", notes, lambda _: quality.load_mos()),
        tuple(notes),
    )


def _open(name: str, unchecked: str, notes: list[str], load: Callable[[str], J]) -> J | None:
    if name == "none":
        notes.append(f"{unchecked}: switched off in the recipe")
        return None
    try:
        return load(name)
    except MachineError as error:
        if name != "auto":
            raise
        notes.append(f"{unchecked}: {error}")
        return None


def _asr(name: str) -> Asr:
    import torch

    automatic = "large-v3-turbo" if torch.cuda.is_available() else "base"
    return asr.load(automatic if name == "auto" else name)


def _speaker(name: str) -> SpeakerModel:
    return speaker.load(None if name == "auto" else Path(name).expanduser())
