import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

from orpheus_clone import models
from orpheus_clone.errors import ArtifactError, RecipeError, TextError, TokenError
from orpheus_clone.models import BaseModel

TAIL = [128009, 128260, 128261, 128257]


@pytest.fixture
def copy_of_base(base: BaseModel, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base.path, tmp_path / "mine"))


def test_a_directory_with_the_same_files_is_the_same_base(
    copy_of_base: Path, base: BaseModel
) -> None:
    mine = models.locate(str(copy_of_base))
    assert (mine.digest, mine.codec_digest) == (base.digest, base.codec_digest)
    assert mine.name == str(copy_of_base)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_any_changed_file_changes_the_digest(
    copy_of_base: Path, base: BaseModel, name: str
) -> None:
    content = (copy_of_base / name).read_bytes()
    changed = content[:-1] + b"\x01" if name == "model.safetensors" else content + b" "
    (copy_of_base / name).write_bytes(changed)
    assert models.locate(str(copy_of_base)).digest != base.digest


def test_a_changed_codec_changes_the_codec_digest_alone(
    copy_of_base: Path, base: BaseModel
) -> None:
    (copy_of_base / "codec" / "config.json").write_text("{}", encoding="utf-8")
    mine = models.locate(str(copy_of_base))
    assert mine.digest == base.digest
    assert mine.codec_digest != base.codec_digest


def test_a_prompt_by_hand(base: BaseModel) -> None:
    ids = models.prompt_ids(base.tokenizer(), "ada", "Hi!", base.tags, base.language)
    letters = [
        base.tokenizer().token_to_id(letter) for letter in ["a", "d", "a", ":", "Ġ", "H", "i", "!"]
    ]
    assert ids == [128259, 128000, *letters, *TAIL]


def test_a_prompt_has_exactly_one_begin_of_text(base: BaseModel) -> None:
    ids = models.prompt_ids(base.tokenizer(), "ada", "Hello there, you.", base.tags, base.language)
    assert ids[:2] == [128259, 128000]
    assert ids.count(128000) == 1
    assert ids[-4:] == TAIL
    assert all(0 <= token < 128000 for token in ids[2:-4])


@pytest.mark.parametrize("control", ["<|eot_id|>", "<|begin_of_text|>", "<custom_token_4>"])
def test_a_text_cannot_inject_control_tokens(base: BaseModel, control: str) -> None:
    with pytest.raises(TextError, match="control token"):
        models.prompt_ids(base.tokenizer(), "ada", f"Hi {control} there", base.tags, base.language)
    # Past the check of the text, the tokenizer takes it for plain characters.
    assert all(token < 128000 for token in base.tokenizer().encode(control).ids[1:])


def test_a_tokenizer_that_adds_no_begin_of_text_is_refused(copy_of_base: Path) -> None:
    settings = json.loads((copy_of_base / "tokenizer.json").read_text(encoding="utf-8"))
    settings["post_processor"] = None
    (copy_of_base / "tokenizer.json").write_text(json.dumps(settings), encoding="utf-8")
    tokenizer = models.locate(str(copy_of_base)).tokenizer()
    with pytest.raises(TokenError, match="is this Orpheus's tokenizer"):
        models.prompt_ids(tokenizer, "ada", "Hi", (), "en")


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"'orfeus' is neither a known name \(nano, orpheus-3b\)"):
        models.locate("orfeus")


