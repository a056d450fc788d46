"""Train nano's base, a small Llama, on the tokens of its corpus: hours on two cores.

    python recipes/nano/train_base.py OUT_DIR TOKENS.npz CODEC_DIR --steps N [--device cuda]

Run it again with the same OUT_DIR and it goes on from the last checkpoint. It is trained as
Orpheus is used, on `[prompt] [frames] [128258]`, and takes four things for granted that a larger
model finds out by itself from more data:

    the slot is known        each slot's loss is over its own 4096 ids (and the stop id in slot 0),
                             as the engine's slot mask decodes; one position in eight takes the
                             loss over all audio ids, so that the slots are told apart as well
    codes have neighbours    an id's embedding starts as a rotation of its codeword in the codec
    text is read in order    for the first `--guide-steps`, a head's attention to the text is
                             pulled towards the diagonal (Tachibana et al. 2017, arXiv:1710.08969)
    most ids do not occur    one row stands for all ids that nano never says or hears
    what was said misleads   of the audio that it goes on from, one id in eight is a wrong one, so
                             that it looks at the text, and does not learn three hours by heart

    OUT_DIR/checkpoint.pt       everything needed to go on
    OUT_DIR/config.json base.safetensors    the averaged weights, one row for all unused ids
    OUT_DIR/tokenizer.json      vocabulary.py's, from the corpus's texts
    OUT_DIR/log.jsonl           a line each fifty steps
"""

import argparse
import json
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenise
import torch
import vocabulary
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from tokenise import Spoken
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaModel
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from orpheus_clone import models, tokens

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "float32",
    "vocab_size": tokens.VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
    "rope_theta": 10_000.0,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "bos_token_id": tokens.BEGIN_OF_TEXT,
    "eos_token_id": tokens.END_OF_SPEECH,
    "pad_token_id": tokens.PAD,
}
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
HELD_OUT = 0.02
FULL_SHARE = 1 / 8
WRONG_SHARE = 1 / 8
GUIDE_WIDTH = 0.12
"""Standard deviation of the diagonal, as a share of the text."""
GUIDE_LAYER = 2
HEAD_FRAMES = 7
"""Frames of the stock voices' silence before the first word, about 600 ms."""
AVERAGE = 0.999
LOG_EVERY = 50
SAVE_EVERY = 250
LEVELS = (0, 1, 2, 2, 1, 2, 2)
"""Which of the codec's codebooks a slot's codes are from."""


@dataclass(frozen=True)
class Plan:
    """How long and how fast."""

    steps: int
    decay_steps: int
    guide_steps: int
    rate: float
    batch_tokens: int

    def rate_at(self, step: int) -> float:
        """Warm-up, a plateau, and a straight line to zero at the end."""
        warm = min(1.0, (step + 1) / 200)
        return self.rate * min(warm, (self.steps - step) / max(1, self.decay_steps), 1.0)

    def guide_at(self, step: int) -> float:
        """The weight of the pull towards the diagonal."""
        return max(0.0, 1 - step / max(1, self.guide_steps))


