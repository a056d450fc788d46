"""Train nano's codec, a small SNAC, on speech: hours on two cores, minutes on a GPU.

    python recipes/nano/train_codec.py OUT_DIR SPEECH_DIR… --steps N [--critics 32 --device cuda]

Run it again with the same OUT_DIR and it goes on from the last checkpoint. Three phases, told
apart by the step alone, because codebooks trained from the start collapse to a single code:

    0 … OPEN          an autoencoder through the quantizers' narrow projections, unquantised
    OPEN              codebooks drawn from the encoder's outputs, centred, moved by k-means
    OPEN … FROZEN     quantised, ever more often; codebooks follow the encoder's outputs
    FROZEN …          encoder and codebooks stay, averaged (`--freeze`); the decoder goes on

    OUT_DIR/checkpoint.pt                     everything needed to go on
    OUT_DIR/codec/config.json model.safetensors   the averaged weights, as nano takes them
    OUT_DIR/log.jsonl                         a line each hundred steps
    OUT_DIR/heard.txt                         every recording it is trained on, with its digest
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import clips
import fast
import losses
import torch
import workers
from codec_plan import Clock, Plan
from optimisers import Optimisers
from quantised import Quantised
from safetensors.torch import load_file, save_file
from snac import SNAC
from torch import Tensor

from orpheus_clone import tokens
from orpheus_clone.bench.random_base import SNAC_24KHZ

CONFIG = SNAC_24KHZ | {"encoder_dim": 16, "decoder_dim": 384}
MEL_WEIGHT = 15.0
PITCH_WEIGHT = 3.0
CRITICS_RATE = 0.5
"""Of the codec's own."""
CRITICS_SAMPLES = 8192
"""Of a crop, what the critics judge; drawn anew at each step."""
FEATURE_WEIGHT = 2.0
AVERAGE = 0.995
REFRESH_EVERY = 250
SETTLED = 0.3
"""Of the learning rate: below it the codewords stay where they are."""
LOG_EVERY = 100
CLOCK_EVERY = 20


