"""A checkpoint with a short head says what the stock one says, in turned ids."""

import json
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from orpheus_clone import models, optimised, tokens
from orpheus_clone.engine.base import Request
from orpheus_clone.engine.hf import HfEngine
from orpheus_clone.errors import ArtifactError, RecipeError
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling
from tests.commands import run
from tests.engine.conftest import GREEDY, ids_of

IDS = st.integers(0, tokens.VOCABULARY - 1)


@pytest.fixture(scope="module")
def short(base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return models.optimise(base, tmp_path_factory.mktemp("short") / "nano")


@given(st.lists(IDS))
def test_ids_come_back(ids: list[int]) -> None:
    assert optimised.restored(optimised.turned(ids)) == ids
    assert all(0 <= i < tokens.VOCABULARY for i in optimised.turned(ids))


def test_what_is_generated_comes_first() -> None:
    assert optimised.turned([128_256, tokens.END_OF_SPEECH, tokens.VOCABULARY - 1]) == [0, 2, 28683]
    assert optimised.turned([0, 128_255]) == [28684, 156_939]
    assert optimised.WIDTH == 28_684


def test_the_tables_are_turned_and_all_else_is_as_it_was(base: BaseModel, short: BaseModel) -> None:
    stock = load_file(base.path / "model.safetensors")
    turned = load_file(short.path / "model.safetensors")
    ids = torch.tensor([0, 97, 128_255, 128_256, tokens.END_OF_SPEECH, 156_939])
    table = stock[optimised.EMBEDDING]
    assert table[ids].equal(turned[optimised.EMBEDDING][optimised.turned(ids.tolist())])
    assert table[optimised.FIRST :].equal(turned[optimised.HEAD])
    others = set(stock) - {optimised.EMBEDDING, optimised.HEAD}
    assert set(turned) == others | {optimised.EMBEDDING, optimised.HEAD}
    assert all(stock[name].equal(turned[name]) for name in others)


def test_a_head_of_its_own_is_what_is_cut(base: BaseModel, tmp_path: Path) -> None:
    stock = load_file(base.path / "model.safetensors")
    head = torch.randn_like(stock[optimised.EMBEDDING])
    untied, out = tmp_path / "untied", tmp_path / "out"
    untied.mkdir()
    out.mkdir()
    names = sorted(stock)
    save_file({name: stock[name] for name in names[:3]}, untied / "model-1.safetensors")
    rest = {name: stock[name] for name in names[3:]} | {optimised.HEAD: head}
    save_file(rest, untied / "model-2.safetensors")
    (untied / "config.json").write_text((base.path / "config.json").read_text())
    optimised.write(untied, out)
    turned = load_file(out / "model.safetensors")
    assert turned[optimised.HEAD].equal(head[optimised.FIRST :])
    assert set(turned) == set(stock) | {optimised.HEAD}


def test_the_configuration_says_what_it_is(base: BaseModel, short: BaseModel) -> None:
    stock: dict[str, Any] = json.loads((base.path / "config.json").read_text())
    turned: dict[str, Any] = json.loads((short.path / "config.json").read_text())
    assert turned["architectures"] == [optimised.ARCHITECTURE]
    assert turned["tie_word_embeddings"] is False
    assert turned["eos_token_id"] == 2
    changed = {"architectures", "tie_word_embeddings"}
    changed |= {"bos_token_id", "eos_token_id", "pad_token_id"}
    assert {k: v for k, v in turned.items() if k not in changed} == {
        k: v for k, v in stock.items() if k not in changed
    }


def test_adapters_of_the_stock_base_fit_it(base: BaseModel, short: BaseModel) -> None:
    assert (short.name, short.digest) == (base.name, base.digest)
    assert short.codec_digest == base.codec_digest
    assert (short.has_audio_head, base.has_audio_head) == (True, False)
    assert short.voices == base.voices


def test_its_logits_are_the_stock_ones(base: BaseModel, short: BaseModel) -> None:
    from orpheus_clone.engine.hf import _with_audio_head

    ids = models.prompt_ids(base.tokenizer(), "ada", "Hello.", base.tags, base.language)
    stock = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32)
    turned = _with_audio_head().from_pretrained(short.path, dtype=torch.float32)
    with torch.inference_mode():
        wanted = stock(torch.tensor([ids])).logits[..., optimised.FIRST :]
        heard = turned(torch.tensor([optimised.turned(ids)])).logits
    assert torch.equal(heard, wanted) or torch.allclose(heard, wanted, atol=1e-5)