@dataclass(frozen=True)
class Row:
    """A clip as ids, and where in it the text lies."""

    prompt: list[int]
    audio: list[int]
    """7 ids a frame, and the stop."""
    text: tuple[int, int]
    """First and one past the last position of the spoken text in `prompt`."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.audio)


class Base(nn.Module):
    """The Llama, and one table of the rows that nano uses, for reading and for writing."""

    def __init__(self, used_ids: list[int]) -> None:
        super().__init__()
        self.body = LlamaModel(LlamaConfig(**LLAMA | dict.fromkeys(_IDS) | {"vocab_size": 1}))
        self.table = nn.Embedding(len(used_ids) + 1, LLAMA["hidden_size"])
        self.ids: Tensor
        self.register_buffer("ids", torch.tensor(used_ids))
        row_of = torch.full((tokens.VOCABULARY,), len(used_ids))
        row_of[self.ids] = torch.arange(len(used_ids))
        self.row_of: Tensor
        self.register_buffer("row_of", row_of, persistent=False)
        guide: Any = self.body.layers[GUIDE_LAYER].self_attn
        guide.register_forward_pre_hook(self._see, with_kwargs=True)
        self._seen: tuple[Tensor, tuple[Tensor, Tensor]] | None = None

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(rows, length) ids to (rows, length, hidden) states."""
        embedded = self.table(self.row_of[ids])
        states: Tensor = self.body(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
        return states

    def rows(self, first: int, count: int) -> Tensor:
        """(count, hidden) of the ids from `first` on, which are all used."""
        start = int(self.row_of[first])
        return self.table.weight[start : start + count]

    def guide_loss(self, rows: list[Row]) -> Tensor:
        """How far from the diagonal the guided head's attention to the text lies, 0 to 1."""
        assert self._seen is not None
        states, (cos, sin) = self._seen
        attention: Any = self.body.layers[GUIDE_LAYER].self_attn
        size = attention.head_dim
        query = functional.linear(states, attention.q_proj.weight[:size])[:, None]
        key = functional.linear(states, attention.k_proj.weight[:size])[:, None]
        query, key = apply_rotary_pos_emb(query, key, cos, sin)
        losses = []
        for i, row in enumerate(rows):
            (first, last), start = row.text, len(row.prompt) - 1
            scores = query[i, 0, start : start + len(row.audio)] @ key[i, 0, first:last].T
            weights = (scores.float() * size**-0.5).softmax(dim=-1)
            away = _off_diagonal(len(row.audio), last - first).to(weights.device)
            losses.append((weights * away).sum(-1).mean())
        return torch.stack(losses).mean()

    def _see(self, _: nn.Module, __: Any, kwargs: dict[str, Any]) -> None:
        self._seen = kwargs["hidden_states"], kwargs["position_embeddings"]


def _off_diagonal(audio: int, text: int) -> Tensor:
    """(audio, text): 0 where sound and text are equally far along, towards 1 elsewhere."""
    head = HEAD_FRAMES * tokens.FRAME
    along = ((torch.arange(audio) - head) / max(1, audio - head)).clamp(0, 1)
    place = (torch.arange(text) + 0.5) / text
    return 1 - torch.exp(-((along[:, None] - place[None]) ** 2) / (2 * GUIDE_WIDTH**2))


@torch.no_grad()
def start_from_codec(base: Base, codec: Path) -> None:
    """Codes that sound alike start as ids that are alike."""
    weights = load_file(codec / "model.safetensors")
    hidden = LLAMA["hidden_size"]
    base.table.weight.normal_(std=0.02)
    for slot, level in enumerate(LEVELS):
        words = weights[f"quantizer.quantizers.{level}.codebook.weight"]
        words = (words - words.mean(0)) / words.std()
        turn = torch.linalg.qr(torch.randn(hidden, words.shape[1])).Q
        rows = base.rows(tokens.slot_ids(slot).start, tokens.CODEBOOK)
        rows.add_(0.1 * words @ turn.T * (hidden / words.shape[1]) ** 0.5 / 4)
        rows.add_(0.05 * torch.randn(hidden))


def audio_loss(base: Base, states: Tensor, rows: list[Row]) -> tuple[Tensor, list[float]]:
    """Mean cross-entropy of the audio ids and the stop, and its parts by slot, in nats."""
    hidden = torch.cat(
        [h[len(r.prompt) - 1 : len(r) - 1] for h, r in zip(states, rows, strict=True)]
    )
    wanted = torch.tensor([i for r in rows for i in r.audio], device=hidden.device)
    slots = torch.cat([torch.arange(len(r.audio)) % tokens.FRAME for r in rows]).to(hidden.device)
    parts, total = [], hidden.new_zeros((), dtype=torch.float32)
    for slot in range(tokens.FRAME):
        here = slots == slot
        first = tokens.slot_ids(slot).start
        logits = hidden[here] @ base.rows(first, tokens.CODEBOOK).T
        target = wanted[here] - first
        if slot == 0:
            stop = hidden[here] @ base.rows(tokens.END_OF_SPEECH, 1).T
            logits = torch.cat([logits, stop], dim=1)
            target = torch.where(wanted[here] == tokens.END_OF_SPEECH, tokens.CODEBOOK, target)
        loss = functional.cross_entropy(logits.float(), target, reduction="sum")
        parts.append(loss.item() / max(1, int(here.sum())))
        total = total + loss
    return total / len(wanted), parts


def full_loss(base: Base, states: Tensor, rows: list[Row]) -> Tensor:
    """Cross-entropy over every id at one position in eight; the unused ids count as one row."""
    hidden = torch.cat(
        [h[len(r.prompt) - 1 : len(r) - 1] for h, r in zip(states, rows, strict=True)]
    )
    wanted = torch.tensor([i for r in rows for i in r.audio], device=hidden.device)
    chosen = torch.rand(len(wanted), device=hidden.device) < FULL_SHARE
    logits = (hidden[chosen] @ base.table.weight.T).float()
    unused = tokens.VOCABULARY - len(base.ids)
    logits = torch.cat([logits[:, :-1], logits[:, -1:] + np.log(unused)], dim=1)
    return functional.cross_entropy(logits, base.row_of[wanted[chosen]])


class Trainer:
    """The base, what it is trained with, and how all of it is kept."""

    def __init__(
        self, out: Path, plan: Plan, codec: Path, tokenizer: Tokenizer, device: str, is_bf16: bool
    ) -> None:
        torch.manual_seed(0)
        self.out, self.plan, self.device, self.is_bf16, self.step = out, plan, device, is_bf16, 0
        self.base = Base(vocabulary.used_ids(tokenizer))
        start_from_codec(self.base, codec)
        self.base.to(device)
        self.average = deepcopy(self.base).requires_grad_(False)
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

    def learn(self, rows: list[Row]) -> dict[str, Any]:
        """One step; the losses in nats an id."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self.plan.rate_at(self.step)
            optimiser.zero_grad()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.is_bf16):
            ids, mask = _padded(rows, self.device)
            states = self.base(_misled(ids), mask)
            loss, parts = audio_loss(self.base, states, rows)
            full = full_loss(self.base, states, rows)
            pull = self.plan.guide_at(self.step)
            guide = self.base.guide_loss(rows) if pull else loss.new_zeros(())
        torch.autograd.backward(loss + FULL_SHARE * full + pull * guide)
        nn.utils.clip_grad_norm_(self.base.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self._follow()
        self.step += 1
        said = {"loss": loss.item(), "full": full.item(), "guide": guide.item()}
        return said | {f"slot{i}": part for i, part in enumerate(parts)}

    @torch.no_grad()
    def judge(self, batches: list[list[Row]]) -> float:
        """The averaged weights' loss on held-out clips, in nats an id."""
        sums, count = 0.0, 0
        for rows in batches:
            states = self.average(*_padded(rows, self.device))
            number = sum(len(row.audio) for row in rows)
            sums += audio_loss(self.average, states, rows)[0].item() * number
            count += number
        return sums / count

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
        (self.out / "config.json").write_text(json.dumps(LLAMA, indent=2) + "\n", encoding="utf-8")

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(AVERAGE, (self.step + 1) / (self.step + 10))
        for mean, now in zip(self.average.parameters(), self.base.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)


def split(spoken: list[Spoken]) -> tuple[list[Spoken], list[Spoken]]:
    """What is taught, and what is held out: whole lines, in all takes of them."""
    lines = sorted({(clip.voice, clip.text) for clip in spoken})
    order = np.random.default_rng(0).permutation(len(lines))
    held = {lines[i] for i in order[: round(len(lines) * HELD_OUT)]}
    return (
        [clip for clip in spoken if (clip.voice, clip.text) not in held],
        [clip for clip in spoken if (clip.voice, clip.text) in held],
    )


def rows_of(spoken: list[Spoken], tokenizer: Tokenizer) -> list[Row]:
    """Clips as ids, in the order given."""
    rows = []
    for clip in spoken:
        prompt = models.prompt_ids(tokenizer, clip.voice, clip.text, ())
        audio = [*tokens.codes_to_tokens(clip.codes.astype(np.int64)), tokens.END_OF_SPEECH]
        last = len(prompt) - len(tokens.PROMPT_TAIL)
        head = len(tokenizer.encode(f"{clip.voice}:").ids) + len(tokens.PROMPT_HEAD)
        rows.append(Row(prompt, audio, (head, last)))
    return rows


def batches(rows: list[Row], batch_tokens: int, seed: int) -> Iterator[list[Row]]:
    """Endless batches of about equally long rows, every row once an epoch."""
    rng = np.random.default_rng(seed)
    while True:
        jitter = rng.uniform(0.9, 1.1, len(rows))
        order = np.argsort([len(row) * j for row, j in zip(rows, jitter, strict=True)])
        epoch: list[list[Row]] = [[]]
        for i in order:
            longest = max([len(rows[i]), *map(len, epoch[-1])])
            if longest * (len(epoch[-1]) + 1) > batch_tokens and epoch[-1]:
                epoch.append([])
            epoch[-1].append(rows[i])
        rng.shuffle(epoch)
        yield from epoch


def _padded(rows: list[Row], device: str) -> tuple[Tensor, Tensor]:
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), tokens.PAD)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row.prompt + row.audio)
        mask[i, : len(row)] = 1
    return ids.to(device), mask.to(device)


