"""The probability that somebody speaks, every 32 ms of a recording: Silero VAD.

The model is the one that faster-whisper carries (Silero v6, ONNX, MIT), so that it needs no
download and no package of its own; PyPI's `silero-vad` requires torchaudio. It is run here without
faster-whisper's wrapper, which wants a whole recording in memory.

    24 kHz copy ─▶ blocks of 20 s ─▶ 16 kHz (soxr) ─▶ hops of 512 samples ─▶ ONNX ─▶ (hops,)

State, context and resampler go on from block to block, so their borders make no difference.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from orpheus_clone.audio import Waveform
from orpheus_clone.errors import MachineError
from orpheus_clone.tokens import SAMPLE_RATE

RATE = 16_000
HOP = 512
BLOCK_S = 20.0
_CONTEXT = 64
_STATE = (1, 1, 128)

Probabilities = NDArray[np.float32]


def speech(copy: Path, block_s: float = BLOCK_S) -> Probabilities:
    """(hops,) probabilities of speech in a 24 kHz working copy, in flat memory.

    Hop i says what the model thinks having heard up to (i + 1) * 32 ms; the last is padded.
    """
    session = _session()
    state, context = (np.zeros(_STATE, np.float32),) * 2, np.zeros(_CONTEXT, np.float32)
    found = [np.zeros(0, np.float32)]
    for hops in _hops(copy, block_s):
        before = np.concatenate([context[None], hops[:-1, -_CONTEXT:]])
        context = hops[-1, -_CONTEXT:]
        inputs = {"input": np.concatenate([before, hops], axis=1), "h": state[0], "c": state[1]}
        probabilities, *after = session.run(None, inputs)
        state = (after[0], after[1])
        found.append(probabilities.reshape(-1))
    return np.concatenate(found)


def _hops(copy: Path, block_s: float) -> Iterator[Waveform]:
    """Blocks of shape (hops, 512) at 16 kHz."""
    import soxr

    stream = soxr.ResampleStream(SAMPLE_RATE, RATE, 1, dtype="float32", quality="HQ")
    waiting = np.zeros(0, np.float32)
    with soundfile.SoundFile(copy) as file:
        left = file.frames
        while left > 0:
            block = file.read(round(block_s * SAMPLE_RATE), dtype="float32")
            left -= len(block)
            heard = stream.resample_chunk(block, last=left <= 0)
            waiting = np.concatenate([waiting, heard])
            if left <= 0:
                waiting = np.pad(waiting, (0, -len(waiting) % HOP))
            whole = len(waiting) // HOP * HOP
            if whole:
                yield waiting[:whole].reshape(-1, HOP)
            waiting = waiting[whole:]


@cache
def _session() -> Any:
    try:
        from faster_whisper.vad import get_vad_model
    except ImportError as missing:
        raise MachineError(
            "finding speech needs the VAD of faster-whisper: pip install 'orpheus-clone[train]'"
        ) from missing
    session = cast(Any, get_vad_model()).session
    if [put.name for put in session.get_inputs()] != ["input", "h", "c"]:
        raise MachineError(
            "this faster-whisper carries another VAD than Silero v6; install faster-whisper 1.2.1"
        )
    return session
