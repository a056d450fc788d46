"""Training nano's base: what must hold whatever is learnt."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import base_model
import base_rows
import numpy as np
import pytest
import torch
import vocabulary
from base_rows import Row, padded
from tokenise import Spoken
from torch.nn import functional
from train_base import Plan, Trainer
from transformers import AutoModelForCausalLM

from orpheus_clone import models, nano, tokens
from orpheus_clone.models import BaseModel

TINY = base_model.LLAMA | {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 5,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
TOKENIZER = vocabulary.train(["ada: Hello there, you.", "ada: Good bye."] * 10)
PLAN = Plan(steps=40, decay_steps=4, guide_steps=40, rate=3e-3, batch_tokens=400)


def spoken(count: int, frames: int = 10) -> list[Spoken]:
    rng = np.random.default_rng(0)
    texts = ["Hello there, you.", "Good bye."]
    return [
        Spoken(
            "ada",
            texts[i % 2],
            rng.integers(0, 4096, (frames, 7)).astype(np.uint16),
            np.arange(1, 1 + len(texts[i % 2].split()), dtype=np.uint32) * 4000,
        )
        for i in range(count)
    ]


def rows_of(clips: list[Spoken]) -> list[Row]:
    return base_rows.rows_of(clips, TOKENIZER)


@pytest.fixture
def trainer(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Trainer]:
    monkeypatch.setattr(base_model, "LLAMA", TINY)

    def make(out: Path) -> Trainer:
        out.mkdir(exist_ok=True)
        return Trainer(out, PLAN, base.codec_path, TOKENIZER, "cpu", is_bf16=False)

    return make


def test_a_row_is_the_products_training_row_and_knows_where_its_text_lies() -> None:
    clip = spoken(1)[0]
    (row,) = rows_of([clip])
    prompt = models.prompt_ids(TOKENIZER, clip.voice, clip.text, (), "en")
    whole = tokens.training_row(prompt, clip.codes.astype(np.int64))
    assert row.prompt + row.audio == whole.input_ids[:-1]
    text = row.prompt[row.text : row.text + len(row.word_of)]
    assert TOKENIZER.decode(text).strip() == "hello there, you."
    assert row.word_of.tolist() == sorted(row.word_of)
    assert set(row.word_of) == {0, 1, 2}


def test_a_row_knows_which_word_is_said_at_each_of_its_ids() -> None:
    (row,) = rows_of(spoken(1))  # words begin at 4000, 8000, 12000 of 20480 samples
    assert len(row.saying) == len(row.audio) == 71
    assert row.saying[0] == 0  # what comes before the first word waits for it
    assert row.saying[-1] == 2
    frame = 3 * 7  # samples 6144 to 8192: the last quarter's middle, 7936, is still in word 0
    assert row.saying[frame : frame + 7].tolist() == [0] * 7
    frame = 5 * 7  # samples 10240 to 12288, whose last quarter's middle is 12032
    assert row.saying[frame : frame + 7].tolist() == [1, 1, 1, 1, 1, 1, 2]


def test_short_rows_come_first_where_that_is_asked_for() -> None:
    short, long = spoken(2)[1], spoken(1)[0]
    rows = rows_of([short] * 4 + [long] * 4)
    allowed = [2]
    source = base_rows.batches(rows, 200, 0, lambda: allowed[0])
    assert {row.words for _ in range(20) for row in next(source)} == {2}
    allowed[0] = 3
    assert {row.words for _ in range(20) for row in next(source)} == {2, 3}


def test_a_line_is_held_out_in_all_its_takes_or_not_at_all() -> None:
    about = [("ada", f"Line {i}.") for i in range(100)]
    clips = [
        Spoken(*who, np.full((1, 7), take, np.uint16), np.zeros(2, np.uint32))
        for take in range(3)
        for who in about
    ]
    taught, held = base_rows.split(clips)
    assert len(held) == 6
    assert {clip.text for clip in held}.isdisjoint(clip.text for clip in taught)
    assert len(taught) + len(held) == 300


def test_what_misleads_is_of_the_same_slot_and_leaves_prompt_and_stop_alone() -> None:
    rows = rows_of(spoken(4, 40))
    ids = padded(rows, "cpu")
    misled = base_rows.misled(ids)
    changed = ids != misled
    assert 0.09 < changed.sum() / (4 * 280) < 0.16
    assert ((ids[changed] - tokens.AUDIO_BASE) // 4096).equal(
        (misled[changed] - tokens.AUDIO_BASE) // 4096
    )
    assert ids[changed].min() >= tokens.AUDIO_BASE


def test_an_epoch_has_every_row_once_in_batches_of_one_size() -> None:
    rows = rows_of([*spoken(6, 4), *spoken(7, 11)])
    source = base_rows.batches(rows, 400, seed=1)
    seen: list[int] = []
    while len(seen) < len(rows):
        batch = next(source)
        assert max(map(len, batch)) * len(batch) <= 400
        seen += [id(row) for row in batch]
    assert sorted(seen) == sorted(map(id, rows))


def test_a_row_longer_than_a_batch_is_a_batch() -> None:
    rows = rows_of(spoken(2, 60))
    assert [len(next(base_rows.batches(rows, 100, seed=0))) for _ in range(3)] == [1, 1, 1]


def test_the_loss_is_the_engines_a_slot_at_a_time(
    trainer: Callable[[Path], Trainer], tmp_path: Path
) -> None:
    base = trainer(tmp_path / "run").base
    rows = rows_of([*spoken(1, 3), *spoken(1, 2)])
    with torch.no_grad():
        states = base(padded(rows, "cpu"))
        sums, counts = base_model.audio_loss(base, states, rows)
    by_hand = []
    for hidden, row in zip(states, rows, strict=True):
        for k, wanted in enumerate(row.audio):
            ids = list(tokens.slot_ids(k % 7)) + ([tokens.END_OF_SPEECH] if k % 7 == 0 else [])
            logits = base.table.weight[base.row_of[ids]] @ hidden[len(row.prompt) - 1 + k]
            target = torch.tensor(ids.index(wanted))
            by_hand.append(functional.cross_entropy(logits, target).item())
    assert float(sums.sum()) == pytest.approx(sum(by_hand), rel=1e-5)
    assert counts.tolist() == [5 + 2, *[5] * 6]
    assert float(sums[0]) == pytest.approx(sum(by_hand[0::7][:4]) + sum(by_hand[22::7]), rel=1e-5)


def test_the_guide_wants_the_word_that_is_said(
    trainer: Callable[[Path], Trainer], tmp_path: Path
) -> None:
    base, (row,) = trainer(tmp_path / "run").base, rows_of(spoken(1))
    base(padded([row], "cpu"))
    elsewhere = replace(row, saying=(row.saying + 1) % 3)
    anywhere = replace(row, word_of=np.zeros_like(row.word_of), saying=np.zeros_like(row.saying))
    assert base.guide_loss([anywhere]).item() == pytest.approx(0, abs=1e-6)
    assert base.guide_loss([row]).item() > 0.1
    assert base.guide_loss([elsewhere]).item() != base.guide_loss([row]).item()


def test_training_brings_every_loss_down(
    trainer: Callable[[Path], Trainer], tmp_path: Path
) -> None:
    made, rows = trainer(tmp_path / "run"), rows_of(spoken(4))
    said = [made.learn(rows) for _ in range(30)]
    for name in ("loss", "full", "guide", "naming"):
        first, last = said[0][name], said[-1][name]
        assert last < first, name
    assert all(math.isfinite(value) for step in said for value in step.values())


def test_resumed_training_is_uninterrupted_training(
    trainer: Callable[[Path], Trainer], tmp_path: Path
) -> None:
    rows = rows_of(spoken(3))
    whole, cut = trainer(tmp_path / "whole"), trainer(tmp_path / "cut")
    for step in range(6):
        if step == 3:
            cut.save()
            cut = trainer(tmp_path / "cut")
        torch.manual_seed(step)
        one = whole.learn(rows)
        torch.manual_seed(step)
        assert cut.learn(rows) == one


def test_what_is_saved_becomes_a_base_model_that_says_the_same(
    trainer: Callable[[Path], Trainer], base: BaseModel, tmp_path: Path
) -> None:
    made, rows = trainer(tmp_path / "run"), rows_of(spoken(3))
    made.learn(rows)
    made.save()
    (tmp_path / "run" / "codec").symlink_to(base.codec_path)
    TOKENIZER.save(str(tmp_path / "run" / "tokenizer.json"))
    out = tmp_path / "nano"
    out.mkdir()
    nano.assemble(tmp_path / "run", tmp_path / "run" / "codec", out)
    located = models.locate(str(out))
    assert (located.voices, located.is_random) == (nano.VOICES, False)
    whole: Any = AutoModelForCausalLM.from_pretrained(located.path, dtype=torch.float32)
    ids = padded(rows[:1], "cpu")
    with torch.no_grad():
        kept = made.average.to(torch.bfloat16).to(torch.float32)
        ours = kept(ids) @ kept.table.weight[kept.row_of].T
        theirs = whole(ids).logits
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert json.loads((out / "config.json").read_text())["vocab_size"] == tokens.VOCABULARY


def test_ids_that_sound_alike_start_alike(
    trainer: Callable[[Path], Trainer], base: BaseModel, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    made = trainer(tmp_path / "run").base
    words = load_file(base.codec_path / "model.safetensors")[
        "quantizer.quantizers.0.codebook.weight"
    ]
    rows = made.rows(tokens.slot_ids(0).start, tokens.CODEBOOK)
    far = torch.cdist(words[:200], words[:200]).flatten()
    apart = torch.cdist(rows[:200], rows[:200]).flatten()
    assert torch.corrcoef(torch.stack([far, apart.detach()]))[0, 1] > 0.6


def test_a_run_begins_with_the_weights_of_another(
    trainer: Callable[[Path], Trainer], tmp_path: Path
) -> None:
    first = trainer(tmp_path / "first")
    first.learn(rows_of(spoken(2)))
    first.save()
    second = trainer(tmp_path / "second")
    second.start_from(tmp_path / "first")
    kept = dict(first.average.named_parameters())
    for module in (second.base, second.average):
        for name, value in module.named_parameters():
            if name != "body.embed_tokens.weight":
                torch.testing.assert_close(value, kept[name].bfloat16().float(), msg=name)
    assert second.step == 0


def test_weights_of_another_tokenizer_are_refused(
    trainer: Callable[[Path], Trainer], tmp_path: Path
) -> None:
    first = trainer(tmp_path / "first")
    first.base.ids = first.base.ids[1:]
    first.save()
    with pytest.raises(SystemExit, match="another tokenizer"):
        trainer(tmp_path / "second").start_from(tmp_path / "first")
