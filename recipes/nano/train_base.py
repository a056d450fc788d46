"""Train nano's base, a small Llama, on the tokens of its corpus: hours on two cores.

    python recipes/nano/train_base.py OUT_DIR TOKENS.npz CODEC_DIR --steps N [--from BASE_DIR]

Run it again with the same OUT_DIR and it goes on from the last checkpoint; with `--from` a first
run begins with another's weights and tokenizer. It is trained as
Orpheus is used, on `[prompt] [frames] [128258]`, and takes some things for granted that a larger
model finds out by itself from more data: base_model.py lists them. Of the audio that it goes on
from, one id in eight is a wrong one, so that it looks at the text, and does not learn three hours
by heart.

    OUT_DIR/checkpoint.pt       everything needed to go on
    OUT_DIR/config.json base.safetensors    the averaged weights, one row for all unused ids
    OUT_DIR/tokenizer.json      vocabulary.py's, from the corpus's texts
    OUT_DIR/log.jsonl           a line each fifty steps
"""

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenise
import torch
import vocabulary
import workers
from base_model import FULL_SHARE, SLOT_WEIGHTS, Base, audio_loss, full_loss, start_from_codec
from base_rows import Row, batches, misled, padded, rows_of, split
from codec_plan import Clock
from safetensors.torch import load_file, save_file
from tokenise import Spoken
from tokenizers import Tokenizer
from torch import nn

AVERAGE = 0.98
LOG_EVERY = 50
SAVE_EVERY = 100
CLOCK_EVERY = 10
GUIDE_FLOOR = 0.1
NAMING = 0.3


@dataclass(frozen=True)
class Plan:
    """How long and how fast."""

    steps: int
    decay_steps: int
    guide_steps: int
    rate: float
    batch_tokens: int
    growing_steps: int = 0
    """Steps in which rows grow from two words to all that there are."""

    def rate_at(self, step: int) -> float:
        """Warm-up, a plateau, and a straight line to zero at the end."""
        warm = min(1.0, (step + 1) / 200)
        return self.rate * min(warm, (self.steps - step) / max(1, self.decay_steps), 1.0)

    def guide_at(self, step: int) -> float:
        """The weight of the pull towards the word that is said."""
        return max(GUIDE_FLOOR, 1 - step / max(1, self.guide_steps))

    def most_words_at(self, step: int) -> int:
        """The longest rows by then."""
        return 999 if step >= self.growing_steps else 2 + 8 * step // self.growing_steps


class Trainer:
    """The base, what it is trained with, and how all of it is kept."""

    def __init__(
        self, out: Path, plan: Plan, codec: Path, tokenizer: Tokenizer, device: str, is_bf16: bool
    ) -> None:
        torch.manual_seed(0)
        self.out, self.plan, self.device, self.is_bf16, self.step = out, plan, device, is_bf16, 0
        self.slowing = 1.0
        """A factor of the learning rate, for an end by the clock."""
        self.base = Base(vocabulary.used_ids(tokenizer))
        start_from_codec(self.base, codec)
        self.base.to(device)
        self.average = deepcopy(self.base).requires_grad_(False)
        self._weights = torch.tensor(SLOT_WEIGHTS, device=device)
        # Muon (Jordan et al. 2024) learns more from a token where weights are matrices.
        layers = list(self.base.body.layers.parameters())
        vectors = [p for p in layers if p.ndim < 2] + list(self.base.body.norm.parameters())
        self.optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(
                [p for p in layers if p.ndim == 2],
                plan.rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(
                [self.base.table.weight, *vectors], plan.rate, betas=(0.9, 0.98), weight_decay=0.0
            ),
        ]  # fmt: skip
        if (out / "checkpoint.pt").is_file():
            state = torch.load(out / "checkpoint.pt", map_location=device, weights_only=True)
            self.step = state["step"]
            self.base.load_state_dict(state["base"])
            self.average.load_state_dict(state["average"])
            for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(kept)

    def start_from(self, folder: Path) -> None:
        """Take another run's weights, whose tokenizer is this run's too, but not its steps."""
        kept = load_file(folder / "base.safetensors", device=self.device)
        if not torch.equal(kept.pop("ids"), self.base.ids):
            raise SystemExit(f"{folder}: its ids are of another tokenizer than {self.out}'s")
        for module in (self.base, self.average):
            own = dict(module.named_parameters())
            for name, value in kept.items():
                own[name].data.copy_(value)

    def learn(self, rows: list[Row]) -> dict[str, Any]:
        """One step; the losses in nats an id."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self.slowing * self.plan.rate_at(self.step)
            optimiser.zero_grad()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.is_bf16):
            states = self.base(misled(padded(rows, self.device)))
            sums, counts = audio_loss(self.base, states, rows)
            loss = (sums * self._weights).sum() / counts.sum()
            full = full_loss(self.base, states, rows)
            pull = self.plan.guide_at(self.step)
            guide, naming = self.base.guide_loss(rows), self.base.naming_loss(rows)
        torch.autograd.backward(loss + FULL_SHARE * full + pull * (guide + NAMING * naming))
        workers.share(self.base)
        nn.utils.clip_grad_norm_(self.base.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self._follow()
        self.step += 1
        said = {"loss": (sums.sum() / counts.sum()).item()}
        said |= {"full": full.item(), "guide": guide.item(), "naming": naming.item()}
        return said | {f"slot{i}": part.item() for i, part in enumerate(sums / counts.clamp(1))}

    @torch.no_grad()
    def judge(self, batches: list[list[Row]]) -> float:
        """The averaged weights' loss on held-out clips, in nats an id."""
        total, number = 0.0, 0
        for rows in batches:
            states = self.average(padded(rows, self.device))
            sums, counts = audio_loss(self.average, states, rows)
            total, number = total + sums.sum().item(), number + int(counts.sum())
        return total / number

    def save(self) -> None:
        """A checkpoint to go on from, and the averaged weights; each whole or not."""
        state = {
            "step": self.step,
            "base": self.base.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }
        torch.save(state, self.out / "checkpoint.part")
        (self.out / "checkpoint.part").replace(self.out / "checkpoint.pt")
        weights = {
            name: value.to("cpu", torch.bfloat16).contiguous()
            for name, value in self.average.named_parameters()
            if name != "body.embed_tokens.weight"
        }
        weights["ids"] = self.base.ids.cpu()
        save_file(weights, self.out / "base.part")
        (self.out / "base.part").replace(self.out / "base.safetensors")
        (self.out / "config.json").write_text(
            json.dumps(self.base.config, indent=2) + "\n", encoding="utf-8"
        )

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(AVERAGE, (self.step + 1) / (self.step + 10))
        for mean, now in zip(self.average.parameters(), self.base.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)


