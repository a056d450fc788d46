"""A base model whose head knows only what it ever says: 28 684 rows instead of 156 940.

Generation needs the ids from 128256 on, the control and the audio tokens, and no other. So the
vocabulary is turned until those come first, and the head is cut behind them:

    stock      0 ……………………… 128255 │ 128256 …………… 156939       head: all of them
    turned     28684 ……………… 156939 │ 0 ………………… 28683           head: 0 … 28683

Ids are translated on the way into the engine and out of it, and nothing else knows. Adapters change
neither embeddings nor head, so those of the stock model fit unchanged; the checkpoint says which
that was by its digest. The rows are the same, so the logits are.

`write` turns a checkpoint as bytes, a piece at a time: rows lie one after the other in a
safetensors file, and turning the table is writing its two parts in the other order.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from orpheus_clone import tokens
from orpheus_clone.errors import ArtifactError

FIRST = 128_256
"""The first id that is ever generated."""
WIDTH = tokens.VOCABULARY - FIRST
"""28 684: rows of the head."""

ARCHITECTURE = "OrpheusAudioHeadForCausalLM"
EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"

_BLOCK = 2**24


def turned(ids: Sequence[int]) -> list[int]:
    """Stock ids as the turned model has them."""
    return [(i + WIDTH) % tokens.VOCABULARY for i in ids]


def restored(ids: Sequence[int]) -> list[int]:
    """The inverse of `turned`."""
    return [(i - WIDTH) % tokens.VOCABULARY for i in ids]


@dataclass(frozen=True)
class _Tensor:
    """A tensor's place in a file."""

    file: Path
    dtype: str
    shape: list[int]
    start: int
    end: int


def write(base: Path, out: Path) -> None:
    """Write `base`'s weights, turned, and its config.json into the existing directory `out`.

    In constant memory. ArtifactError where the weights are not a Llama's with that vocabulary.
    """
    tensors = dict(_tensors(base))
    table = tensors.get(EMBEDDING)
    if table is None or table.shape[0] != tokens.VOCABULARY:
        raise ArtifactError(
            f"{base}: {EMBEDDING} has not {tokens.VOCABULARY} rows, so no short head can be made "
            "of it; --engine hf speaks with the model as it is"
        )
    row = (table.end - table.start) // tokens.VOCABULARY
    head = tensors.pop(HEAD, table)
    pieces: dict[str, list[_Tensor]] = {name: [tensor] for name, tensor in tensors.items()}
    pieces[EMBEDDING] = [_rows(table, row, FIRST, tokens.VOCABULARY), _rows(table, row, 0, FIRST)]
    pieces[HEAD] = [_rows(head, row, FIRST, tokens.VOCABULARY)]
    with (out / "model.safetensors").open("wb") as file:
        _write_header(file, pieces)
        for parts in pieces.values():
            for part in parts:
                _copy(part, file)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    config |= {"architectures": [ARCHITECTURE], "tie_word_embeddings": False}
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if isinstance(config.get(name), int):
            (config[name],) = turned([config[name]])
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _tensors(base: Path) -> Iterator[tuple[str, _Tensor]]:
    for file in sorted(base.glob("model*.safetensors")):
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header: dict[str, Any] = json.loads(stream.read(size))
        for name, about in header.items():
            if name != "__metadata__":
                start, end = (8 + size + offset for offset in about["data_offsets"])
                yield name, _Tensor(file, about["dtype"], about["shape"], start, end)


def _rows(tensor: _Tensor, row: int, first: int, last: int) -> _Tensor:
    """The part of a table from row `first` up to `last`."""
    at = tensor.start
    shape = [last - first, *tensor.shape[1:]]
    return _Tensor(tensor.file, tensor.dtype, shape, at + first * row, at + last * row)


def _write_header(file: IO[bytes], pieces: dict[str, list[_Tensor]]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, parts in pieces.items():
        size = sum(part.end - part.start for part in parts)
        shape = parts[0].shape
        if len(parts) > 1:
            shape = [sum(part.shape[0] for part in parts), *shape[1:]]
        place = {"shape": shape, "data_offsets": [offset, offset + size]}
        header[name] = {"dtype": parts[0].dtype, **place}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)


def _copy(part: _Tensor, out: IO[bytes]) -> None:
    with part.file.open("rb") as source:
        source.seek(part.start)
        left = part.end - part.start
        while left:
            block = source.read(min(left, _BLOCK))
            if not block:
                raise ArtifactError(f"{part.file} is shorter than it says; fetch it again")
            out.write(block)
            left -= len(block)
