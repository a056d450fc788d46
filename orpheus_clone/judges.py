"""The judges that listen: words, voices, sound. Each is optional, and what is missing is said.

`auto` takes a judge that can be had here and leaves a note where it cannot; a judge that was named
must be there.

They take gigabytes of a GPU, which whoever speaks needs too. So train and eval call a `Jury`, which
says who will listen and holds nobody, and open it when all is spoken.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from orpheus_clone import asr, gpu, quality, recipe, speaker
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


@dataclass(frozen=True)
class Jury:
    """Who will listen, before anybody does."""

    digests: Mapping[str, str | None]
    """As `Judges.digests`."""
    notes: tuple[str, ...]
    """For people: what will not be checked and why."""
    assemble: Callable[[], Judges]

    def open(self) -> Judges:
        """The judges; MachineError where they are no longer those that were called.

        A judge that `auto` found at first may not load now, for want of memory. Without it a voice
        would pass unheard.
        """
        gpu.give_back()
        judges = self.assemble()
        now = judges.digests()
        changed = [f"judges.{what}" for what, digest in self.digests.items() if digest != now[what]]
        if changed:
            raise MachineError(
                f"{' and '.join(changed)}: not what was here at the start "
                f"({'; '.join(judges.notes) or 'another model'}). Free memory and run the same "
                f"command again, which goes on from here; or do without: --set {changed[0]}=none"
            )
        return judges


def call(settings: recipe.Judges) -> Jury:
    """The jury that the recipe asks for: opens all judges once, to know them, and keeps none."""
    judges = open_judges(settings)
    jury = Jury(judges.digests(), judges.notes, partial(open_judges, settings))
    del judges
    gpu.give_back()
    return jury


def seated(judges: Judges) -> Jury:
    """A jury of judges that are here already."""
    return Jury(judges.digests(), judges.notes, lambda: judges)


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
