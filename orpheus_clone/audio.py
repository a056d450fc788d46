"""Waveforms: read any recording as 24 kHz mono, in flat memory; write.

A waveform is a float32 numpy array of shape (samples,) in [-1, 1]. Reading raises AudioError with
the file's name and what to do about it.

    file ─▶ decode ─▶ 24 kHz, every channel ─▶ pass 1: look ─▶ which channels, what scale
     (libsndfile, else FFmpeg; soxr)         ─▶ pass 2: mix, scale ─▶ blocks of about a second

Which channels carry the speech is decided in channels.py.

A file that announces more sound than it holds, or that is damaged, is refused: what is missing may
be half of it.
Formats that announce nothing (Ogg, a WAV from a pipe) are read as far as they go. Of several
audio tracks the one that FFmpeg holds for the main one is read.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from orpheus_clone.channels import Channels, Look
from orpheus_clone.errors import AudioError, MachineError, RecipeError
from orpheus_clone.tokens import SAMPLE_RATE

Waveform = NDArray[np.float32]

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".spx", ".mp3", ".mp2", ".m4a"})
SUFFIXES |= {".m4b", ".aac", ".aiff", ".aif", ".aifc", ".caf", ".w64", ".au", ".voc", ".wma", ".wv"}
SUFFIXES |= {".ape", ".tta", ".ac3", ".amr", ".awb", ".gsm", ".g722", ".mka", ".weba"}
SUFFIXES |= {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".3gp", ".3g2", ".mpg", ".mpeg"}
SUFFIXES |= {".ts", ".mts", ".m2ts", ".vob", ".flv", ".asf", ".wmv", ".ogv"}
"""What is taken for a recording when a folder is given."""

_FORMAT_OF_SUFFIX = {".g722": "g722"}
"""Raw streams that no demuxer can guess."""

_HONEST_DEMUXERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "flac", "wav", "aiff"})
"""Their duration is written down; that of others may be guessed from the bit rate."""

WRITTEN = (".wav", ".flac")
"""Suffixes of the files that `write` makes."""

_BLOCK_S = 1.0
_HELD_SAMPLES = 60 * SAMPLE_RATE
"""What is shorter (over all channels) is decoded once and held between the passes."""
_MISSING_S = 0.5
"""More than the delay and padding that encoders add."""
_FROM_A_PIPE = 0x7FFF_0000
"""A WAV that says it holds this many bytes or more was written without knowing its length."""
_CUT_SHORT = "(was the copy or the recording broken off?); copy or export it again"


def read(path: Path) -> Waveform:
    """A recording as mono 24 kHz, shape (samples,): all `blocks` of it."""
    return np.concatenate(list(blocks(path)))


def blocks(path: Path) -> Iterator[Waveform]:
    """A recording as mono 24 kHz, piece by piece, whatever its length, in flat memory.

    Where peaks would lie beyond full scale the whole is scaled by one factor, so that nothing
    clips later. What is wrong with the file is raised before its first block.
    """
    held: list[Channels] | None = []
    look = Look()
    for block in _checked(path):
        look.add(block)
        if held is not None:
            held.append(block)
            held = held if look.samples * block.shape[1] <= _HELD_SAMPLES else None
    if not look.samples:
        raise AudioError(f"{path}: holds no audio samples")
    chosen, scale = look.choice()
    for block in _resampled(path) if held is None else held:
        yield block[:, chosen].mean(axis=1, dtype=np.float32) * scale


def pcm16(samples: Waveform) -> bytes:
    """Little-endian signed 16-bit PCM; samples outside [-1, 1] are an error, never clipped."""
    if not np.isfinite(samples).all():
        raise AudioError("samples that are not numbers cannot be written")
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > 1.0:
        raise AudioError(f"samples reach {peak:.3f}, beyond full scale; lower the gain")
    return (samples * 32767.0).round().astype("<i2").tobytes()


def checked_output(path: Path) -> Path:
    """`path` if `write` knows its suffix; RecipeError otherwise, before any work is done."""
    if path.suffix.lower() not in WRITTEN:
        raise RecipeError(f"{path}: write to one of {', '.join('*' + s for s in WRITTEN)}")
    return path


def write(path: Path, samples: Waveform) -> None:
    """A 16-bit mono 24 kHz file; the suffix, one of `WRITTEN`, says which format."""
    ints = np.frombuffer(pcm16(samples), dtype="<i2")
    encoded = io.BytesIO()  # libsndfile does not say that a disk is full; Python does
    soundfile.write(encoded, ints, SAMPLE_RATE, subtype="PCM_16", format=path.suffix[1:].upper())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.getbuffer())


def _checked(path: Path) -> Iterator[Channels]:
    if not path.is_file():
        raise AudioError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty")
    for block in _resampled(path):
        if not np.isfinite(block).all():
            raise AudioError(
                f"{path}: holds samples that are not numbers; export the recording again"
            )
        yield block


def _resampled(path: Path) -> Iterator[Channels]:
    """Every channel at 24 kHz, by soxr's high quality filter."""
    stream: Any = None
    last: Channels | None = None
    for block, rate in _gathered(_decoded(path)):
        if rate == SAMPLE_RATE:
            yield block
            continue
        stream = stream or _soxr().ResampleStream(
            rate, SAMPLE_RATE, block.shape[1], dtype="float32", quality="HQ"
        )
        if last is not None:
            yield stream.resample_chunk(last)
        last = block
    if last is not None:
        yield stream.resample_chunk(last, last=True)


