"""The training loop: one optimiser step after another, each a function of its number alone.

    step ──its clips──▶ each process its share ──packed rows──▶ loss, gradients ──mean──▶ one update

The clips of a step, the learning rate and the seed of its dropout follow from the step's number, so
a run that goes on from a checkpoint takes the same steps as one that was never interrupted. Several
processes (`accelerate launch`, a GPU each) take the same steps as one, up to rounding: they share
the clips of a step, and one that has fewer rows than another takes a row for nothing.

An epoch ends with the held-out loss, a checkpoint, and `at_epoch_end`, which may end the run. Files
and reports are the main process's.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orpheus_clone import recipe as recipes
from orpheus_clone.errors import MachineError, TrainingError
from orpheus_clone.layout import RunDir
from orpheus_clone.tokens import TrainingRow
from orpheus_clone.train import checkpoint, interrupt
from orpheus_clone.train.checkpoint import Training
from orpheus_clone.train.dataset import batches, loss_tokens
from orpheus_clone.train.interrupt import Asked
from orpheus_clone.train.loss import AudioLoss
from orpheus_clone.train.metrics import Log, Step, steps_told
from orpheus_clone.train.optimizer import make_optimizer
from orpheus_clone.train.pack import pack, plan, shares

_PATIENCE = timedelta(hours=6)
"""How long the other processes wait while one lets the voice speak."""

Report = Callable[[Step], None]
EpochEnd = Callable[[int, int], bool]
"""Told the epoch, from 1, and the steps so far; says whether the run ends here. Asked again when a
run goes on from the end of an epoch."""


def never(_epoch: int, _steps: int) -> bool:
    """An `EpochEnd` that lets every epoch be trained."""
    return False


class Loop:
    """A run: what it trains, and on what."""

    def __init__(
        self,
        model: Any,
        rows: Sequence[TrainingRow],
        heldout: Sequence[TrainingRow],
        settings: recipes.Train,
        precision: str,
    ) -> None:
        from accelerate import Accelerator, InitProcessGroupKwargs
        from transformers import get_linear_schedule_with_warmup

        _check_launch()
        self._rows, self._heldout, self._settings = rows, heldout, settings
        self.per_epoch = math.ceil(len(rows) / settings.batch_size)
        self.steps = self.per_epoch * settings.epochs
        self._accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision="bf16" if precision == "bf16" else "no",
            kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
        )
        self.is_main: bool = self._accelerator.is_main_process
        self._device: torch.device = self._accelerator.device
        self.model = model
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = make_optimizer(self._parameters, settings)
        schedule = get_linear_schedule_with_warmup(optimizer, settings.warmup_steps, self.steps)
        # accelerate's own schedule would take a step for each process.
        self._loss, optimizer = self._accelerator.prepare(AudioLoss(model), optimizer)
        self.training = Training(model, optimizer, schedule)

    def run(
        self,
        out: RunDir,
        identity: str,
        report: Report = lambda _step: None,
        at_epoch_end: EpochEnd = never,
    ) -> int:
        """Train from the last checkpoint of this identity to the end; returns the steps in all."""
        # Steps of which the metrics do not tell, as after a power cut, are taken again.
        told = steps_told(out.metrics)
        start = checkpoint.resume(out.checkpoints, identity, self.training, told)
        with contextlib.ExitStack() as open_files, interrupt.noticed() as asked:
            log = self.is_main and open_files.enter_context(contextlib.closing(Log(out, start)))
            ends = start > 0 and self._ends(start, asked, at_epoch_end)
            step = start
            while not ends and step < self.steps:
                line, is_asked = self._step(step, asked)
                step += 1
                if log:
                    log.add(line)
                    report(line)
                self._keep(step, out.checkpoints, identity, is_asked)
                if is_asked:
                    asked.end()
                ends = self._ends(step, asked, at_epoch_end)
        return step

    def wait(self) -> None:
        """Until every process is here."""
        self._accelerator.wait_for_everyone()

    def heldout_loss(self) -> float:
        """Mean loss of a token over the held-out clips."""
        rows = plan(_lengths(self._heldout), self._settings.row_tokens)
        self._loss.eval()
        with torch.no_grad():
            losses = [float(self._summed([self._heldout[i] for i in row])) for row in rows]
        loss = sum(losses) / loss_tokens(self._heldout)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the held-out loss is {loss}: the weights blew up; lower train.learning_rate, "
                "with which training begins anew"
            )
        return loss

    def _step(self, step: int, asked: Asked) -> tuple[Step, bool]:
        """The step's line, and whether any process was asked to end."""
        began = time.perf_counter()
        settings = self._settings
        epoch, index = divmod(step, self.per_epoch)
        clips = batches(len(self._rows), settings.batch_size, settings.seed, epoch)[index]
        count = loss_tokens([self._rows[i] for i in clips])
        self._seed(step)
        loss, is_asked = self._gradients([self._rows[i] for i in clips], count, asked)
        if not math.isfinite(loss):
            raise _blown_up(step, "loss", loss, clips)
        norm = float(self._accelerator.clip_grad_norm_(self._parameters, settings.max_grad_norm))
        if not math.isfinite(norm):  # scaled by 1 / norm, so the step would make NaN of the adapter
            raise _blown_up(step, "gradient's norm", norm, clips)
        rate = float(self.training.schedule.get_last_lr()[0])
        self.training.optimizer.step()
        self.training.schedule.step()
        self.training.optimizer.zero_grad()
        seconds = time.perf_counter() - began
        line = Step(
            step=step + 1,
            steps=self.steps,
            epoch=round((step + 1) / self.per_epoch, 3),
            loss=loss,
            learning_rate=rate,
            grad_norm=norm,
            tokens_per_second=round(count / seconds, 1),
            heldout_loss=self.heldout_loss() if self._is_epoch_end(step + 1) else None,
        )
        return line, is_asked

    def _gradients(
        self, clips: Sequence[TrainingRow], count: int, asked: Asked
    ) -> tuple[float, bool]:
        """Take a step's passes; its mean loss in all processes, and whether one should end."""
        processes = self._accelerator.num_processes
        mine = shares(_lengths(clips), self._settings.row_tokens, processes)
        rows = mine[self._accelerator.process_index]
        total = torch.zeros((), device=self._device)
        self._loss.train()
        for number, row in enumerate(rows, start=1):
            is_last = number == len(rows)
            # Gradients are averaged over the processes; a row for nothing is any clip, weighing 0.
            weight = processes / count if row else 0.0
            chosen = [clips[i] for i in row] or clips[:1]
            apart = contextlib.nullcontext() if is_last else self._accelerator.no_sync(self._loss)
            with apart, memory_errors(sum(_lengths(chosen))):
                loss = self._summed(chosen) * weight
                self._accelerator.backward(loss)
            total += loss.detach()
        wish = torch.tensor(float(asked.by is not None), device=self._device)
        told = self._accelerator.reduce(torch.stack([total / processes, wish]), "sum").tolist()
        return told[0], told[1] > 0

    def _summed(self, clips: Sequence[TrainingRow]) -> torch.Tensor:
        """The summed loss of clips in a row."""
        loss: torch.Tensor = self._loss(*pack(clips).to(self._device))
        return loss

    def _seed(self, step: int) -> None:
        """What is random in a step does not depend on the steps before, nor on an epoch's end."""
        seed = [self._settings.seed, step, self._accelerator.process_index]
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))

    def _keep(self, step: int, folder: Path, identity: str, is_forced: bool) -> None:
        """Write a checkpoint if one is due."""
        is_due = step % self._settings.checkpoint_steps == 0 or self._is_epoch_end(step)
        if self.is_main and (is_due or is_forced):
            checkpoint.save(folder, step, identity, self.training)

    def _ends(self, step: int, asked: Asked, at_epoch_end: EpochEnd) -> bool:
        """Whether all processes stop here, because the main one says so at an epoch's end."""
        if not self._is_epoch_end(step):
            return False
        says_so = False
        if self.is_main:
            with asked.safe():
                says_so = at_epoch_end(step // self.per_epoch, step)
        told = self._accelerator.reduce(torch.tensor(float(says_so), device=self._device), "sum")
        return bool(told)

    def _is_epoch_end(self, step: int) -> bool:
        return step % self.per_epoch == 0


def _blown_up(step: int, what: str, value: float, clips: Sequence[int]) -> TrainingError:
    return TrainingError(
        f"step {step + 1}: the {what} is {value} on training rows {clips}; lower "
        "train.learning_rate, with which training begins anew"
    )


def _check_launch() -> None:
    """MachineError where the launcher wants the base in parts: checkpoints hold whole adapters."""
    for name in ("FSDP", "DEEPSPEED"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true":
            raise MachineError(
                f"accelerate was told to use {name}, which train cannot: each GPU holds the whole "
                "base, 6.6 GB for Orpheus-3B. Launch with --multi_gpu; where a GPU has too little "
                "memory, set train.quantize=nf4"
            )


@contextlib.contextmanager
def memory_errors(length: int) -> Iterator[None]:
    """MachineError where a GPU's memory ends, with a row of so many tokens, in the block."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise MachineError(
            f"out of GPU memory on a row of {length} tokens; set train.row_tokens={length // 2}, "
            "which keeps clips whole, or train.gradient_checkpointing=true if it is off. The same "
            "run then goes on from its last checkpoint. If a clip alone is as long, prepare with a "
            "lower prepare.max_tokens"
        ) from error


def _lengths(rows: Sequence[TrainingRow]) -> list[int]:
    return [len(row.input_ids) for row in rows]