def test_an_empty_directory_is_no_base_model(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"config\.json is missing: .* is not a base model"):
        models.locate(str(tmp_path))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_what_a_base_model_lacks_is_named(copy_of_base: Path, name: str) -> None:
    (copy_of_base / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        models.locate(str(copy_of_base))


def test_pickled_weights_alone_are_refused(copy_of_base: Path) -> None:
    (copy_of_base / "model.safetensors").rename(copy_of_base / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match="pickled weights are not loaded"):
        models.locate(str(copy_of_base))


def test_a_model_of_another_vocabulary_is_refused(copy_of_base: Path) -> None:
    config = json.loads((copy_of_base / "config.json").read_text(encoding="utf-8"))
    (copy_of_base / "config.json").write_text(json.dumps(config | {"vocab_size": 128256}))
    with pytest.raises(ArtifactError, match=r"vocabulary of 128256.*not an Orpheus model"):
        models.locate(str(copy_of_base))


def test_a_download_that_was_cut_short_names_the_missing_shard(copy_of_base: Path) -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    (copy_of_base / "model.safetensors").rename(copy_of_base / shards[0])
    with pytest.raises(ArtifactError, match=r"lacks model\.safetensors; fetch"):
        models.locate(str(copy_of_base))
    index = {"weight_map": {"a": shards[0], "b": shards[1]}}
    (copy_of_base / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ArtifactError, match=r"lacks model-00002-of-00002\.safetensors; fetch"):
        models.locate(str(copy_of_base))


def test_of_a_hub_repository_only_what_a_base_model_needs_is_fetched() -> None:
    wanted = [
        "config.json",
        "generation_config.json",
        "model-00001-of-00004.safetensors",
        "model-00004-of-00004.safetensors",
        "model.safetensors",
        "model.safetensors.index.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    unwanted = [
        "README.md",
        ".gitattributes",
        "optimizer.bin",
        "optimizer.pt",
        "scheduler.pt",
        "rng_state_0.pth",
        "training_args.bin",
        "pytorch_model.bin",
        "pytorch_model_fsdp_0/__0_0.distcp",
        "optimizer_0/__0_0.distcp",
        "optimizer_0/.metadata",
        "checkpoint-500/model.safetensors",
        "original/consolidated.00.pth",
    ]
    kept = filter_repo_objects([*unwanted, *wanted], allow_patterns=models.MODEL_FILES)
    assert sorted(kept) == wanted


def test_without_a_network_the_3b_names_its_licence_and_the_way_round(own_cache: Path) -> None:
    script = (
        "from orpheus_clone import models\n"
        "from orpheus_clone.errors import ArtifactError\n"
        "assert not models.is_here(models.ORPHEUS_3B)\n"
        "try:\n    models.locate('orpheus-3b', print)\n"
        "except ArtifactError as error:\n    print('refused:', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    message = done.stdout.partition("refused:")[2]
    assert "canopylabs/orpheus-3b-0.1-ft" in message
    assert "unsloth/orpheus-3b-0.1-ft" in message
    assert "Accept the licence at https://huggingface.co/canopylabs" in message
    assert "--base PATH" in message
    assert "licence: Apache-2.0, on Llama 3.2" in done.stdout


def test_without_a_network_a_missing_codec_says_where_to_put_it(copy_of_base: Path) -> None:
    shutil.rmtree(copy_of_base / "codec")
    with pytest.raises(ArtifactError, match=r"SNAC codec .*mine/codec, or .* ORPHEUS_CLONE_SNAC"):
        models.locate(str(copy_of_base))


def test_the_codec_may_lie_elsewhere(
    copy_of_base: Path, base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy_of_base / "codec").rename(tmp_path / "snac")
    monkeypatch.setenv("ORPHEUS_CLONE_SNAC", str(tmp_path / "snac"))
    assert models.locate(str(copy_of_base)).codec_digest == base.codec_digest
    monkeypatch.setenv("ORPHEUS_CLONE_SNAC", str(tmp_path))
    with pytest.raises(ArtifactError, match=r"holds no config.json"):
        models.locate(str(copy_of_base))


def test_known_bases_are_described_in_plain_data(base: BaseModel) -> None:
    facts = json.loads(json.dumps(models.describe(models.NANO)))
    assert facts["name"] == "nano"
    assert facts["here"] is True
    assert facts["voices"] == ["ada", "ben", "cleo", "dov"]
