"""nano's text vocabulary: bytes, and whatever its corpus writes often, up to whole words.

A word that is one id is learnt as one thing; spelt, it has to be put together from letters first.
Reading is without case. Ids of text are below 128 000, as Orpheus's are, and control tokens are at
Orpheus's ids.
"""

import json
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer

from orpheus_clone import tokens

SIZE = 2048
MIN_FREQUENCY = 8
"""Pairs that are rarer are left to the bytes: their embedding would never be learnt."""

CONTROL = {
    tokens.BEGIN_OF_TEXT: "<|begin_of_text|>",
    128_001: "<|end_of_text|>",
    tokens.END_OF_TEXT: "<|eot_id|>",
    **{128_256 + n: f"<custom_token_{n}>" for n in range(10)},
}


def train(lines: Iterable[str]) -> Tokenizer:
    """A byte-level BPE over what `lines` write often; it adds 128000 by itself."""
    learner = _bare(models.BPE())
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(
        vocab_size=SIZE,
        min_frequency=MIN_FREQUENCY,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    learner.train_from_iterator(lines, trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    vocabulary = {symbol: i for i, symbol in enumerate(alphabet)}
    vocabulary |= {a + b: len(alphabet) + i for i, (a, b) in enumerate(merges)}
    vocabulary |= {name: i for i, name in CONTROL.items()}
    tokenizer = _bare(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in CONTROL.values()])
    begin = CONTROL[tokens.BEGIN_OF_TEXT]
    tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, tokens.BEGIN_OF_TEXT)]
    )
    return tokenizer


def used_ids(tokenizer: Tokenizer) -> list[int]:
    """Every id that nano reads or writes, ascending: text, control tokens, audio."""
    audio = range(tokens.AUDIO_BASE, tokens.AUDIO_END)
    return sorted({*tokenizer.get_vocab().values(), *audio})


def _bare(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