def _gathered(
    decoded: Iterator[tuple[Channels, int]],
) -> Iterator[tuple[Channels, int]]:
    """The same in blocks of about a second; frames of FFmpeg have a thousand samples."""
    waiting: list[Channels] = []
    rate = 0
    for block, rate in decoded:
        waiting.append(block)
        if sum(map(len, waiting)) >= rate * _BLOCK_S:
            yield np.concatenate(waiting), rate
            waiting = []
    if waiting:
        yield np.concatenate(waiting), rate


def _soxr() -> Any:
    try:
        import soxr
    except ImportError as missing:
        raise MachineError(
            "recordings that are not at 24 kHz need soxr: pip install 'orpheus-clone[train]'"
        ) from missing
    return soxr


def _decoded(path: Path) -> Iterator[tuple[Channels, int]]:
    """(samples, channels) and the rate, which does not change."""
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a headerless .raw
        yield from _decoded_by_ffmpeg(path)
        return
    with file:
        _check_chunk(path, file)
        rate, announced, done = int(file.samplerate), int(file.frames), 0
        try:
            # Not file.blocks(), which repeats its last block where a file ends early.
            while len(block := file.read(round(rate * _BLOCK_S), "float32", always_2d=True)):
                done += len(block)
                yield block, rate
        except soundfile.LibsndfileError as error:
            raise AudioError(_damaged(path, done / rate, error)) from error
    _check_whole(path, announced / rate, done / rate)


def _check_chunk(path: Path, file: soundfile.SoundFile) -> None:
    """libsndfile reads what there is of a broken-off WAV or AIFF, and tells only its log."""
    short = re.search(r"^\s*(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", file.extra_info, re.M)
    if short and int(short[1]) < _FROM_A_PIPE:
        holds_s = file.frames / file.samplerate
        _check_whole(path, holds_s * int(short[1]) / max(1, int(short[2])), holds_s)


def _check_whole(path: Path, announced_s: float, holds_s: float) -> None:
    if holds_s < announced_s - _MISSING_S:
        raise AudioError(
            f"{path}: announces {announced_s:.1f} s of sound and holds {holds_s:.1f} s {_CUT_SHORT}"
        )


def _damaged(path: Path, at_s: float, reason: object) -> str:
    return f"{path}: is damaged at {at_s:.1f} s ({reason}) {_CUT_SHORT}"


def _decoded_by_ffmpeg(path: Path) -> Iterator[tuple[Channels, int]]:
    try:
        import av
    except ImportError as missing:
        raise AudioError(
            f"{path}: libsndfile cannot read this format; pip install 'orpheus-clone[train]' "
            "brings FFmpeg (PyAV), which may"
        ) from missing
    done_s, known = 0.0, None
    with contextlib.ExitStack() as stack:
        try:
            container = stack.enter_context(_opened(path, av))
            stream = container.streams.best("audio")
            if stream is None:
                raise AudioError(f"{path}: has no audio track")
            for frame in container.decode(stream):
                shape = (frame.sample_rate, len(frame.layout.channels))
                known = known or shape
                if shape != known:
                    raise AudioError(
                        f"{path}: changes at {done_s:.1f} s from {known[1]} channels at "
                        f"{known[0]} Hz to {shape[1]} at {shape[0]}; export it at one rate"
                    )
                done_s += frame.samples / shape[0]
                yield _samples(frame), shape[0]
        except (av.error.FFmpegError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AudioError(
                _damaged(path, done_s, reason)
                if done_s
                else f"{path}: is not audio that libsndfile or FFmpeg can read ({reason})"
            ) from error
        if container.format.name in _HONEST_DEMUXERS and stream.duration:
            _check_whole(path, float(stream.duration * stream.time_base), done_s)


def _opened(path: Path, av: Any) -> Any:
    # A playlist or a name with a colon must not make FFmpeg fetch anything.
    return av.open(
        f"file:{path}",
        format=_FORMAT_OF_SUFFIX.get(path.suffix.lower()),
        options={"protocol_whitelist": "file"},
    )


def _samples(frame: Any) -> Channels:
    """(samples, channels) of a decoded frame of any sample format."""
    raw: NDArray[Any] = frame.to_ndarray()
    shaped = raw.T if frame.format.is_planar else raw.reshape(frame.samples, -1)
    if shaped.dtype.kind == "f":
        return shaped.astype(np.float32)
    half = 2.0 ** (8 * shaped.dtype.itemsize - 1)
    middle = half if shaped.dtype.kind == "u" else 0.0
    return np.asarray((shaped.astype(np.float64) - middle) / half, np.float32)
