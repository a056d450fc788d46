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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clips
import fast
import losses
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from snac import SNAC
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional

from orpheus_clone import tokens

CONFIG: dict[str, Any] = {
    "sampling_rate": tokens.SAMPLE_RATE,
    "encoder_dim": 16,
    "encoder_rates": [2, 4, 8, 8],
    "decoder_dim": 384,
    "decoder_rates": [8, 8, 4, 2],
    "attn_window_size": None,
    "codebook_size": tokens.CODEBOOK,
    "codebook_dim": 8,
    "vq_strides": [4, 2, 1],
    "noise": True,
    "depthwise": True,
}
MEL_WEIGHT = 15.0
PITCH_WEIGHT = 3.0
COMMITMENT_WEIGHT = 0.25
NARROW, NARROW_FACTOR = 192, 3.0
"""A matrix of so few channels moves faster: its weights are larger."""
CRITICS_RATE = 0.5
"""Of the codec's own."""
CRITICS_SAMPLES = 8192
"""Of a crop, what the critics judge; drawn anew at each step."""
FEATURE_WEIGHT = 2.0
AVERAGE = 0.995
POOL = 512
"""Steps whose encoder outputs are remembered, to draw codewords from."""
REFRESH_EVERY = 250
SETTLED = 0.3
"""Of the learning rate: below it the codewords stay where they are."""
LOG_EVERY = 100
CLOCK_EVERY = 20


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
    critics_from: int = 0
    """The step that the critics join at."""

    def rate_at(self, step: int) -> float:
        """Warm-up, a plateau, and a straight line to zero at the end."""
        warm = min(1.0, (step + 1) / 50)
        left = (self.steps - step) / max(1, self.decay_steps)
        return self.rate * min(warm, left, 1.0)

    def mel_at(self, step: int, opened_at: int | None) -> float:
        """The mel loss's share of its weight: pitch first.

        A network as it is drawn lets phase through; one that has learnt magnitudes first does not
        any more, and from there no pitch is learnt.
        """
        return min(1.0, 0.03 + step / max(1, self.open_steps)) if opened_at is None else 1.0

    def mix_at(self, step: int, opened_at: int | None) -> float:
        """The share of crops that are quantised, the codebooks being there since `opened_at`."""
        if opened_at is None:
            return 0.0
        return min(1.0, (step - opened_at) / max(1, self.mix_steps))


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
            order = torch.randperm(len(pool), device=pool.device)
            drawn = pool[order.repeat(tokens.CODEBOOK // len(pool) + 1)[: tokens.CODEBOOK]]
            quantizer.codebook.weight.copy_(_kmeans(pool, drawn))

    @torch.no_grad()
    def refresh(self) -> list[int]:
        """Move codewords to where the encoder's outputs now are; how many were used, a level.

        The encoder's outputs grow faster than a codeword can follow that is taught only when it is
        chosen. One that nothing in the memory is near is drawn anew.
        """
        used = []
        for level, quantizer in enumerate(self._quantizers):
            used.append(int((self.uses[level] > 0).sum()))
            pool = _gathered(self.pools[level])
            quantizer.codebook.weight.copy_(_kmeans(pool, quantizer.codebook.weight, rounds=2))
        self.uses.zero_()
        return used

    def _remember(self, level: int, inner: Tensor) -> None:
        flat = inner.detach().transpose(1, 2).flatten(0, 1).float()
        self.pools[level] = torch.cat([self.pools[level], flat])[-POOL * len(flat) :]


def _kmeans(points: Tensor, centres: Tensor, rounds: int = 10) -> Tensor:
    """(points, d) to as many centres as there were, by direction as SNAC looks codes up.

    A centre that no point is nearest to becomes a point.
    """
    directions = functional.normalize(points)
    for _ in range(rounds):
        nearest = (directions @ functional.normalize(centres).T).argmax(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        sizes = torch.bincount(nearest, minlength=len(centres))
        drawn = points[torch.randint(len(points), (len(centres),), device=points.device)]
        centres = torch.where(sizes[:, None] > 0, sums / sizes.clamp_min(1)[:, None], drawn)
    return centres


def _gathered(rows: Tensor) -> Tensor:
    """Every worker's rows, which are equally many."""
    if not dist.is_initialized():
        return rows
    all_rows = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(all_rows, rows)
    return torch.cat(all_rows)


class Optimisers:
    """Muon (Jordan et al. 2024) for weights that are matrices, AdamW for everything else."""

    def __init__(self, module: nn.Module) -> None:
        matrices = [p for n, p in module.named_parameters() if _is_matrix(n, p)]
        chosen = set(map(id, matrices))
        self._matrices = [(p, nn.Parameter(_flat(p.detach()).clone())) for p in matrices]
        rest = [p for p in module.parameters() if id(p) not in chosen]
        self.all: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, betas=(0.8, 0.99), weight_decay=0.0)
        ]
        self._factors = [1.0]
        for factor, flat in (
            (NARROW_FACTOR, _narrow(self._matrices)),
            (1.0, _wide(self._matrices)),
        ):
            if flat:
                self._factors.append(factor)
                self.all.append(
                    torch.optim.Muon(
                        flat, weight_decay=0.0, momentum=0.9,
                        adjust_lr_fn="match_rms_adamw", ns_steps=4,
                    )
                )  # fmt: skip

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the weights by their gradients."""
        for weight, flat in self._matrices:
            flat.copy_(_flat(weight))
            flat.grad = None if weight.grad is None else _flat(weight.grad)
        for optimiser, factor in zip(self.all, self._factors, strict=True):
            optimiser.param_groups[0]["lr"] = factor * rate
            optimiser.step()
        for weight, flat in self._matrices:
            _flat(weight, flat)

    def state(self) -> list[dict[str, Any]]:
        """To keep, and to `load`."""
        return [optimiser.state_dict() for optimiser in self.all]

    def load(self, state: list[dict[str, Any]]) -> None:
        """Go on from `state`."""
        for optimiser, kept in zip(self.all, state, strict=True):
            optimiser.load_state_dict(kept)


def _narrow(matrices: Sequence[tuple[Tensor, nn.Parameter]]) -> list[Tensor]:
    return [flat for _, flat in matrices if max(flat.shape) <= NARROW]


def _wide(matrices: Sequence[tuple[Tensor, nn.Parameter]]) -> list[Tensor]:
    return [flat for _, flat in matrices if max(flat.shape) > NARROW]


def _flat(weight: Tensor, new: Tensor | None = None) -> Tensor:
    """A convolution's weight as a matrix, the fewer channels first; with `new`, set from that.

    The wider the matrix, the less it costs Muon.
    """
    order = weight.transpose(0, 1) if weight.shape[1] < weight.shape[0] else weight
    if new is not None:
        order.copy_(new.view(order.shape))
    return order.flatten(1)


def _is_matrix(name: str, weight: Tensor) -> bool:
    """Whether it is the direction of a convolution that mixes many channels."""
    return name.endswith("original1") and min(weight.shape[0], weight[0].numel()) >= 16


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
            _agree(self.codec)
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
        _share(self.codec)
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
            _agree(self.codec.quantizer)
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
        _share(self.critics)
        self.critics_optimiser.param_groups[0]["lr"] = rate
        self.critics_optimiser.step()

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the averaged weights a little towards the present ones."""
        keep = min(AVERAGE, (self.step + 1) / (self.step + 10))
        means, present = list(self.average.parameters()), list(self.codec.parameters())
        torch._foreach_lerp_(means, present, 1 - keep)


def _share(module: nn.Module) -> None:
    """Every worker's gradients become the mean of all workers'."""
    if not dist.is_initialized():
        return
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([grad.flatten() for grad in grads]) / dist.get_world_size()
    dist.all_reduce(flat)
    for grad in grads:
        grad.copy_(flat[: grad.numel()].view_as(grad))
        flat = flat[grad.numel() :]


@torch.no_grad()
def _agree(module: nn.Module) -> None:
    """Every worker's weights become those of the first."""
    if dist.is_initialized():
        for weight in module.parameters():
            dist.broadcast(weight, 0)


def main() -> None:
    """Parse, train until the plan's last step or --minutes, save."""
    args = _parser().parse_args()
    args.out_dir.mkdir(parents=True, exist_ok=True)
    if args.workers == 1:
        _work(0, args)
    else:
        (args.out_dir / "meeting").unlink(missing_ok=True)
        spawn(_work, (args,), nprocs=args.workers)  # type: ignore[no-untyped-call]


def _work(rank: int, args: argparse.Namespace) -> None:
    """What each of the workers does: a share of every batch, on one core."""
    torch.set_flush_denormal(True)
    if args.workers > 1:
        torch.set_num_threads(1)
        meeting = f"file://{(args.out_dir / 'meeting').resolve()}"
        dist.init_process_group("gloo", meeting, rank=rank, world_size=args.workers)
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


@dataclass(frozen=True)
class Clock:
    """When to end, where the machine's speed is not known, and from when on to slow down."""

    until_s: float
    decay_s: float

    def left(self) -> float:
        """1 until the decay begins, then a straight line to 0; the first worker's for all."""
        left_s = self.until_s - time.monotonic()
        left = torch.tensor(max(0.0, min(1.0, left_s / max(self.decay_s, 1e-3))))
        if dist.is_initialized():
            dist.broadcast(left, 0)
        return float(left)


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
        if trainer.step % REFRESH_EVERY == 0 and _is_first():
            trainer.save()


def _is_first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


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