class Trainer:
    """The codec, what it is trained with, and how all of it is kept."""

    def __init__(self, out: Path, plan: Plan, device: str, config: dict[str, Any] = CONFIG) -> None:
        torch.manual_seed(0)
        self.out, self.plan, self.device, self.step = out, plan, device, 0
        self.config = config
        self.slowing = 1.0
        """A factor of the learning rate, for an end by the clock."""
        self.opened_at: int | None = None
        """The step at which the codebooks were drawn."""
        self.codec: Any = SNAC(**config).to(device)
        self.average: Any = deepcopy(self.codec).requires_grad_(False)
        self.quantised = Quantised(self.codec)
        self.mel, self.pitch = losses.MelLoss().to(device), losses.PitchLoss().to(device)
        self.optimisers = Optimisers(self.codec)
        spectra = losses.ONE_SPECTRUM if device == "cpu" else losses.SPECTRA
        self.critics: Any = None
        if plan.critics:
            self.critics = losses.Critics(plan.critics, spectra).to(device)
            self.critics_optimiser = torch.optim.AdamW(self.critics.parameters(), betas=(0.8, 0.99))
        self._load()
        if plan.is_frozen:
            self.codec.encoder.requires_grad_(False)
            self.codec.quantizer.requires_grad_(False)
        self._learnt = [p for p in self.codec.parameters() if p.requires_grad]
        if device == "cpu":
            fast.quicken(self.codec)
        faster: Any = torch.compile if device != "cpu" else lambda module: module
        self.encode, self.decode = faster(self.codec.encoder), faster(self.codec.decoder)

    def start_from(self, folder: Path) -> None:
        """Take the weights of a codec that is trained already; its codebooks are open."""
        weights = {k: v.float() for k, v in load_file(folder / "model.safetensors").items()}
        self.codec.load_state_dict(weights)
        self.average.load_state_dict(weights)
        self.opened_at = -self.plan.mix_steps

    def learn(self, wanted: Tensor) -> dict[str, float]:
        """One step on (batch, 1, samples); the losses."""
        if self.opened_at is None and self.step >= self.plan.open_steps:
            self.quantised.open_codebooks()
            workers.agree(self.codec)
            self.average.load_state_dict(self.codec.state_dict())
            self.opened_at = self.step
        z = self.encode(wanted)
        mix = 1.0 if self.plan.is_frozen else self.plan.mix_at(self.step, self.opened_at)
        z_q, codebook_loss = self.quantised(z, mix)
        heard = self.decode(z_q)
        mel_loss, pitch_loss = self.mel(heard, wanted), self.pitch(heard, wanted)
        mel_weight = MEL_WEIGHT * self.plan.mel_at(self.step, self.opened_at)
        loss = mel_weight * mel_loss + PITCH_WEIGHT * pitch_loss + codebook_loss
        said = {"mel": mel_loss.item(), "pitch": pitch_loss.item()}
        said["codebook"] = codebook_loss.item()
        critics_grads: Sequence[Tensor] = ()
        if self.critics is not None and self.step >= self.plan.critics_from:
            real, made = self._judged(wanted, heard)
            critics_loss = losses.critics_loss(real, made)
            # One pass through the critics teaches both sides.
            critics_grads = torch.autograd.grad(
                critics_loss, list(self.critics.parameters()), retain_graph=True
            )
            said["critics"] = critics_loss.item()
            loss = loss + losses.deceive_loss(made)
            loss = loss + FEATURE_WEIGHT * losses.feature_loss(real, made)
        self.codec.zero_grad()
        torch.autograd.backward(loss, inputs=self._learnt)
        workers.share(self.codec)
        torch.nn.utils.clip_grad_norm_(self.codec.parameters(), 10.0)
        rate = self.plan.rate_at(self.step) * self.slowing
        self.optimisers.step(rate)
        if critics_grads:
            self._teach_critics(critics_grads, CRITICS_RATE * rate)
        self._follow()
        self.step += 1
        is_settling = self.plan.is_frozen or rate < SETTLED * self.plan.rate
        if mix > 0 and not is_settling and self.step % REFRESH_EVERY == 0:
            said["used"] = self.quantised.refresh()
            workers.agree(self.codec.quantizer)
            self.average.quantizer.load_state_dict(self.codec.quantizer.state_dict())
        return said

    def save(self) -> None:
        """A checkpoint to go on from, and the averaged weights as a codec; each whole or not."""
        state = {
            "step": self.step,
            "is_frozen": self.plan.is_frozen,
            "codec": self.codec.state_dict(),
            "average": self.average.state_dict(),
            "opened_at": self.opened_at,
            "optimisers": self.optimisers.state(),
            "pools": self.quantised.pools,
        }
        if self.critics is not None:
            state["critics"] = self.critics.state_dict()
            state["critics_optimiser"] = self.critics_optimiser.state_dict()
        part = self.out / "checkpoint.part"
        torch.save(state, part)
        part.replace(self.out / "checkpoint.pt")
        folder = self.out / "codec"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(
            json.dumps(self.config, indent=2) + "\n", encoding="utf-8"
        )
        weights = {k: v.contiguous().cpu() for k, v in self.average.state_dict().items()}
        save_file(weights, folder / "model.part")
        (folder / "model.part").replace(folder / "model.safetensors")

    def _load(self) -> None:
        path = self.out / "checkpoint.pt"
        if not path.is_file():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.step = state["step"]
        self.codec.load_state_dict(state["codec"])
        self.average.load_state_dict(state["average"])
        self.optimisers.load(state["optimisers"])
        self.opened_at = state["opened_at"]
        self.quantised.pools = state["pools"]
        if self.plan.is_frozen and not state["is_frozen"]:
            self.codec.load_state_dict(state["average"])
        if self.critics is not None and "critics" in state:
            self.critics.load_state_dict(state["critics"])
            self.critics_optimiser.load_state_dict(state["critics_optimiser"])

    def _judged(
        self, wanted: Tensor, heard: Tensor
    ) -> tuple[list[losses.Judgement], list[losses.Judgement]]:
        """The critics on a piece of the recordings, and on the same of what was heard."""
        start = int(torch.randint(wanted.shape[-1] - CRITICS_SAMPLES + 1, ()))
        piece = slice(start, start + CRITICS_SAMPLES)
        # Half the bits are enough to judge with, and take a quarter off the critics' time.
        with torch.autocast(self.device, torch.bfloat16):
            return self.critics(wanted[..., piece]), self.critics(heard[..., piece])

    def _teach_critics(self, grads: Sequence[Tensor], rate: float) -> None:
        for weight, grad in zip(self.critics.parameters(), grads, strict=True):
            weight.grad = grad
        workers.share(self.critics)
        self.critics_optimiser.param_groups[0]["lr"] = rate
        self.critics_optimiser.step()

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the averaged weights a little towards the present ones."""
        keep = min(AVERAGE, (self.step + 1) / (self.step + 10))
        means, present = list(self.average.parameters()), list(self.codec.parameters())
        torch._foreach_lerp_(means, present, 1 - keep)


def main() -> None:
    """Parse, train until the plan's last step or --minutes, save."""
    args = _parser().parse_args()
    args.out_dir.mkdir(parents=True, exist_ok=True)
    workers.run(_work, args, args.workers, args.out_dir)