async def test_the_reference_engine_says_the_same_through_it(
    base: BaseModel, short: BaseModel
) -> None:
    prompt = models.prompt_ids(base.tokenizer(), "ada", "Hello.", base.tags, base.language)
    for sampling in (GREEDY, Sampling(temperature=0.0, repetition_penalty=1.3)):
        said = []
        for one in (base, short):
            engine = HfEngine(one)
            said.append(await ids_of(engine, Request(prompt, sampling, 6)))
            await engine.close()
        assert len(said[0]) >= tokens.FRAME
        assert said[0] == said[1]


def test_nothing_is_trained_on_it(recordings: Path, short: BaseModel, tmp_path: Path) -> None:
    out = tmp_path / "jack"
    where = ["--voice", "jack", "--base", str(short.path), "--out", str(out)]
    done = run("clone", str(recordings), *where)
    assert done.code == RecipeError.exit_code
    assert "the voice fits both" in done.said
    assert not out.exists()


def test_it_is_written_in_little_memory(base: BaseModel, tmp_path: Path) -> None:
    tracemalloc.start()
    optimised.write(base.path, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * optimised._BLOCK


def test_one_that_is_optimised_is_not_optimised_again(short: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is optimised already"):
        models.optimise(short, tmp_path / "again")
    assert models.fast(short) is short


def test_a_directory_that_holds_something_else_is_left_as_it_is(
    base: BaseModel, tmp_path: Path
) -> None:
    for name in (".env", "thesis.txt"):
        (tmp_path / name).write_text("years of work")
        with pytest.raises(RecipeError, match=r"holds \.env, which is no part of an optimised"):
            models.optimise(base, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_base_model_does_not_replace_itself(base: BaseModel, tmp_path: Path) -> None:
    own = Path(shutil.copytree(base.path, tmp_path / "own"))
    before = sorted(path.name for path in own.iterdir())
    with pytest.raises(RecipeError, match="is no part of an optimised base model"):
        models.optimise(models.locate(str(own)), own)
    assert sorted(path.name for path in own.iterdir()) == before


def test_an_optimised_one_may_be_written_again_if_nothing_else_is_there(
    base: BaseModel, tmp_path: Path
) -> None:
    once = models.optimise(base, tmp_path / "fast")
    assert models.optimise(base, once.path) == once
    (once.path / "notes.md").write_text("mine")
    with pytest.raises(RecipeError, match=r"holds notes\.md"):
        models.optimise(base, once.path)
    assert (once.path / "notes.md").read_text() == "mine"


def test_the_cache_holds_it_once(base: BaseModel) -> None:
    said: list[str] = []
    first = models.fast(base, said.append)
    assert models.fast(base, said.append) == first
    assert len(said) <= 1
    assert first.has_audio_head


def test_another_vocabulary_is_refused(base: BaseModel, tmp_path: Path) -> None:
    save_file({optimised.EMBEDDING: torch.zeros(10, 4)}, tmp_path / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"has not 156940 rows.*--engine hf"):
        optimised.write(tmp_path, tmp_path)


def test_a_file_that_was_cut_short_is_told(base: BaseModel, tmp_path: Path) -> None:
    cut, out = tmp_path / "cut", tmp_path / "out"
    cut.mkdir()
    out.mkdir()
    content = (base.path / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(content[:-1000])
    (cut / "config.json").write_text((base.path / "config.json").read_text())
    with pytest.raises(ArtifactError, match="is shorter than it says"):
        optimised.write(cut, out)


def test_the_command_writes_one(own_cache: Path, tmp_path: Path) -> None:
    done = run("models", "optimise", "nano", "--out", str(tmp_path / "fast"), "--json")
    assert done.code == 0, done.said
    assert done.json["has_audio_head"] is True
    assert models.locate(str(tmp_path / "fast")).has_audio_head
