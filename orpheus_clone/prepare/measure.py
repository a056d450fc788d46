"""What is measured of each piece: its sound, its voice, its pitch; each kept, none judged."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from orpheus_clone.errors import AudioError
from orpheus_clone.manifest import Rejected
from orpheus_clone.pitch import pitch_hz
from orpheus_clone.prepare import decode
from orpheus_clone.prepare.decode import read_span
from orpheus_clone.prepare.identity import Voiceprint, voiceprint
from orpheus_clone.prepare.memory import Memory, key_of
from orpheus_clone.prepare.pieces import Piece
from orpheus_clone.prepare.source import Progress, in_parallel, one_core_each
from orpheus_clone.prepare.trim import spoken_part
from orpheus_clone.quality import Mos, Quality, measure
from orpheus_clone.speaker import SpeakerModel

REVISION = 3
"""Changes whenever something else would be measured of the same piece."""


@dataclass(frozen=True)
class Measures:
    """Of one piece; `voice` is None where nothing tells voices apart."""

    quality: Quality
    voice: Voiceprint | None
    pitch_hz: float | None
    peak: float
    """The highest sample, of full scale; what lies beside the speech may be in the clip, too."""


def measure_all(
    pieces: Sequence[Piece],
    model: SpeakerModel | None,
    mos: Mos | None,
    memory: Memory,
    threads: int,
    progress: Progress,
) -> tuple[list[tuple[Piece, Measures]], list[Rejected]]:
    """Each piece with its measures; a piece in which nobody speaks is rejected."""

    def one(piece: Piece) -> Measures | Rejected:
        try:
            return _measures(piece, model, mos, memory)
        except AudioError as error:
            return piece.rejected("no_speech", str(error))

    with one_core_each():
        results = in_parallel(one, pieces, threads, progress)
    kept = [(p, r) for p, r in zip(pieces, results, strict=True) if isinstance(r, Measures)]
    return kept, [r for r in results if isinstance(r, Rejected)]


def _measures(
    piece: Piece, model: SpeakerModel | None, mos: Mos | None, memory: Memory
) -> Measures:
    measured_by = [decode.REVISION, REVISION]
    sound_key = key_of(measured_by, piece.content, mos.digest if mos else None)
    voice_key = key_of(measured_by, piece.content, model.digest if model else None)
    sound, voice = memory.recall("sound", sound_key), memory.recall("voice", voice_key)
    if sound is None or (model is not None and voice is None):
        samples = read_span(piece.source.copy, piece.span.start_s, piece.span.end_s)
        speech = spoken_part(samples)
        if sound is None:
            sound = {
                "quality": asdict(measure(samples, mos)),
                "pitch_hz": pitch_hz(speech),
                "peak": float(np.abs(samples).max()),
            }
            memory.keep("sound", sound_key, sound)
        if model is not None and voice is None:
            voice = _plain(voiceprint(model, speech))
            memory.keep("voice", voice_key, voice)
    return Measures(
        Quality(**sound["quality"]),
        None if model is None else _voiceprint(voice),
        sound["pitch_hz"],
        sound["peak"],
    )


def _plain(made: Voiceprint) -> dict[str, object]:
    rounded = [np.round(v.astype(np.float64), 5).tolist() for v in (made.whole, *made.parts)]
    return {"seconds": made.seconds, "whole": rounded[0], "parts": rounded[1:]}


def _voiceprint(kept: Any) -> Voiceprint:
    whole, parts, seconds = kept["whole"], kept["parts"], kept["seconds"]
    return Voiceprint(
        np.array(whole, np.float32), tuple(np.array(part, np.float32) for part in parts), seconds
    )
