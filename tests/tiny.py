"""A base like nano of random weights, very small: it speaks noise, and quickly.

Tests of everything but how nano speaks have it in nano's place in their cache (conftest.py).
"""

import json
from pathlib import Path
from typing import Any

from orpheus_clone import nano, tokens
from orpheus_clone.bench.random_base import ORPHEUS_3B, SNAC_24KHZ

SEED = 20_26

LLAMA: dict[str, Any] = ORPHEUS_3B | {
    "dtype": "float32",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "initializer_range": 0.1,
}
SNAC = SNAC_24KHZ | {"encoder_dim": 8, "decoder_dim": 64}

_CONTROL = {
    tokens.BEGIN_OF_TEXT: "<|begin_of_text|>",
    128_001: "<|end_of_text|>",
    tokens.END_OF_TEXT: "<|eot_id|>",
    **{128_256 + n: f"<custom_token_{n}>" for n in range(10)},
}


def make(out: Path) -> None:
    """Write its files into the existing directory `out`; equal libraries, equal bytes."""
    _write_llama(out)
    (out / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    facts = {"voices": nano.VOICES, "tags": [], "language": "en", "is_random": True}
    (out / "base.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    (out / "codec").mkdir()
    _write_snac(out / "codec")


def tokenizer_json() -> str:
    """A byte-level tokenizer whose control tokens have Orpheus's ids; it adds 128000 by itself."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: i for i, symbol in enumerate(alphabet)}
    vocabulary |= {name: i for i, name in _CONTROL.items()}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in _CONTROL.values()])
    begin = _CONTROL[tokens.BEGIN_OF_TEXT]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, tokens.BEGIN_OF_TEXT)]
    )
    return tokenizer.to_str(pretty=False)


def _write_llama(out: Path) -> None:
    import torch
    from safetensors.torch import save
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = LlamaForCausalLM(LlamaConfig(**LLAMA))
    # Not save_pretrained, which draws a progress bar and does not say that a disk is full.
    model.config.save_pretrained(out)
    model.generation_config.save_pretrained(out)
    weights = {k: v for k, v in model.state_dict().items() if k != "lm_head.weight"}  # tied
    (out / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    config.pop("transformers_version", None)  # a digest that changes with a library helps nobody
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _write_snac(out: Path) -> None:
    import snac
    import torch
    from safetensors.torch import save

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        codec = snac.SNAC(**SNAC).eval()
        _spread_codes(codec)
        _turn_down(codec)
    (out / "config.json").write_text(json.dumps(SNAC, indent=2) + "\n", encoding="utf-8")
    weights = {k: v.contiguous() for k, v in codec.state_dict().items()}
    (out / "model.safetensors").write_bytes(save(weights))


def _spread_codes(codec: Any) -> None:
    """Centre each quantizer's input on noise; else a random encoder gives one code for anything."""
    import torch

    seconds = torch.arange(2 * tokens.SAMPLE_RATE) / tokens.SAMPLE_RATE
    loudness = (0.5 + 0.5 * torch.sin(2 * torch.pi * 3 * seconds)) * 0.2
    residual = codec.encoder(codec.preprocess((torch.randn(len(seconds)) * loudness)[None, None]))
    for quantizer in codec.quantizer.quantizers:
        pooled = torch.nn.functional.avg_pool1d(residual, quantizer.stride, quantizer.stride)
        # Rounded, so that the last bits, which depend on the machine, leave nano the same.
        quantizer.in_proj.bias -= quantizer.in_proj(pooled).mean(dim=(0, 2)).round(decimals=3)
        residual = residual - quantizer(residual)[0]


def _turn_down(codec: Any) -> None:
    """Random weights decode to noise near full scale; make it bearable for whoever plays it."""
    from torch.nn import Conv1d

    last: Any = [module for module in codec.decoder.modules() if isinstance(module, Conv1d)][-1]
    last.parametrizations.weight.original0.mul_(0.05)
