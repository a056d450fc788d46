"""The epochs of a run: each kept and heard as it ends, and one of them released.

    RUN/epochs/
      identity.txt          of the run: another's epochs are forgotten
      epoch-1/              the adapter, as it would be released
        spoken/             what it said, see heard.py
    RUN/epochs.json, RUN/train.html     the table, see report.py

Everything is read back from these files. So a run that was killed while an epoch spoke lets that
epoch speak again, and no other; other prompts or judges let every epoch that is kept speak again;
and other limits only choose anew.
"""

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from orpheus_clone import bundle, disk
from orpheus_clone.bundle import Adapter
from orpheus_clone.judges import Jury, call
from orpheus_clone.layout import RunDir
from orpheus_clone.listening import reference
from orpheus_clone.listening.figures import RANDOM_BASE, add_up
from orpheus_clone.listening.hear import Listener
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Recipe
from orpheus_clone.speech import Voice
from orpheus_clone.train import heard, report
from orpheus_clone.train.heard import Heard
from orpheus_clone.train.model import save_adapter
from orpheus_clone.train.select import Choice, Epoch, choose, is_over
from orpheus_clone.train.speak import prompt_set, speak_prompts

_IDENTITY = "identity.txt"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Released:
    """The epoch that became the voice."""

    epoch: Epoch
    adapter_digest: str


class Epochs:
    """See the module docstring."""

    def __init__(
        self,
        out: RunDir,
        model: Any,
        base: BaseModel,
        voice: str,
        recipe: Recipe,
        say: Say,
    ) -> None:
        """`model` is in training (PeftModel); `say` is told what happens. RUN/reference/ is there.

        MachineError where a judge that the recipe names is not here: now, not hours later.
        """
        self._out, self._model, self._base, self._voice = out, model, base, voice
        self._recipe, self._say = recipe, say
        self._settings = recipe.train.selection
        self._reference = reference.read(out)
        self._prompts = prompt_set(self._settings.prompts, base, self._reference)
        self._jury = call(recipe.judges) if is_heard(base, recipe) else None
        self._key = _key(self._prompts, recipe, base, self._jury) if self._jury else ""
        self._notes = self._jury.notes if self._jury else (_why_unheard(base),)

    def end(self, number: int, step: int) -> bool:
        """Keep and hear epoch `number`, which ended with `step`; whether training should stop.

        Those before it are heard too, where they were not by these judges and prompts.
        """
        if not self._is_kept(number):
            save_adapter(self._model, self._folder(number), self._base.name)
        for n in filter(self._is_kept, range(1, number + 1)):
            if self._jury and self._heard(n) is None:
                self._hear(n, self._jury)
        epochs = self._read(number, step)
        self._report(epochs)
        return is_over(epochs, self._settings)

    def release(self, steps: int, per_epoch: int) -> Released:
        """Choose among the epochs of a run of so many steps; the chosen becomes RUN/adapter."""
        epochs = self._read(steps // per_epoch, steps)
        choice = self._report(epochs)
        chosen = next(epoch for epoch in epochs if epoch.number == choice.epoch)
        folder = self._folder(choice.epoch)
        with disk.atomic_dir(self._out.adapter) as temporary:
            for name in (bundle.WEIGHTS_FILE, bundle.CONFIG_FILE):
                shutil.copyfile(folder / name, temporary / name)
        digest = disk.sha256_file(self._out.adapter / bundle.WEIGHTS_FILE)
        return Released(chosen, digest)

    def _hear(self, number: int, jury: Jury) -> None:
        folder, prompts = self._folder(number), self._prompts
        digest = disk.sha256_file(folder / bundle.WEIGHTS_FILE)
        adapter = Adapter(bundle.bundle_name(f"epoch-{number}", digest), folder, digest)
        voice = Voice(self._voice, adapter, self._recipe.sampling)

        def progress(done: int, of: int) -> None:
            self._say(f"epoch {number} speaks: {done} of {of} prompts")

        spoken = asyncio.run(speak_prompts(self._model, self._base, voice, prompts, progress))
        self._say(f"epoch {number} is heard")
        # Opened each time: what judges hold of a GPU's memory, training needs in between.
        listener = Listener(jury.open(), self._reference)
        hearings = listener.hear(spoken)
        heard.write(folder, self._key, add_up(hearings, listener), spoken, hearings)

    def _read(self, number: int, step: int) -> list[Epoch]:
        """Those kept of epochs 1 to `number`, which ended with `step`."""
        per_epoch = step // number
        lines = self._out.metrics.read_text(encoding="utf-8").splitlines()
        steps = [json.loads(line) for line in lines[:step]]
        epochs = []
        for n in filter(self._is_kept, range(1, number + 1)):
            mine = steps[(n - 1) * per_epoch : n * per_epoch]
            found = self._heard(n)
            epoch = Epoch(
                number=n,
                step=n * per_epoch,
                loss=fmean(line["loss"] for line in mine),
                heldout_loss=mine[-1]["heldout_loss"],
                figures=found.figures if found else None,
            )
            epochs.append(epoch)
        return epochs

    def _report(self, epochs: list[Epoch]) -> Choice:
        choice = choose(epochs, self._settings)
        utterances = {
            e.number: found.utterances for e in epochs if (found := self._heard(e.number))
        }
        table = report.Table(self._voice, epochs, choice, self._notes, utterances)
        report.write(self._out, table, self._settings)
        return choice

    def _heard(self, number: int) -> Heard | None:
        return heard.read(self._folder(number), self._key) if self._key else None

    def _is_kept(self, number: int) -> bool:
        return (self._folder(number) / bundle.WEIGHTS_FILE).is_file()

    def _folder(self, number: int) -> Path:
        return self._out.epochs / f"epoch-{number}"


def is_heard(base: BaseModel, recipe: Recipe) -> bool:
    """Whether epochs speak at all: not of a base that cannot, nor where the recipe says no."""
    return recipe.train.selection.prompts > 0 and not base.is_random


def chosen_by(base: BaseModel, recipe: Recipe) -> list[object]:
    """What decides between the epochs of a run, as plain data."""
    chosen: list[object] = [recipe.train.selection.model_dump()]
    if is_heard(base, recipe):
        chosen += [recipe.sampling.model_dump(), recipe.judges.model_dump()]
    return chosen


def _why_unheard(base: BaseModel) -> str:
    return RANDOM_BASE if base.is_random else "train.selection.prompts is 0: no epoch is heard"


def _key(prompts: list[str], recipe: Recipe, base: BaseModel, jury: Jury) -> str:
    """Of everything that what is heard depends on, beside the adapter."""
    by = [recipe.sampling.model_dump(), base.codec_digest, jury.digests]
    return disk.sha256_json([prompts, *by])


def forget_others(folder: Path, identity: str) -> None:
    """Delete the epochs of a run with other settings, data or base."""
    path = folder / _IDENTITY
    if path.is_file() and path.read_text(encoding="utf-8") == identity:
        return
    shutil.rmtree(folder, ignore_errors=True)
    disk.write_text(path, identity)
