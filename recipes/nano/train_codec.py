"""Train nano's codec, a small SNAC, on speech: hours on two cores, minutes on a GPU.

    python recipes/nano/train_codec.py OUT_DIR SPEECH_DIR… --steps N [--critics 32 --device cuda]

Run it again with the same OUT_DIR and it goes on from the last checkpoint. Three phases, told
apart by the step alone, because codebooks trained from the start collapse to a single code:

    0 … OPEN          an autoencoder through the quantizers' narrow projections, unquantised
    OPEN              codebooks drawn from the encoder's outputs, centred, moved by k-means
    OPEN … FROZEN     quantised, ever more often; codes that nobody uses are drawn anew
    FROZEN …          encoder and codebooks stay, averaged (`--freeze`); the decoder goes on

    OUT_DIR/checkpoint.pt                     everything needed to go on
    OUT_DIR/codec/config.json model.safetensors   the averaged weights, as nano takes them
    OUT_DIR/log.jsonl                         a line each hundred steps
    OUT_DIR/heard.txt                         every recording it is trained on, with its digest
"""

import argparse
import json
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import clips
import losses
import torch
from rich.progress import Progress
from safetensors.torch import save_file
from snac import SNAC
from torch import Tensor, nn
from torch.nn import functional

from orpheus_clone import tokens

CONFIG: dict[str, Any] = {
    "sampling_rate": tokens.SAMPLE_RATE,
    "encoder_dim": 24,
    "encoder_rates": [2, 4, 8, 8],
    "decoder_dim": 320,
    "decoder_rates": [8, 8, 4, 2],
    "attn_window_size": None,
    "codebook_size": tokens.CODEBOOK,
    "codebook_dim": 8,
    "vq_strides": [4, 2, 1],
    "noise": False,
    "depthwise": True,
}
MEL_WEIGHT = 15.0
PITCH_WEIGHT = 4.0
COMMITMENT_WEIGHT = 0.25
FEATURE_WEIGHT = 2.0
AVERAGE = 0.999
POOL = 32_768
"""Encoder outputs remembered a codebook, to draw codewords from."""
REVIVE_EVERY = 500
LOG_EVERY = 100


@dataclass(frozen=True)
class Plan:
    """How long, how fast, on what."""

    steps: int
    open_steps: int
    """Steps before the first quantised one."""
    mix_steps: int
    """Steps in which quantised crops go from none to all."""
    decay_steps: int
    """Steps at the end in which the learning rate falls to nothing."""
    rate: float
    frames: int
    batch: int
    is_frozen: bool
    critics: int
    """Channels of the critics' first layers; 0 for none."""

    def rate_at(self, step: int) -> float:
        """Warm-up, a plateau, and a straight line to zero at the end."""
        warm = min(1.0, (step + 1) / 200)
        left = (self.steps - step) / max(1, self.decay_steps)
        return self.rate * min(warm, left, 1.0)

    def mix_at(self, step: int) -> float:
        """The share of crops that are quantised."""
        return min(1.0, max(0.0, (step - self.open_steps) / max(1, self.mix_steps)))


