"""The training loop: one optimiser step after another, each a function of its number alone.

The order of clips, the learning rate and the batches follow from the step and the seed, so a run
that goes on from a checkpoint takes the same steps as one that was never interrupted.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orpheus_clone import layout
from orpheus_clone import recipe as recipes
from orpheus_clone.errors import MachineError, TrainingError
from orpheus_clone.tokens import TrainingRow
from orpheus_clone.train import checkpoint
from orpheus_clone.train.checkpoint import Training
from orpheus_clone.train.dataset import batches, collate, loss_tokens


@dataclass(frozen=True)
class Step:
    """One line of metrics.jsonl."""

    step: int
    steps: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float
    tokens_per_second: float
    heldout_loss: float | None


Report = Callable[[Step], None]


class Loop:
    """A run: what it trains, on what, and where it leaves its traces."""

    def __init__(
        self,
        model: Any,
        rows: Sequence[TrainingRow],
        heldout: Sequence[TrainingRow],
        settings: recipes.Train,
        precision: str,
    ) -> None:
        import torch
        from accelerate import Accelerator
        from transformers import get_linear_schedule_with_warmup

        self._rows, self._heldout, self._settings = rows, heldout, settings
        per_epoch = math.ceil(len(rows) / settings.batch_size / settings.grad_accumulation)
        self.per_epoch = per_epoch
        self.steps = per_epoch * settings.epochs
        self._accelerator = Accelerator(mixed_precision="bf16" if precision == "bf16" else "no")
        optimizer = torch.optim.AdamW(
            [p for p in model.parameters() if p.requires_grad],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        schedule = get_linear_schedule_with_warmup(optimizer, settings.warmup_steps, self.steps)
        self.training = Training(*self._accelerator.prepare(model, optimizer, schedule))
        self.model = self._accelerator.unwrap_model(self.training.model)

    def run(self, start: int, metrics: Path, folder: Path, identity: str, report: Report) -> None:
        """Train from step `start` to the end."""
        _keep_lines(metrics, start)
        with metrics.open("a", encoding="utf-8") as log:
            for step in range(start, self.steps):
                line = self._step(step)
                log.write(json.dumps(asdict(line)) + "\n")
                log.flush()
                report(line)
                done = step + 1
                if done % self._settings.checkpoint_steps == 0 or done == self.steps:
                    checkpoint.save(folder, done, identity, self.training)

    def heldout_loss(self) -> float:
        """Mean loss of a token over the held-out clips."""
        import torch

        self.training.model.eval()
        with torch.no_grad():
            losses = [float(self._loss([row], loss_tokens([row]))) for row in self._heldout]
        counts = [loss_tokens([row]) for row in self._heldout]
        self.training.model.train()
        loss = sum(x * n for x, n in zip(losses, counts, strict=True)) / sum(counts)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the held-out loss is {loss}: the weights blew up; lower train.learning_rate. "
                "The last checkpoint is kept"
            )
        return loss

    def _step(self, step: int) -> Step:
        began = time.perf_counter()
        epoch, index = divmod(step, self.per_epoch)
        size, many = self._settings.batch_size, self._settings.grad_accumulation
        groups = batches(len(self._rows), size, self._settings.seed, epoch)
        groups = groups[index * many : (index + 1) * many]
        chosen = [[self._rows[i] for i in group] for group in groups]
        count = sum(loss_tokens(rows) for rows in chosen)
        self.training.model.train()
        total = 0.0
        for rows in chosen:
            loss = self._loss(rows, count)
            value = float(loss.detach())
            _check(value, step, groups)
            self._accelerator.backward(loss)
            total += value
        parameters = [p for p in self.training.model.parameters() if p.requires_grad]
        norm = self._accelerator.clip_grad_norm_(parameters, self._settings.max_grad_norm)
        rate = float(self.training.schedule.get_last_lr()[0])
        self.training.optimizer.step()
        self.training.schedule.step()
        self.training.optimizer.zero_grad()
        is_epoch_end = (step + 1) % self.per_epoch == 0
        seconds = time.perf_counter() - began
        return Step(
            step=step + 1,
            steps=self.steps,
            epoch=round((step + 1) / self.per_epoch, 3),
            loss=total,
            learning_rate=rate,
            grad_norm=float(norm),
            tokens_per_second=round(count / seconds, 1),
            heldout_loss=self.heldout_loss() if is_epoch_end else None,
        )

    def _loss(self, rows: Sequence[TrainingRow], count: int) -> Any:
        """Summed cross-entropy of these rows over `count` labels: a share of the step's mean."""
        import torch

        batch = {name: t.to(self._accelerator.device) for name, t in collate(rows).items()}
        try:
            return self.training.model(**batch, num_items_in_batch=count).loss
        except torch.cuda.OutOfMemoryError as error:
            raise MachineError(
                f"out of GPU memory on rows of {batch['input_ids'].shape[1]} tokens; set "
                "train.batch_size=1, or prepare with a lower prepare.max_tokens. Run the same "
                "command again: it goes on from the last checkpoint"
            ) from error


def _check(loss: float, step: int, groups: Sequence[Sequence[int]]) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"step {step + 1}: the loss is {loss} on training rows {list(groups)}; lower "
            "train.learning_rate. The last checkpoint is kept"
        )


def _keep_lines(metrics: Path, steps: int) -> None:
    """Forget metrics of steps that will be taken again."""
    if not metrics.is_file():
        return
    kept = []
    for line in metrics.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # the line being written at a kill
            if json.loads(line)["step"] <= steps:
                kept.append(line + "\n")
    layout.write_text(metrics, "".join(kept))
