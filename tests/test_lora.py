"""The tensors of an adapter: the shapes worked out by hand, and every way in which they are off."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from orpheus_clone import disk, lora
from orpheus_clone.errors import ArtifactError
from orpheus_clone.layout import RunDir
from orpheus_clone.lora import Dimensions
from orpheus_clone.models import BaseModel

Weights = dict[str, torch.Tensor]
RANK = 4
"""Of the small run."""
NANO = Dimensions(layers=2, hidden=64, intermediate=128, query=64, key_value=32)
ORPHEUS = {
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 28,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
"""Orpheus-3B's config.json, as far as it matters."""
FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.fixture
def weights(run_dir: RunDir, tmp_path: Path) -> Path:
    """A copy of the small run's adapter that a test may change."""
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes((run_dir.adapter / "adapter_model.safetensors").read_bytes())
    return path


def changed(path: Path, change: Callable[[Weights], Weights]) -> Path:
    save_file(change(load_file(path)), path)
    return path


def with_header(path: Path, header: bytes, numbers: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + numbers)
    return path


def test_the_small_runs_adapter_is_what_nano_wants(weights: Path, base: BaseModel) -> None:
    assert lora.check(weights, RANK) == NANO
    assert lora.dimensions_of(disk.read_json(base.path / "config.json", "")) == NANO


def test_the_3bs_adapter_has_392_tensors_of_46_mib() -> None:
    shapes = lora.expected_shapes(lora.dimensions_of(ORPHEUS), 16)
    assert len(shapes) == 28 * 14
    assert shapes[FIRST] == (16, 3072)
    prefix = "base_model.model.model.layers.27."
    assert shapes[prefix + "self_attn.k_proj.lora_B.weight"] == (1024, 16)
    assert shapes[prefix + "self_attn.o_proj.lora_A.weight"] == (16, 3072)
    assert shapes[prefix + "mlp.up_proj.lora_B.weight"] == (8192, 16)
    assert shapes[prefix + "mlp.down_proj.lora_A.weight"] == (16, 8192)
    assert 2 * sum(rows * columns for rows, columns in shapes.values()) == 48_627_712


def test_without_a_head_width_it_is_the_hidden_size_over_the_heads() -> None:
    config = {name: size for name, size in ORPHEUS.items() if name != "head_dim"}
    assert lora.dimensions_of(config) == lora.dimensions_of(ORPHEUS)


@pytest.mark.parametrize("missing", ["hidden_size", "num_hidden_layers", "num_key_value_heads"])
def test_a_base_without_a_dimension_is_named(missing: str) -> None:
    config = {name: size for name, size in ORPHEUS.items() if name != missing}
    with pytest.raises(ArtifactError, match=f"'{missing}'"):
        lora.dimensions_of(config)


STEP = 2.0**-4
"""From the largest weight to the next bfloat16."""


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), float("-inf"), 3e38, 8 + STEP, -8 - STEP]
)
def test_values_that_no_training_makes_are_refused_by_the_tensors_name(
    weights: Path, value: float
) -> None:
    name = sorted(load_file(weights))[-1]

    def poison(tensors: Weights) -> Weights:
        tensors[name][-1, -1] = value
        return tensors

    with pytest.raises(ArtifactError, match=f"{name} holds values beyond 8 or that are not"):
        lora.check(changed(weights, poison), RANK)


def test_the_largest_and_the_smallest_weights_are_taken(weights: Path) -> None:
    def stretch(tensors: Weights) -> Weights:
        tensors[FIRST][0, :3] = torch.tensor([8, -8, 1e-40], dtype=torch.bfloat16)
        return tensors

    assert lora.check(changed(weights, stretch), RANK) == NANO


@pytest.mark.parametrize("rank", [3, 8])
def test_a_rank_that_is_not_the_tensors_is_refused(weights: Path, rank: int) -> None:
    with pytest.raises(
        ArtifactError, match=rf"lora_A\.weight has shape \(4, 64\), rank {rank} wants"
    ):
        lora.check(weights, rank)


@pytest.mark.parametrize("name", [FIRST, FIRST.replace("layers.0", "layers.1")])
def test_a_tensor_of_another_shape_is_refused_in_every_layer(weights: Path, name: str) -> None:
    def widen(tensors: Weights) -> Weights:
        return tensors | {name: torch.zeros(RANK, 65, dtype=torch.bfloat16)}

    # The first layer's q_proj says how wide the others must be.
    with pytest.raises(ArtifactError, match=r"has shape \(4, 6[45]\), rank 4 wants \(4, 6[45]\)"):
        lora.check(changed(weights, widen), RANK)


def test_a_layer_that_lacks_a_tensor_is_refused(weights: Path) -> None:
    def drop(tensors: Weights) -> Weights:
        return dict(list(tensors.items())[1:])

    with pytest.raises(ArtifactError, match="holds 27 tensors, not 14 for each layer"):
        lora.check(changed(weights, drop), RANK)