class Quantised:
    """SNAC's residual quantizers as they are trained: losses, memory, and codes brought back."""

    def __init__(self, codec: SNAC) -> None:
        self._quantizers = codec.quantizer.quantizers
        device = self._quantizers[0].codebook.weight.device
        shape = (len(self._quantizers), tokens.CODEBOOK)
        self.uses = torch.zeros(shape, dtype=torch.long, device=device)
        self.pools: list[Tensor] = [torch.zeros(0, 8, device=device) for _ in self._quantizers]

    def __call__(self, z: Tensor, mix: float) -> tuple[Tensor, Tensor]:
        """(batch, latent, hops) to its quantised like and the codebooks' loss."""
        is_quantised = torch.rand(len(z), 1, 1, device=z.device) < mix
        total, loss, residual = torch.zeros_like(z), z.new_zeros(()), z
        for level, quantizer in enumerate(self._quantizers):
            pooled = functional.avg_pool1d(residual, quantizer.stride, quantizer.stride)
            inner = quantizer.in_proj(pooled)
            self._remember(level, inner)
            if mix > 0:
                chosen, codes = quantizer.decode_latents(inner)
                self.uses[level] += torch.bincount(codes.flatten(), minlength=tokens.CODEBOOK)
                loss = loss + functional.mse_loss(chosen, inner.detach())
                loss = loss + COMMITMENT_WEIGHT * functional.mse_loss(inner, chosen.detach())
                inner = torch.where(is_quantised, inner + (chosen - inner).detach(), inner)
            out = quantizer.out_proj(inner).repeat_interleave(quantizer.stride, dim=-1)
            total, residual = total + out, residual - out
        return total, loss

    @torch.no_grad()
    def open_codebooks(self) -> None:
        """Codewords where the encoder's outputs are: drawn from them, then moved by k-means."""
        for level, quantizer in enumerate(self._quantizers):
            pool = self.pools[level]
            centre = pool.mean(dim=0)
            # Nearness is measured by direction, so what all outputs share would hide the rest.
            quantizer.in_proj.bias -= centre
            quantizer.out_proj.bias += quantizer.out_proj.weight[:, :, 0] @ centre
            self.pools[level] = pool = pool - centre
            quantizer.codebook.weight.copy_(_kmeans(pool, tokens.CODEBOOK))

    @torch.no_grad()
    def revive(self) -> list[int]:
        """Draw anew the codewords that were not used since the last call; codes in use a level."""
        used = []
        for level, quantizer in enumerate(self._quantizers):
            dead = (self.uses[level] == 0).nonzero()[:, 0]
            used.append(tokens.CODEBOOK - len(dead))
            drawn = torch.randint(len(self.pools[level]), (len(dead),), device=dead.device)
            quantizer.codebook.weight[dead] = self.pools[level][drawn]
        self.uses.zero_()
        return used

    def _remember(self, level: int, inner: Tensor) -> None:
        flat = inner.detach().transpose(1, 2).flatten(0, 1).float()
        self.pools[level] = torch.cat([self.pools[level], flat])[-POOL:]


def _unroll_depthwise(codec: Any) -> None:
    """Write depthwise convolutions as sums of shifted products, which the compiler fuses.

    On a CPU their own kernels are slow to differentiate: 2.75 seconds of speech a second became
    4.06 (two cores, encoder_dim 32, decoder_dim 384).
    """
    for conv in codec.modules():
        if isinstance(conv, nn.Conv1d) and conv.groups == conv.in_channels > 1:
            conv.forward = partial(_depthwise, conv)  # type: ignore[method-assign]


