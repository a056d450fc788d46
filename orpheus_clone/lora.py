"""The tensors of an adapter: which there must be, how large, and what is refused before it is read.

    base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight    (rank, hidden)      bf16
    base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight    (heads x 128, rank) bf16
    …                               self_attn.{k,v,o}_proj, mlp.{gate,up,down}_proj, every layer

A safetensors file is eight bytes that say how long its header is, the header (JSON), and numbers.
All of it follows from five dimensions of the base and the rank, so nothing else is accepted: the
length of the file is known before a number is read, and no more memory is taken than that.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orpheus_clone import disk
from orpheus_clone.errors import ArtifactError

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
MAX_RANK = 16
"""Nodes reserve room for this rank; a larger one wastes memory and time on all of them."""
MAX_WEIGHT = 8.0
"""Of either side, as a size: our trainings, of nano and of larger bases, end at 0.22 at most."""
MAX_SCALE = 32
"""Of alpha / rank, which is 2 in every recipe of ours.

Within both, the worst that an adapter can do to the 3B stays a number in bfloat16, which ends at
3e38: of a normed input of 2e3, gate and up make 2e11, their product is 4e22, and down makes 1e31.
What is no number stays in vLLM after the session, and spoils what the next one says.
"""
MAX_HEADER = 2**20
"""Bytes; the 3B's 392 tensors take 56 KiB."""

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_PER_LAYER = 2 * len(PROJECTIONS)
_BYTES = 2
_SIZE = 0x7FFF
"""All but the sign of a bfloat16; of two, the larger as an integer is the larger, or no number."""

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Dimensions:
    """What of a base decides the shapes of its adapters."""

    layers: int
    hidden: int
    intermediate: int
    query: int
    """Heads x their width."""
    key_value: int

    def __str__(self) -> str:
        return ", ".join(f"{name} {size}" for name, size in asdict(self).items())


@dataclass(frozen=True)
class _Header:
    """What the header of a file says, and where the numbers begin."""

    shapes: Shapes
    offsets: dict[str, int]
    start: int


