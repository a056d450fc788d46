"""A base of Orpheus-3B's shape, with SNAC's, in random weights: speed does not ask what they hold.

So a card can be measured before anybody has Orpheus-3B on it. The tokenizer is nano's, which has a
token a byte: prompts are three or four times as long as Orpheus's.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orpheus_clone import disk, models, tokens
from orpheus_clone.models import BaseModel

ORPHEUS_3B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "dtype": "bfloat16",
    "vocab_size": tokens.VOCABULARY,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 28,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 8192,
    "rope_theta": 500_000.0,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "initializer_range": 0.02,
    "bos_token_id": tokens.BEGIN_OF_TEXT,
    "eos_token_id": tokens.END_OF_SPEECH,
    "pad_token_id": tokens.PAD,
}
"""Llama-3.2-3B with Orpheus's vocabulary."""
SNAC_24KHZ: dict[str, Any] = {
    "sampling_rate": tokens.SAMPLE_RATE,
    "encoder_dim": 48,
    "encoder_rates": [2, 4, 8, 8],
    "decoder_dim": 1024,
    "decoder_rates": [8, 8, 4, 2],
    "attn_window_size": None,
    "codebook_size": tokens.CODEBOOK,
    "codebook_dim": 8,
    "vq_strides": [4, 2, 1],
    "noise": True,
    "depthwise": True,
}
"""hubertsiuzdak/snac_24khz."""


def orpheus_3b(say: Callable[[str], None] = lambda _: None) -> BaseModel:
    """The base, from the cache, where it is written once: 6.6 GB."""
    path = models.cache_dir() / "random-3b"
    if not path.is_dir():
        say("writing a base of Orpheus-3B's shape in random weights into the cache (once, 6.6 GB)")
        with disk.atomic_dir(path) as temporary:
            write(temporary, ORPHEUS_3B, SNAC_24KHZ)
    return models.locate(str(path))


def write(out: Path, llama: dict[str, Any], snac: dict[str, Any]) -> None:
    """A base of these shapes into the existing directory `out`."""
    nano = models.locate("nano")
    _write_llama(out, llama)
    shutil.copyfile(nano.path / "tokenizer.json", out / "tokenizer.json")
    facts = {"voices": nano.voices, "tags": [], "language": nano.language, "is_random": True}
    disk.write_json(out / "base.json", facts)
    (out / "codec").mkdir()
    _write_snac(out / "codec", snac)


def _write_llama(out: Path, llama: dict[str, Any]) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:  # on the card, where there is one: on a CPU three billion numbers take minutes to draw
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = LlamaForCausalLM(LlamaConfig(**llama))
    finally:
        torch.set_default_dtype(before)
    weights = {k: v.cpu() for k, v in model.state_dict().items() if k != "lm_head.weight"}  # tied
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(out)


def _write_snac(out: Path, snac: dict[str, Any]) -> None:
    from safetensors.torch import save_file
    from snac import SNAC

    weights = {name: value.contiguous() for name, value in SNAC(**snac).state_dict().items()}
    save_file(weights, out / "model.safetensors")
    (out / "config.json").write_text(json.dumps(snac), encoding="utf-8")