def _depthwise(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """What `conv` computes on (batch, channels, samples)."""
    assert conv.bias is not None and not isinstance(conv.padding, str)
    (dilation,), (padding,) = conv.dilation, conv.padding
    taps = conv.weight[:, 0]
    length = x.shape[-1] + 2 * padding - dilation * (taps.shape[-1] - 1)
    x = functional.pad(x, (padding, padding))
    total = conv.bias[None, :, None].expand(len(x), -1, length)
    for tap in range(taps.shape[-1]):
        start = tap * dilation
        total = total + taps[None, :, tap, None] * x[..., start : start + length]
    return total


def _kmeans(points: Tensor, count: int, rounds: int = 10) -> Tensor:
    """(points, d) to (count, d) centres, by direction as SNAC looks codes up."""
    order = torch.randperm(len(points), device=points.device)
    centres = points[order.repeat(count // len(points) + 1)[:count]].clone()
    directions = functional.normalize(points)
    for _ in range(rounds):
        nearest = (directions @ functional.normalize(centres).T).argmax(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        sizes = torch.bincount(nearest, minlength=count)
        centres = torch.where(sizes[:, None] > 0, sums / sizes.clamp_min(1)[:, None], centres)
    return centres


class Trainer:
    """The codec, what it is trained with, and how all of it is kept."""

    def __init__(
        self, out: Path, plan: Plan, device: str, config: dict[str, Any] = CONFIG, *, jit: bool
    ) -> None:
        torch.manual_seed(0)
        self.out, self.plan, self.device, self.step = out, plan, device, 0
        self.config = config
        self.codec: Any = SNAC(**config).to(device)
        self.average: Any = deepcopy(self.codec).requires_grad_(False)
        self.quantised = Quantised(self.codec)
        self.mel, self.pitch = losses.MelLoss().to(device), losses.PitchLoss().to(device)
        self.optimiser = torch.optim.AdamW(
            self.codec.parameters(), plan.rate, betas=(0.8, 0.99), weight_decay=0.0
        )
        spectra = losses.ONE_SPECTRUM if device == "cpu" else losses.SPECTRA
        self.critics = losses.Critics(plan.critics, spectra).to(device) if plan.critics else None
        self.critics_optimiser = (
            torch.optim.AdamW(self.critics.parameters(), plan.rate, betas=(0.8, 0.99))
            if self.critics is not None
            else None
        )
        self._load()
        if plan.is_frozen:
            self.codec.encoder.requires_grad_(False)
            self.codec.quantizer.requires_grad_(False)
        if device == "cpu":
            _unroll_depthwise(self.codec)
        faster: Any = torch.compile if jit else lambda module: module
        self.encode, self.decode = faster(self.codec.encoder), faster(self.codec.decoder)

    def learn(self, wanted: Tensor) -> dict[str, float]:
        """One step on (batch, 1, samples); the losses."""
        if self.step == self.plan.open_steps and not self.plan.is_frozen:
            self.quantised.open_codebooks()
            self.average.load_state_dict(self.codec.state_dict())
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate_at(self.step)
        z = self.encode(wanted)
        mix = 1.0 if self.plan.is_frozen else self.plan.mix_at(self.step)
        z_q, codebook_loss = self.quantised(z, mix)
        heard = self.decode(z_q)
        mel_loss, pitch_loss = self.mel(heard, wanted), self.pitch(heard, wanted)
        loss = MEL_WEIGHT * mel_loss + PITCH_WEIGHT * pitch_loss + codebook_loss
        said = {"mel": mel_loss.item(), "pitch": pitch_loss.item()}
        said["codebook"] = codebook_loss.item()
        if self.critics is not None:
            said["critics"] = self._teach_critics(wanted, heard.detach())
            with torch.no_grad():
                real = self._judged(wanted)
            made = self._judged(heard)
            loss = loss + losses.deceive_loss(made)
            loss = loss + FEATURE_WEIGHT * losses.feature_loss(real, made)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.codec.parameters(), 10.0)
        self.optimiser.step()
        self._follow()
        self.step += 1
        if mix > 0 and not self.plan.is_frozen and self.step % REVIVE_EVERY == 0:
            said["used"] = self.quantised.revive()
        return said

    def save(self) -> None:
        """A checkpoint to go on from, and the averaged weights as a codec; each whole or not."""
        state = {
            "step": self.step,
            "is_frozen": self.plan.is_frozen,
            "codec": self.codec.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "pools": self.quantised.pools,
        }
        if self.critics is not None and self.critics_optimiser is not None:
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
        self.optimiser.load_state_dict(state["optimiser"])
        self.quantised.pools = state["pools"]
        if self.plan.is_frozen and not state["is_frozen"]:
            self.codec.load_state_dict(state["average"])
        if self.critics is not None and self.critics_optimiser is not None and "critics" in state:
            self.critics.load_state_dict(state["critics"])
            self.critics_optimiser.load_state_dict(state["critics_optimiser"])

    def _teach_critics(self, wanted: Tensor, heard: Tensor) -> float:
        assert self.critics_optimiser is not None
        for group in self.critics_optimiser.param_groups:
            group["lr"] = self.plan.rate_at(self.step)
        loss = losses.critics_loss(self._judged(wanted), self._judged(heard))
        self.critics_optimiser.zero_grad()
        torch.autograd.backward(loss)
        self.critics_optimiser.step()
        return loss.item()

    def _judged(self, samples: Tensor) -> list[losses.Judgement]:
        assert self.critics is not None
        # Half the bits are enough to judge with, and take a quarter off the critics' time.
        with torch.autocast(self.device, torch.bfloat16):
            judgements: list[losses.Judgement] = self.critics(samples)
        return judgements

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the averaged weights a little towards the present ones."""
        keep = min(AVERAGE, (self.step + 1) / (self.step + 10))
        for mean, now in zip(self.average.parameters(), self.codec.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)


def main() -> None:
    """Parse, train until the plan's last step or --minutes, save."""
    args = _parser().parse_args()
    plan = Plan(
        args.steps, args.open_steps, args.mix_steps, args.decay_steps, args.rate,
        args.frames, args.batch, args.freeze, args.critics,
    )  # fmt: skip
    args.out_dir.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(args.out_dir, plan, args.device, jit=not args.no_jit)
    paths = [p for p in clips.find(args.speech) if not clips.is_held_out(p)]
    speech = clips.read(paths)
    (args.out_dir / "heard.txt").write_text(clips.listed(paths, speech), encoding="utf-8")
    hours = sum(map(len, speech)) / tokens.SAMPLE_RATE / 3600
    print(f"{len(speech)} recordings, {hours:.2f} hours; from step {trainer.step}", flush=True)
    batches = clips.crops(speech, plan.frames, plan.batch, seed=trainer.step)
    until = time.monotonic() + args.minutes * 60
    with Progress() as progress:
        task = progress.add_task("codec", total=plan.steps, completed=trainer.step)
        for said in _steps(trainer, batches, until):
            progress.update(task, completed=said["step"])
            with (args.out_dir / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(said) + "\n")
    trainer.save()


def _steps(trainer: Trainer, batches: Iterator[Tensor], until: float) -> Iterator[dict[str, Any]]:
    """Learn, and tell the means of each hundred steps; a checkpoint every five hundred."""
    began, sums, used = time.monotonic(), {}, []  # type: float, dict[str, float], list[int]
    while trainer.step < trainer.plan.steps and time.monotonic() < until:
        said: dict[str, Any] = trainer.learn(next(batches).to(trainer.device))
        used = said.pop("used", used)
        for name, value in said.items():
            sums[name] = sums.get(name, 0.0) + value / LOG_EVERY
        if trainer.step % LOG_EVERY == 0:
            seconds = time.monotonic() - began
            line = {"step": trainer.step, **{k: round(v, 4) for k, v in sums.items()}}
            yield {**line, "used": used, "seconds": round(seconds, 1)}
            began, sums = time.monotonic(), {}
        if trainer.step % REVIVE_EVERY == 0:
            trainer.save()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train nano's codec.")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("speech", type=Path, nargs="+", help="folders of recordings")
    parser.add_argument("--steps", type=int, required=True, help="the plan's last step")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so many, and save")
    parser.add_argument("--open-steps", type=int, default=1500)
    parser.add_argument("--mix-steps", type=int, default=1000)
    parser.add_argument("--decay-steps", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--frames", type=int, default=8, help="frames of 2048 samples a crop")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--freeze", action="store_true", help="train the decoder alone")
    parser.add_argument("--critics", type=int, default=0, help="their channels: 16 on a CPU, 32")
    parser.add_argument("--no-jit", action="store_true", help="without torch.compile")
    parser.add_argument("--device", default="cpu")
    return parser


if __name__ == "__main__":
    main()