def test_no_tensors_at_all_are_refused(weights: Path) -> None:
    with pytest.raises(ArtifactError, match="holds 0 tensors"):
        lora.check(changed(weights, lambda _: {}), RANK)


def test_a_tensor_that_is_no_lora_is_refused(weights: Path) -> None:
    def exchange(tensors: Weights) -> Weights:
        last = sorted(tensors)[-1]
        head = {"lm_head.weight": torch.zeros(4, 4, dtype=torch.bfloat16)}
        return {name: tensors[name] for name in tensors if name != last} | head

    with pytest.raises(ArtifactError, match=r"lm_head\.weight \(4, 4\) is no tensor of a voice"):
        lora.check(changed(weights, exchange), RANK)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_other_types_than_bfloat16_are_refused(weights: Path, kind: torch.dtype) -> None:
    def cast(tensors: Weights) -> Weights:
        return {name: tensor.to(kind) for name, tensor in tensors.items()}

    with pytest.raises(ArtifactError, match=r"is F(32|16), a voice's tensors are BF16"):
        lora.check(changed(weights, cast), RANK)


def test_a_header_that_claims_10_gb_is_refused_unread(weights: Path) -> None:
    weights.write_bytes(struct.pack("<Q", 10 * 10**9) + b"{}")
    with pytest.raises(ArtifactError, match=r"claims 10000000000 bytes.*refused unread"):
        lora.check(weights, RANK)


def test_a_header_may_be_as_long_as_the_limit_and_no_longer(weights: Path) -> None:
    with pytest.raises(ArtifactError, match="holds 0 tensors"):
        lora.check(with_header(weights, b"{}".ljust(lora.MAX_HEADER)), RANK)
    with pytest.raises(ArtifactError, match="refused unread"):
        lora.check(with_header(weights, b"{}".ljust(lora.MAX_HEADER + 1)), RANK)


def entry(shape: object = (4, 64), offsets: object = (0, 512), dtype: object = "BF16") -> object:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b'{"a": 1}',
        b'{"a": {"dtype": "BF16"}}',
        json.dumps({"a": entry(shape=3)}).encode(),
        json.dumps({"a": entry(shape=[None, 1])}).encode(),
        b'{"a": {"dtype": "BF16", "shape": [1e999], "data_offsets": [0, 1]}}',
    ],
    ids=["empty", "open", "list", "deep", "number", "half", "flat", "null", "infinite"],
)
def test_a_header_that_makes_no_sense_is_refused(weights: Path, header: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"is not JSON|is not a JSON object|is not safetensors"):
        lora.check(with_header(weights, header), RANK)


@pytest.mark.parametrize("offsets", [(0, 511), (2, 514), (-512, 0), (0, 2**60)])
def test_tensors_that_do_not_lie_one_after_the_other_are_refused(
    weights: Path, offsets: tuple[int, int]
) -> None:
    header = json.dumps({FIRST: entry(offsets=offsets)}).encode()
    with pytest.raises(ArtifactError, match=r"lies at .*; refused"):
        lora.check(with_header(weights, header, b"\0" * 512), RANK)


@pytest.mark.parametrize("more", [-1, 1])
def test_a_byte_too_few_or_too_many_is_refused(weights: Path, more: int) -> None:
    content = weights.read_bytes()
    weights.write_bytes(content[:more] if more < 0 else content + b"\0")
    with pytest.raises(ArtifactError, match=rf"has {len(content) + more} bytes, its tensors make"):
        lora.check(weights, RANK)


def test_a_file_of_less_than_eight_bytes_is_refused(weights: Path) -> None:
    weights.write_bytes(b"nonsense"[:5])
    with pytest.raises(ArtifactError):
        lora.check(weights, RANK)


def test_a_name_that_stands_twice_in_the_header_is_refused(weights: Path) -> None:
    content = weights.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].rstrip()
    twice = header[:-1] + b"," + json.dumps({FIRST: entry()}).encode()[1:]
    with pytest.raises(ArtifactError):
        lora.check(with_header(weights, twice, content[8 + length :]), RANK)


def test_a_header_that_the_library_would_not_read_is_refused(weights: Path) -> None:
    """Sizes written as fractions are as large, and are no sizes to safetensors."""
    content = weights.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header[FIRST]["shape"] = [float(size) for size in header[FIRST]["shape"]]
    with pytest.raises(ArtifactError, match="is not safetensors: "):
        lora.check(with_header(weights, json.dumps(header).encode(), content[8 + length :]), RANK)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=8))
def test_no_file_does_more_than_fail(run_dir: RunDir, at: int, put: bytes) -> None:
    path = run_dir.root.parent / "fuzzed.safetensors"
    content = bytearray((run_dir.adapter / "adapter_model.safetensors").read_bytes())
    content[at : at + len(put)] = put
    path.write_bytes(content)
    try:
        assert lora.check(path, RANK) == NANO
    except ArtifactError as error:
        assert str(path) in str(error)
    assert np.memmap(path, mode="r").size == len(content)