def _misled(ids: Tensor) -> Tensor:
    """`ids` with some of the audio ids replaced by others of their slot."""
    slot = torch.div(ids - tokens.AUDIO_BASE, tokens.CODEBOOK, rounding_mode="floor")
    other = tokens.AUDIO_BASE + slot * tokens.CODEBOOK + torch.randint_like(ids, tokens.CODEBOOK)
    is_audio = (ids >= tokens.AUDIO_BASE) & (ids < tokens.AUDIO_END)
    is_wrong = is_audio & (torch.rand(ids.shape, device=ids.device) < WRONG_SHARE)
    return torch.where(is_wrong, other, ids)


def main() -> None:
    """Parse, train until the plan's last step or --minutes, save."""
    args = _parser().parse_args()
    plan = Plan(args.steps, args.decay_steps, args.guide_steps, args.rate, args.batch_tokens)
    args.out_dir.mkdir(parents=True, exist_ok=True)
    spoken = list(tokenise.read(args.tokens))
    tokenizer = _tokenizer(args.out_dir / "tokenizer.json", spoken)
    trainer = Trainer(args.out_dir, plan, args.codec, tokenizer, args.device, args.bf16)
    taught, held = (rows_of(part, tokenizer) for part in split(spoken))
    judged = [held[start : start + 8] for start in range(0, len(held), 8)]
    print(f"{len(taught)} clips, {sum(map(len, taught))} ids; from step {trainer.step}", flush=True)
    source = batches(taught, plan.batch_tokens, seed=trainer.step)
    until = time.monotonic() + args.minutes * 60
    with Progress() as progress, (args.out_dir / "log.jsonl").open("a", encoding="utf-8") as log:
        task = progress.add_task("base", total=plan.steps, completed=trainer.step)
        for said in _steps(trainer, source, judged, until):
            progress.update(task, completed=said["step"])
            log.write(json.dumps(said) + "\n")
            log.flush()
    trainer.save()


