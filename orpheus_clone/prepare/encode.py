"""One recording to one clip, remembered by what it was made from.

The key of a clip is a hash of the recording's bytes, the trimming and the codec. What is in the
cache under that key is not computed again; a changed text costs nothing, a changed trimming or
codec redoes only what depends on it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orpheus_clone import audio, layout
from orpheus_clone.codec.snac import Codec
from orpheus_clone.layout import PreparedDir
from orpheus_clone.prepare.trim import trim, zero_samples
from orpheus_clone.recipe import Prepare
from orpheus_clone.tokens import Codes

REVISION = 2
"""Changes whenever this module would make something else of the same recording."""


@dataclass(frozen=True)
class Encoded:
    """What is remembered of a recording."""

    codes: Codes
    samples: int
    zeros: int
    source_head_ms: float
    source_tail_ms: float


def clip_key(recording: Path, settings: Prepare, codec_digest: str) -> str:
    """Hash of everything that shapes the clip."""
    what = [REVISION, layout.sha256_file(recording), settings.head_ms, settings.tail_ms]
    return layout.sha256_json([*what, codec_digest])


def encode(recording: Path, key: str, settings: Prepare, codec: Codec, out: PreparedDir) -> Encoded:
    """Trim and tokenize a recording, or take it from the cache; AudioError where it cannot be."""
    remembered = out.cache / f"{key}.npz"
    if remembered.is_file() and (out.audio / f"{key}.flac").is_file():
        return _load(remembered)
    trimmed = trim(audio.read(recording), settings.head_ms, settings.tail_ms)
    encoded = Encoded(
        codes=codec.encode(trimmed.samples),
        samples=len(trimmed.samples),
        zeros=zero_samples(trimmed.samples),
        source_head_ms=round(trimmed.source.head_ms, 1),
        source_tail_ms=round(trimmed.source.tail_ms, 1),
    )
    with layout.atomic_file(out.audio / f"{key}.flac") as temporary:
        audio.write(temporary, trimmed.samples)
    _save(remembered, encoded)
    return encoded


def _save(path: Path, encoded: Encoded) -> None:
    with layout.atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            codes=encoded.codes.astype(np.int16),
            numbers=np.array([encoded.samples, encoded.zeros], np.int64),
            silence_ms=np.array([encoded.source_head_ms, encoded.source_tail_ms]),
        )


def _load(path: Path) -> Encoded:
    with np.load(path, allow_pickle=False) as data:
        samples, zeros = (int(n) for n in data["numbers"])
        head_ms, tail_ms = (float(ms) for ms in data["silence_ms"])
        return Encoded(data["codes"].astype(np.int64), samples, zeros, head_ms, tail_ms)
