"""Hearing a base: new lines, whole frames, and the weights that are kept."""

import json

import base_model
import corpus
import hear_base
import sentences
import vocabulary
from tokenizers import Tokenizer

from orpheus_clone import disk, tokens
from orpheus_clone.nano import WEIGHTS


def test_the_lines_that_are_heard_are_not_those_of_the_corpus() -> None:
    asked = hear_base.lines(8)
    assert len(asked) == 8
    assert all(len(sentences.words_of(line)) >= hear_base.SHORTEST for line in asked)
    assert not set(asked) & {line.text for line in corpus.plan(500, 0)}


def test_what_a_base_says_is_whole_frames() -> None:
    tokenizer = Tokenizer.from_file(str(WEIGHTS / "base" / "tokenizer.json"))
    base = hear_base.load(WEIGHTS / "base")
    ids, _ = hear_base.speak(base, [*tokens.prompt(tokenizer.encode("ada: hello.").ids)], 0.2)
    assert len(ids) > 7 * 7
    assert len(tokens.tokens_to_codes(ids)) == len(ids) // 7


def test_the_kept_base_is_what_train_base_makes() -> None:
    folder = WEIGHTS / "base"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config == base_model.LLAMA
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert hear_base.load(folder).ids.tolist() == vocabulary.used_ids(tokenizer)
    for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split()
        assert disk.sha256_file(folder / name) == digest
