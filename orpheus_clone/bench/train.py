"""train: our loop against a plain transformers Trainer with PEFT, on the same model and clips.

The plain one is what a fine-tuning script writes: one clip to a pass, four passes to a step, the
prompt masked in the labels, logits at every position over the whole vocabulary. Ours takes the same
four clips in one packed row, with logits where a loss is taken, over the audio ids. Both have the
same adapter, AdamW, precision and, on a GPU, gradient checkpointing.

They take turns, all clips once a turn, and each is as fast as in its best turn. A token is one that
a loss is taken at. Memory of logits and loss is what is alive at once, at its highest within a
step, of tensors whose last dimension is a vocabulary: logits, their copies in float32,
probabilities, gradients; parameters are left out. It is counted at each operation of a step that
is not timed. What ours keeps besides is a gradient of the hidden states, no wider than those.
"""

import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from orpheus_clone import models, optimised, tokens
from orpheus_clone.bench import Result
from orpheus_clone.engine.base import hardware_name
from orpheus_clone.layout import RunDir
from orpheus_clone.recipe import Train
from orpheus_clone.tokens import TrainingRow
from orpheus_clone.train.dataset import loss_tokens
from orpheus_clone.train.loop import Loop
from orpheus_clone.train.model import pick_precision, with_lora

CLIPS = 8
ROUNDS = 2
SECONDS = (2.0, 10.0)
"""Of a clip, as prepare cuts them."""
PROMPT = 90
"""Tokens before the audio."""
VOCABULARIES = (tokens.VOCABULARY, optimised.WIDTH)


def run() -> Result:
    """Keys: see the module; ratios are above 1 where ours is better."""
    base = models.locate("nano")
    settings = Train()
    precision = pick_precision(settings.precision)
    figures = compare(
        lambda: with_lora(base, settings, precision), clips(CLIPS), settings, precision
    )
    line = {"bench": "train", "model": "nano", "hardware": hardware_name(), "precision": precision}
    return Result(table(figures), line | ratios(figures))


@dataclass(frozen=True)
class Figures:
    """What one side did."""

    tokens_per_s: float
    logit_bytes: int
    peak_bytes: int | None
    """Of a GPU's memory, weights included."""


def compare(
    make: Callable[[], Any],
    rows: Sequence[TrainingRow],
    settings: Train,
    precision: Literal["bf16", "fp32"],
    rounds: int = ROUNDS,
) -> dict[str, Figures]:
    """Figures of "plain" and "ours"; `make` makes the model in training, twice the same."""
    settings = settings.model_copy(update={"epochs": 1})
    ours, plain = make(), make()
    plain.get_base_model().set_attn_implementation("sdpa")
    count = loss_tokens(rows)
    with tempfile.TemporaryDirectory() as folder:
        sides: dict[str, tuple[Any, Callable[[Sequence[TrainingRow]], float]]] = {
            "plain": (plain, lambda some: _plain_seconds(plain, some, settings, precision, folder)),
            "ours": (ours, lambda some: _our_seconds(ours, some, settings, precision)),
        }
        few = rows[: settings.batch_size]
        memory = {name: _memory(model, take, few) for name, (model, take) in sides.items()}
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, (_, take) in sides.items():
                seconds[name].append(take(rows))
    return {name: Figures(count / min(seconds[name]), *memory[name]) for name in sides}


def table(figures: dict[str, Figures]) -> list[dict[str, Any]]:
    """A row for each side."""
    return [
        {
            "side": name,
            "tokens_per_s": round(side.tokens_per_s),
            "logits_and_loss_mb": round(side.logit_bytes / 1e6, 1),
            "gpu_peak_gb": "" if side.peak_bytes is None else round(side.peak_bytes / 1e9, 2),
        }
        for name, side in figures.items()
    ]


