"""Hear what a base in training says: a few new lines, a minute, one line of JSON.

    python recipes/nano/hear_base.py BASE_DIR CODEC_DIR [--lines 8] [--temperature 0.3]

The lines are made by the corpus's grammar from another seed; measure.py asks for those that nano is
measured with, through the product's engine. `stops` is the share that ended by itself.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import base_model
import judges
import numpy as np
import sentences
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import DynamicCache

from orpheus_clone import audio, models, nano, tokens
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import allowed_ids

SEED = 7_777
MOST_FRAMES = 90
SHORTEST = 4
"""Words of the lines that are asked for."""


def main() -> None:
    """Parse, speak, listen, print one line."""
    parser = argparse.ArgumentParser(description="Hear what nano's base says.")
    parser.add_argument("base", type=Path)
    parser.add_argument("codec", type=Path)
    parser.add_argument("--lines", type=int, default=8)
    parser.add_argument("--temperature", type=float, default=0.3)
    parser.add_argument("--out", type=Path, help="a folder for what was heard")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    base, codec = load(args.base), Codec(args.codec)
    tokenizer = Tokenizer.from_file(str(args.base / "tokenizer.json"))
    heard, stopped = [], 0
    texts = lines(args.lines)
    for i, text in enumerate(texts):
        voice = nano.VOICES[i % len(nano.VOICES)]
        prompt = models.prompt_ids(tokenizer, voice, text, (), "en")
        ids, stops = speak(base, prompt, args.temperature)
        samples = np.clip(codec.decode(tokens.tokens_to_codes(ids)), -1, 1)
        heard.append(judges.words(samples))
        stopped += stops
        print(f"{voice} {len(samples) / tokens.SAMPLE_RATE:.1f} s {text} │ {heard[-1]}", flush=True)
        if args.out is not None:
            audio.write(args.out / f"{i:02}.flac", samples)
    wer = judges.word_error_rate(texts, heard)
    print(json.dumps({"wer": round(wer, 3), "stops": stopped / len(texts)}))


def lines(count: int) -> list[str]:
    """Sentences of the grammar that the corpus's seed does not make."""
    made = sentences.make(20 * count, SEED)
    return [line for line in made if len(line.split()) >= SHORTEST and line[0] != "I"][:count]


def load(folder: Path) -> base_model.Base:
    """The averaged weights of a training run."""
    weights = load_file(folder / "base.safetensors")
    base_model.LLAMA |= json.loads((folder / "config.json").read_text(encoding="utf-8"))
    base = base_model.Base(weights["ids"].tolist())
    base.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in
         weights.items()}, strict=False,
    )  # fmt: skip
    return base.eval()


@torch.inference_mode()
def speak(base: base_model.Base, prompt: list[int], temperature: float) -> tuple[list[int], bool]:
    """Audio ids of whole frames, and whether it stopped by itself."""
    cache: Any = DynamicCache()
    said: list[int] = []
    coming = torch.tensor([prompt])
    while len(said) < MOST_FRAMES * tokens.FRAME:
        embedded = base.table(base.row_of[coming])
        states = base.body(inputs_embeds=embedded, past_key_values=cache, use_cache=True)
        ids, may_stop = allowed_ids(len(said))
        rows = base.rows(ids.start, tokens.CODEBOOK)
        if may_stop:
            rows = torch.cat([rows, base.rows(tokens.END_OF_SPEECH, 1)])
        logits = rows @ states.last_hidden_state[0, -1]
        chosen = int(torch.multinomial((logits / temperature).softmax(-1), 1))
        if chosen == tokens.CODEBOOK:
            return said, True
        said.append(ids.start + chosen)
        coming = torch.tensor([[said[-1]]])
    return said, False


if __name__ == "__main__":
    main()