def _tokenizer(path: Path, spoken: list[Spoken]) -> Tokenizer:
    """The run's, made from what is spoken when it begins."""
    if not path.is_file():
        tokenizer = vocabulary.train(f"{clip.voice}: {clip.text}" for clip in spoken)
        path.write_text(tokenizer.to_str(pretty=False) + "\n", encoding="utf-8")
    return Tokenizer.from_file(str(path))


def _steps(
    trainer: Trainer, source: Iterator[list[Row]], judged: list[list[Row]], until: float
) -> Iterator[dict[str, Any]]:
    """Learn, and tell the means of each fifty steps; judge and save now and then."""
    began, sums, ids = time.monotonic(), dict[str, float](), 0
    while trainer.step < trainer.plan.steps and time.monotonic() < until:
        rows = next(source)
        ids += sum(map(len, rows))
        for name, value in trainer.learn(rows).items():
            sums[name] = sums.get(name, 0.0) + value / LOG_EVERY
        if trainer.step % SAVE_EVERY == 0:
            sums["held_out"] = trainer.judge(judged)
            trainer.save()
        if trainer.step % LOG_EVERY == 0:
            rate = ids / (time.monotonic() - began)
            line = {"step": trainer.step, **{k: round(v, 3) for k, v in sums.items()}}
            yield line | {"ids_per_second": round(rate)}
            began, sums, ids = time.monotonic(), {}, 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train nano's base model.")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("codec", type=Path)
    parser.add_argument("--steps", type=int, required=True, help="the plan's last step")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so many, and save")
    parser.add_argument("--decay-steps", type=int, default=1000)
    parser.add_argument("--guide-steps", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16")
    parser.add_argument("--device", default="cpu")
    return parser


if __name__ == "__main__":
    main()