def ratios(figures: dict[str, Figures]) -> dict[str, Any]:
    """The keys that scripts read."""
    ours, plain = figures["ours"], figures["plain"]
    line: dict[str, Any] = {
        "plain_tokens_per_s": round(plain.tokens_per_s),
        "ours_tokens_per_s": round(ours.tokens_per_s),
        "tokens_per_s_ratio": round(ours.tokens_per_s / plain.tokens_per_s, 2),
        "plain_logit_mb": round(plain.logit_bytes / 1e6, 1),
        "ours_logit_mb": round(ours.logit_bytes / 1e6, 1),
        "logit_memory_ratio": round(plain.logit_bytes / ours.logit_bytes, 2),
    }
    if ours.peak_bytes is not None and plain.peak_bytes is not None:
        line |= {"plain_peak_gb": round(plain.peak_bytes / 1e9, 2)}
        line |= {"ours_peak_gb": round(ours.peak_bytes / 1e9, 2)}
    return line


def clips(count: int, seed: int = 0) -> list[TrainingRow]:
    """Clips of `SECONDS`, evenly spread, of random text and codes: speed does not ask which."""
    rng = np.random.default_rng(seed)
    rows = []
    for seconds in np.linspace(*SECONDS, count)[rng.permutation(count)]:
        frames = round(seconds * tokens.SAMPLE_RATE / tokens.FRAME_SAMPLES)
        text = [tokens.BEGIN_OF_TEXT, *rng.integers(0, 256, PROMPT - 6).tolist()]
        codes = rng.integers(0, tokens.CODEBOOK, (frames, tokens.FRAME))
        rows.append(tokens.training_row(tokens.prompt(text), codes))
    return rows


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's is
    """Notes the most bytes alive at once of what operations in the block make.

    `counts` says which tensors; a parameter, or a view of one, is nobody's making.
    """

    def __init__(self, model: Any, counts: Callable[[torch.Tensor], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._counts = counts
        self._known = {p.untyped_storage()._cdata for p in model.parameters()}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run the operation, and look at what it made."""
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and self._counts(tensor):
                self._note(tensor.untyped_storage())
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self._now += size
            self.peak = max(self.peak, self._now)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size


def is_as_wide_as_a_vocabulary(tensor: torch.Tensor) -> bool:
    """Whether its last dimension is one of `VOCABULARIES`."""
    return tensor.ndim > 1 and tensor.shape[-1] in VOCABULARIES


def _memory(
    model: Any, take: Callable[[Sequence[TrainingRow]], float], rows: Sequence[TrainingRow]
) -> tuple[int, int | None]:
    """Bytes of logits and loss, and a GPU's peak with this model's weights, within a step."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    with Alive(model, is_as_wide_as_a_vocabulary) as noted:
        take(rows)
    if not torch.cuda.is_available():
        return noted.peak, None
    weights = sum(p.nbytes for p in model.parameters())
    return noted.peak, torch.cuda.max_memory_allocated() - before + weights


def _our_seconds(
    model: Any, rows: Sequence[TrainingRow], settings: Train, precision: Literal["bf16", "fp32"]
) -> float:
    """To the end of the last step, the held-out loss of a clip included."""
    ends: list[float] = []
    loop = Loop(model, rows, [min(rows, key=lambda row: len(row.labels))], settings, precision)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        loop.run(RunDir(Path(folder)), "bench", lambda _step: ends.append(time.perf_counter()))
    return ends[-1] - began


def _plain_seconds(
    model: Any,
    rows: Sequence[TrainingRow],
    settings: Train,
    precision: Literal["bf16", "fp32"],
    folder: str,
) -> float:
    """To the end of the last step."""
    from transformers import PrinterCallback, Trainer, TrainingArguments

    arguments = TrainingArguments(
        folder,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=settings.batch_size,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        optim="adamw_torch_fused",
        bf16=precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
    )
    trainer = Trainer(model, arguments, _collated, train_dataset=list(rows))
    trainer.remove_callback(PrinterCallback)  # to stdout, which is for the figures
    began = time.perf_counter()
    trainer.train()
    return time.perf_counter() - began


def _collated(rows: Sequence[TrainingRow]) -> dict[str, torch.Tensor]:
    """One clip as a batch: input_ids, labels, attention_mask, (1, length) each."""
    (row,) = rows
    ids = torch.tensor([row.input_ids])
    labels = torch.tensor([row.labels])
    return {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids)}