def dimensions_of(config: Mapping[str, Any]) -> Dimensions:
    """The dimensions in a base's config.json; ArtifactError if one is missing."""
    try:
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        width = int(config.get("head_dim") or hidden // heads)
        return Dimensions(
            layers=int(config["num_hidden_layers"]),
            hidden=hidden,
            intermediate=int(config["intermediate_size"]),
            query=heads * width,
            key_value=int(config["num_key_value_heads"]) * width,
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ArtifactError(
            f"the base's config.json has no usable {error}; fetch the base model again"
        ) from None


def expected_shapes(of: Dimensions, rank: int) -> Shapes:
    """By name, the shape of every tensor that an adapter of this rank has."""
    sides = {
        "q_proj": (of.hidden, of.query),
        "k_proj": (of.hidden, of.key_value),
        "v_proj": (of.hidden, of.key_value),
        "o_proj": (of.query, of.hidden),
        "gate_proj": (of.hidden, of.intermediate),
        "up_proj": (of.hidden, of.intermediate),
        "down_proj": (of.intermediate, of.hidden),
    }
    shapes: Shapes = {}
    for layer in range(of.layers):
        for projection, (inward, outward) in sides.items():
            shapes[_name(layer, projection, "A")] = (rank, inward)
            shapes[_name(layer, projection, "B")] = (outward, rank)
    return shapes


def check(weights: Path, rank: int) -> Dimensions:
    """The dimensions that an adapter's file was made for; ArtifactError if anything is off."""
    header = _read_header(weights)
    found = _implied_dimensions(header.shapes, weights)
    expected = expected_shapes(found, rank)
    for name in sorted(header.shapes.keys() - expected.keys()):
        raise ArtifactError(f"{weights}: {name} {header.shapes[name]} is no tensor of a voice")
    for name, wanted in expected.items():  # as many as there are, so none is missing
        got = header.shapes[name]
        if got != wanted:
            raise ArtifactError(f"{weights}: {name} has shape {got}, rank {rank} wants {wanted}")
    _check_sizes(weights, header)
    _check_loads(weights, header)
    return found


def _name(layer: int, projection: str, side: str) -> str:
    block = "self_attn" if projection in _ATTENTION else "mlp"
    return f"base_model.model.model.layers.{layer}.{block}.{projection}.lora_{side}.weight"


def _read_header(weights: Path) -> _Header:
    """The header, once its length, its types and the file's length are what they must be."""
    size = weights.stat().st_size
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER:
            raise ArtifactError(
                f"{weights}: its header claims {length} bytes, a voice's has at most {MAX_HEADER}; "
                "refused unread"
            )
        raw = file.read(length)
    start = 8 + length
    header = disk.parse_json(raw, str(weights), "publish the voice again")
    try:
        header.pop("__metadata__", None)
        types = {name: entry["dtype"] for name, entry in header.items()}
        shapes = {name: tuple(map(int, entry["shape"])) for name, entry in header.items()}
        spans = {name: tuple(map(int, entry["data_offsets"])) for name, entry in header.items()}
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{weights}: is not safetensors: {type(error).__name__}") from None
    odd = next((name for name, kind in types.items() if kind != "BF16"), None)
    if odd is not None:
        raise ArtifactError(f"{weights}: {odd} is {types[odd]}, a voice's tensors are BF16")
    end = _packed_end(weights, shapes, spans)
    if start + end != size:
        raise ArtifactError(f"{weights}: has {size} bytes, its tensors make {start + end}")
    return _Header(shapes, {name: span[0] for name, span in spans.items()}, start)


def _packed_end(weights: Path, shapes: Shapes, spans: Shapes) -> int:
    """Where the last tensor ends; ArtifactError unless they lie one after the other."""
    end = 0
    for name in sorted(spans, key=lambda tensor: spans[tensor]):
        following = end + _BYTES * math.prod(shapes[name])
        if spans[name] != (end, following) or min(shapes[name], default=0) < 1:
            raise ArtifactError(f"{weights}: {name} {shapes[name]} lies at {spans[name]}; refused")
        end = following
    return end


def _implied_dimensions(shapes: Shapes, weights: Path) -> Dimensions:
    """The dimensions that the first layer's tensors tell of."""
    if not shapes or len(shapes) % _PER_LAYER:
        raise ArtifactError(f"{weights}: holds {len(shapes)} tensors, not 14 for each layer")

    def side(projection: str, which: str, axis: int) -> int:
        shape = shapes.get(_name(0, projection, which), ())
        if len(shape) != 2:
            raise ArtifactError(f"{weights}: {projection}'s lora_{which} of layer 0 is {shape}")
        return shape[axis]

    return Dimensions(
        layers=len(shapes) // _PER_LAYER,
        hidden=side("q_proj", "A", 1),
        intermediate=side("gate_proj", "B", 0),
        query=side("q_proj", "B", 0),
        key_value=side("k_proj", "B", 0),
    )


def _check_sizes(weights: Path, header: _Header) -> None:
    most = int.from_bytes(struct.pack(">f", MAX_WEIGHT)[:_BYTES])
    numbers = np.memmap(weights, dtype="<u2", mode="r", offset=header.start)
    for name, shape in header.shapes.items():
        first = header.offsets[name] // _BYTES
        values = numbers[first : first + math.prod(shape)]
        if ((values & _SIZE) > most).any():
            raise ArtifactError(
                f"{weights}: {name} holds values beyond {MAX_WEIGHT:g} or that are not numbers, "
                "which no training of a voice ends in; train it again"
            )


def _check_loads(weights: Path, header: _Header) -> None:
    """The library that engines load it with must see the same tensors."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="numpy") as file:
            names = set(file.keys())
    except SafetensorError as error:
        raise ArtifactError(f"{weights}: is not safetensors: {error}") from None
    if names != set(header.shapes):
        raise ArtifactError(f"{weights}: its header can be read in two ways; refused")