def main() -> None:
    """Parse, train until the plan's last step or --minutes, save."""
    args = _parser().parse_args()
    args.out_dir.mkdir(parents=True, exist_ok=True)
    workers.run(_work, args, args.workers, args.out_dir)


def _work(rank: int, args: argparse.Namespace) -> None:
    """What each of the workers does: batches of its own, one model."""
    plan = Plan(
        args.steps, args.decay_steps, args.guide_steps, args.rate, args.batch_tokens,
        args.growing_steps,
    )  # fmt: skip
    spoken = list(tokenise.read(args.tokens))
    tokenizer = _tokenizer(args.out_dir / "tokenizer.json", spoken, args.start)
    trainer = Trainer(args.out_dir, plan, args.codec, tokenizer, args.device, args.bf16)
    if args.start is not None and trainer.step == 0:
        trainer.start_from(args.start)
    workers.agree(trainer.base)
    known, unknown = split(spoken)
    taught, held = rows_of(known, tokenizer), rows_of(unknown, tokenizer)
    judged = [held[start : start + 8] for start in range(0, len(held), 8)]
    seed = trainer.step * args.workers + rank
    torch.manual_seed(seed)
    source = batches(taught, plan.batch_tokens, seed, lambda: plan.most_words_at(trainer.step))
    clock = Clock(time.monotonic() + args.minutes * 60, args.decay_minutes * 60)
    if rank == 0:
        ids = sum(map(len, taught))
        print(f"{len(taught)} rows, {ids} ids; from step {trainer.step}", flush=True)
    for said in _steps(trainer, source, judged if rank == 0 else [], clock):
        if rank == 0:
            print(said, flush=True)
            with (args.out_dir / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(said) + "\n")
    if rank == 0:
        trainer.save()


def _tokenizer(path: Path, spoken: list[Spoken], start: Path | None) -> Tokenizer:
    """The run's: that of the base it starts from, or made from what is spoken when it begins."""
    if not path.is_file() and start is not None:
        shutil.copyfile(start / "tokenizer.json", path)
    elif not path.is_file():
        tokenizer = vocabulary.train(f"{clip.voice}: {clip.text}" for clip in spoken)
        path.write_text(tokenizer.to_str(pretty=False) + "\n", encoding="utf-8")
    return Tokenizer.from_file(str(path))


def _steps(
    trainer: Trainer, source: Iterator[list[Row]], judged: list[list[Row]], clock: Clock
) -> Iterator[dict[str, Any]]:
    """Learn, and tell the means of each fifty steps; judge and save now and then."""
    began, sums, ids = time.monotonic(), dict[str, float](), 0
    trainer.slowing = clock.left()
    while trainer.step < trainer.plan.steps and trainer.slowing > 0:
        rows = next(source)
        ids += sum(map(len, rows))
        for name, value in trainer.learn(rows).items():
            sums[name] = sums.get(name, 0.0) + value / LOG_EVERY
        if trainer.step % CLOCK_EVERY == 0:
            trainer.slowing = clock.left()
        if trainer.step % SAVE_EVERY == 0 and workers.is_first():
            sums["held_out"] = trainer.judge(judged)
            trainer.save()
        if trainer.step % LOG_EVERY == 0:
            seconds = time.monotonic() - began
            line = {"step": trainer.step, **{k: round(v, 3) for k, v in sums.items()}}
            yield line | {"ids_per_second": round(ids / seconds), "seconds": round(seconds)}
            began, sums, ids = time.monotonic(), {}, 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train nano's base model.")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("codec", type=Path)
    parser.add_argument("--steps", type=int, required=True, help="the plan's last step")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so many, and save")
    parser.add_argument(
        "--decay-minutes", type=float, default=0.0, help="to slow down in, of these"
    )
    parser.add_argument("--from", dest="start", type=Path, help="a base to start from")
    parser.add_argument("--workers", type=int, default=1, help="processes, of one core each")
    parser.add_argument("--decay-steps", type=int, default=1000)
    parser.add_argument("--guide-steps", type=int, default=1500)
    parser.add_argument("--growing-steps", type=int, default=600)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16")
    parser.add_argument("--device", default="cpu")
    return parser


if __name__ == "__main__":
    main()
