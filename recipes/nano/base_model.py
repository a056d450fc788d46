"""nano's base: a small Llama that stores the rows it uses, and its losses.

the slot is known        `audio_loss`: each slot's loss is over its own 4096 ids (and the stop
                         id in slot 0), as the engine's slot mask decodes; `full_loss`: one
                         position in eight takes it over every id, so that slots are told apart
what is said is known    `Base.naming_loss`: a middle layer's states tell the word being said
codes have neighbours    `start_from_codec`: an id's embedding starts as a rotation of its
                         codeword in the codec
text is read in order    `Base.guide_loss`: one head of two layers is pulled to the word that is
                         being said, as in guided attention (Tachibana et al. 2017,
                         arXiv:1710.08969), by the times that the corpus tells
most ids do not occur    one row stands for all ids that nano never says or hears
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from base_rows import Row
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaModel
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from orpheus_clone import tokens

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
FULL_SHARE = 1 / 8
GUIDE_LAYERS = (1, 3)
"""Of both, the first head."""
NAMING_LAYER = 4
"""Where it begins, the word that is being said is known."""
LEVELS = (0, 1, 2, 2, 1, 2, 2)
"""Which of the codec's codebooks a slot's codes are from."""
SLOT_WEIGHTS = (2.0, 1.0, 0.5, 0.5, 1.0, 0.5, 0.5)


class Base(nn.Module):
    """The Llama, and one table of the rows that nano uses, for reading and for writing."""

    def __init__(self, used_ids: list[int]) -> None:
        super().__init__()
        self.config = LLAMA
        """Of the whole model, for config.json."""
        self.body = LlamaModel(LlamaConfig(**LLAMA | dict.fromkeys(_IDS) | {"vocab_size": 1}))
        self.table = nn.Embedding(len(used_ids) + 1, LLAMA["hidden_size"])
        self.ids: Tensor
        self.register_buffer("ids", torch.tensor(used_ids))
        row_of = torch.full((tokens.VOCABULARY,), len(used_ids))
        row_of[self.ids] = torch.arange(len(used_ids))
        self.row_of: Tensor
        self.register_buffer("row_of", row_of, persistent=False)
        for layer in (*GUIDE_LAYERS, NAMING_LAYER):
            guide: Any = self.body.layers[layer].self_attn
            guide.register_forward_pre_hook(self._see, with_kwargs=True)
        self._seen: dict[nn.Module, tuple[Tensor, tuple[Tensor, Tensor]]] = {}

    def forward(self, ids: Tensor) -> Tensor:
        """(rows, length) ids to (rows, length, hidden) states."""
        embedded = self.table(self.row_of[ids])
        states: Tensor = self.body(inputs_embeds=embedded).last_hidden_state
        return states

    def rows(self, first: int, count: int) -> Tensor:
        """(count, hidden) of the ids from `first` on, which are all used."""
        start = int(self.row_of[first])
        return self.table.weight[start : start + count]

    def guide_loss(self, rows: list[Row]) -> Tensor:
        """How little attention the guided heads pay to the word being said, in nats."""
        losses = []
        for layer in GUIDE_LAYERS:
            attention: Any = self.body.layers[layer].self_attn
            states, (cos, sin) = self._seen[attention]
            size = attention.head_dim
            query = functional.linear(states, attention.q_proj.weight[:size])[:, None]
            key = functional.linear(states, attention.k_proj.weight[:size])[:, None]
            query, key = apply_rotary_pos_emb(query, key, cos, sin)
            for i, row in enumerate(rows):
                text = slice(row.text, row.text + len(row.word_of))
                start = len(row.prompt) - 1
                scores = query[i, 0, start : start + len(row.audio)] @ key[i, 0, text].T
                weights = (scores.float() * size**-0.5).log_softmax(dim=-1)
                is_elsewhere = torch.from_numpy(row.saying[:, None] != row.word_of)
                here = weights.masked_fill(is_elsewhere.to(weights.device), -torch.inf)
                losses.append(-here.logsumexp(-1).mean())
        return torch.stack(losses).mean()

    def naming_loss(self, rows: list[Row]) -> Tensor:
        """Cross-entropy, over the ids of text, of the word that is said at each id of sound."""
        attention: Any = self.body.layers[NAMING_LAYER].self_attn
        hidden = said(self._seen[attention][0], rows)
        named = [np.array(row.prompt)[row.text + row.first_of_word()][row.saying] for row in rows]
        target = self.row_of[torch.from_numpy(np.concatenate(named)).to(hidden.device)]
        words = self.table.weight[: int((self.ids < tokens.BEGIN_OF_TEXT).sum())]
        return functional.cross_entropy((hidden @ words.T).float(), target)

    def _see(self, attention: nn.Module, _: Any, kwargs: dict[str, Any]) -> None:
        self._seen[attention] = kwargs["hidden_states"], kwargs["position_embeddings"]


@torch.no_grad()
def start_from_codec(base: Base, codec: Path) -> None:
    """Codes that sound alike start as ids that are alike."""
    weights = load_file(codec / "model.safetensors")
    hidden = LLAMA["hidden_size"]
    base.table.weight.normal_(std=0.02)
    for slot, level in enumerate(LEVELS):
        words = weights[f"quantizer.quantizers.{level}.codebook.weight"].float()
        words = (words - words.mean(0)) / words.std()
        turn = torch.linalg.qr(torch.randn(hidden, words.shape[1])).Q
        rows = base.rows(tokens.slot_ids(slot).start, tokens.CODEBOOK)
        rows.add_(0.1 * words @ turn.T * (hidden / words.shape[1]) ** 0.5 / 4)
        rows.add_(0.05 * torch.randn(hidden))


def said(states: Tensor, rows: list[Row]) -> Tensor:
    """(rows, length, hidden) to (ids, hidden), of the states that ids of sound are told from."""
    return torch.cat([h[len(r.prompt) - 1 : len(r) - 1] for h, r in zip(states, rows, strict=True)])


def audio_loss(base: Base, states: Tensor, rows: list[Row]) -> tuple[Tensor, Tensor]:
    """By slot, each (7,): the sum of the cross-entropies in nats, and of how many ids."""
    hidden = said(states, rows)
    wanted = torch.tensor([i for r in rows for i in r.audio], device=hidden.device)
    slots = torch.cat([torch.arange(len(r.audio)) % tokens.FRAME for r in rows]).to(hidden.device)
    sums = []
    for slot in range(tokens.FRAME):
        here = slots == slot
        first = tokens.slot_ids(slot).start
        logits = hidden[here] @ base.rows(first, tokens.CODEBOOK).T
        target = wanted[here] - first
        if slot == 0:
            stop = hidden[here] @ base.rows(tokens.END_OF_SPEECH, 1).T
            logits = torch.cat([logits, stop], dim=1)
            target = torch.where(wanted[here] == tokens.END_OF_SPEECH, tokens.CODEBOOK, target)
        sums.append(functional.cross_entropy(logits.float(), target, reduction="sum"))
    return torch.stack(sums), torch.bincount(slots, minlength=tokens.FRAME)


def full_loss(base: Base, states: Tensor, rows: list[Row]) -> Tensor:
    """Cross-entropy over every id at one position in eight; the unused ids count as one row."""
    hidden = said(states, rows)
    wanted = torch.tensor([i for r in rows for i in r.audio], device=hidden.device)
    chosen = torch.rand(len(wanted), device=hidden.device) < FULL_SHARE
    logits = (hidden[chosen] @ base.table.weight.T).float()
    unused = tokens.VOCABULARY - len(base.ids)
    logits = torch.cat([logits[:, :-1], logits[:, -1:] + np.log(unused)], dim=1)
    return functional.cross_entropy(logits, base.row_of[wanted[chosen]])