def _work(rank: int, args: argparse.Namespace) -> None:
    """What each of the workers does: a share of every batch, on one core."""
    torch.set_flush_denormal(True)
    plan = Plan(
        args.steps, args.open_steps, args.mix_steps, args.decay_steps, args.rate,
        args.frames, args.batch, args.freeze, args.critics, args.critics_from,
    )  # fmt: skip
    trainer = Trainer(args.out_dir, plan, args.device)
    if args.start is not None and trainer.step == 0:
        trainer.start_from(args.start)
    paths = [p for p in clips.find(args.speech) if not clips.is_held_out(p)]
    speech = clips.read(paths)
    seed = trainer.step * args.workers + rank
    torch.manual_seed(seed)
    batches = clips.crops(speech, plan.frames, plan.batch // args.workers, seed)
    clock = Clock(time.monotonic() + args.minutes * 60, args.decay_minutes * 60)
    if rank == 0:
        (args.out_dir / "heard.txt").write_text(clips.listed(paths, speech), encoding="utf-8")
        hours = sum(map(len, speech)) / tokens.SAMPLE_RATE / 3600
        print(f"{len(speech)} recordings, {hours:.2f} hours; from step {trainer.step}", flush=True)
    for said in _steps(trainer, batches, clock):
        if rank == 0:
            print(said, flush=True)
            with (args.out_dir / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(said) + "\n")
    if rank == 0:
        trainer.save()


def _steps(trainer: Trainer, batches: Iterator[Tensor], clock: Clock) -> Iterator[dict[str, Any]]:
    """Learn, and tell the means of each hundred steps; a checkpoint now and then."""
    began, sums, used = time.monotonic(), {}, []  # type: float, dict[str, float], list[int]
    trainer.slowing = clock.left()
    while trainer.step < trainer.plan.steps and trainer.slowing > 0:
        said: dict[str, Any] = trainer.learn(next(batches).to(trainer.device))
        used = said.pop("used", used)
        for name, value in said.items():
            sums[name] = sums.get(name, 0.0) + value / LOG_EVERY
        if trainer.step % LOG_EVERY == 0:
            seconds = time.monotonic() - began
            line = {"step": trainer.step, **{k: round(v, 4) for k, v in sums.items()}}
            yield {**line, "used": used, "seconds": round(seconds, 1)}
            began, sums = time.monotonic(), {}
        if trainer.step % CLOCK_EVERY == 0:
            trainer.slowing = clock.left()
        if trainer.step % REFRESH_EVERY == 0 and workers.is_first():
            trainer.save()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train nano's codec.")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("speech", type=Path, nargs="+", help="folders of recordings")
    parser.add_argument("--steps", type=int, required=True, help="the plan's last step")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so many, and save")
    parser.add_argument(
        "--decay-minutes", type=float, default=0.0, help="to slow down in, of these"
    )
    parser.add_argument("--open-steps", type=int, default=1500)
    parser.add_argument("--mix-steps", type=int, default=1000)
    parser.add_argument("--decay-steps", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--frames", type=int, default=8, help="frames of 2048 samples a crop")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--freeze", action="store_true", help="train the decoder alone")
    parser.add_argument("--critics", type=int, default=0, help="their channels: 16 on a CPU, 32")
    parser.add_argument("--critics-from", type=int, default=0, help="the step they join at")
    parser.add_argument("--workers", type=int, default=1, help="processes, of one core each")
    parser.add_argument("--from", dest="start", type=Path, help="a codec to start from")
    parser.add_argument("--device", default="cpu")
    return parser


if __name__ == "__main__":
    main()
