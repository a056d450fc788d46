"""Pieces to clips and codes, each remembered by what it was made from.

The key of a clip is a hash of its samples' origin, the trimming, the gain and the codec. What is in
the cache under that key is not computed again; a changed text costs nothing, a changed trimming or
codec redoes only what depends on it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from orpheus_clone import audio, disk
from orpheus_clone.audio import Waveform
from orpheus_clone.codec.snac import Codec
from orpheus_clone.layout import PreparedDir
from orpheus_clone.prepare import decode
from orpheus_clone.prepare.decode import read_span
from orpheus_clone.prepare.memory import key_of
from orpheus_clone.prepare.pieces import Piece
from orpheus_clone.prepare.source import Progress, in_parallel, one_core_each
from orpheus_clone.prepare.trim import shorten_pauses, trim
from orpheus_clone.quality import zero_samples
from orpheus_clone.recipe import Prepare
from orpheus_clone.tokens import FRAME_SAMPLES, Codes

REVISION = 3
"""Changes whenever this module would make something else of the same recording."""
BATCH_SAMPLES = 20 * 24_000
"""Clips of one length are tokenized together, up to so much sound at a time."""


@dataclass(frozen=True)
class Encoded:
    """What is remembered of a clip."""

    codes: Codes
    samples: int
    zeros: int
    source_head_ms: float
    source_tail_ms: float


def clip_key(piece: Piece, settings: Prepare, gain_db: float, codec_digest: str) -> str:
    """Hash of everything that shapes the clip."""
    trimming = [settings.head_ms, settings.tail_ms, settings.pause_max_s]
    made_by = [decode.REVISION, REVISION]
    return key_of(made_by, piece.content, trimming, gain_db, codec_digest)


def encode_all(
    pieces: Sequence[Piece],
    keys: Sequence[str],
    settings: Prepare,
    gain_db: float,
    open_codec: Callable[[], Codec],
    out: PreparedDir,
    threads: int,
    progress: Progress,
) -> list[Encoded]:
    """Trim, level and tokenize each piece, or take it from the cache."""
    missing = {
        key: piece
        for piece, key in zip(pieces, keys, strict=True)
        if not (_remembered(out, key).is_file() and _clip(out, key).is_file())
    }
    if missing:
        _make(missing, settings, gain_db, open_codec(), out, threads, progress)
    return [_load(_remembered(out, key)) for key in keys]


def _make(
    missing: dict[str, Piece],
    settings: Prepare,
    gain_db: float,
    codec: Codec,
    out: PreparedDir,
    threads: int,
    progress: Progress,
) -> None:
    def one(key: str) -> "_Trimmed":
        return _trim(missing[key], key, settings, gain_db, out)

    def tokenize(batch: "list[_Trimmed]") -> None:
        codes = codec.encode_batch([audio.read(_clip(out, item.key)) for item in batch])
        for item, made in zip(batch, codes, strict=True):
            _save(_remembered(out, item.key), item, made)

    trimmed = in_parallel(one, list(missing), threads, lambda _done, _of: None)
    batches = list(_batches(trimmed))
    with one_core_each():
        in_parallel(
            tokenize,
            batches,
            threads,
            lambda done, _of: progress(sum(map(len, batches[:done])), len(trimmed)),
        )


@dataclass(frozen=True)
class _Trimmed:
    key: str
    samples: int
    zeros: int
    head_ms: float
    tail_ms: float


def _trim(piece: Piece, key: str, settings: Prepare, gain_db: float, out: PreparedDir) -> _Trimmed:
    recording = read_span(piece.source.copy, piece.span.start_s, piece.span.end_s)
    if settings.pause_max_s is not None:
        recording = shorten_pauses(recording, settings.pause_max_s)
    trimmed = trim(recording, settings.head_ms, settings.tail_ms)
    levelled: Waveform = trimmed.samples * np.float32(10 ** (gain_db / 20))
    with disk.atomic_file(_clip(out, key)) as temporary:
        audio.write(temporary, levelled)
    return _Trimmed(
        key,
        len(levelled),
        zero_samples(levelled),
        round(trimmed.source.head_ms, 1),
        round(trimmed.source.tail_ms, 1),
    )


def _batches(trimmed: Sequence[_Trimmed]) -> Iterator[list[_Trimmed]]:
    """Of one length each, shortest first, at most `BATCH_SAMPLES` together."""
    ordered = sorted(trimmed, key=lambda item: (item.samples, item.key))
    for samples, group in groupby(ordered, key=lambda item: item.samples):
        alike = list(group)
        most = max(1, BATCH_SAMPLES // samples)
        yield from (alike[i : i + most] for i in range(0, len(alike), most))


def _remembered(out: PreparedDir, key: str) -> Path:
    return out.cache / "codes" / f"{key}.npz"


def _clip(out: PreparedDir, key: str) -> Path:
    return out.audio / f"{key}.flac"


def _save(path: Path, item: _Trimmed, codes: Codes) -> None:
    assert len(codes) * FRAME_SAMPLES == item.samples
    with disk.atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            codes=codes.astype(np.int16),
            numbers=np.array([item.samples, item.zeros], np.int64),
            silence_ms=np.array([item.head_ms, item.tail_ms]),
        )


def _load(path: Path) -> Encoded:
    with np.load(path, allow_pickle=False) as data:
        samples, zeros = (int(n) for n in data["numbers"])
        head_ms, tail_ms = (float(ms) for ms in data["silence_ms"])
        return Encoded(data["codes"].astype(np.int64), samples, zeros, head_ms, tail_ms)
