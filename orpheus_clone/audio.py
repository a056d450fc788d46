"""Waveforms: read any format, mono, 24 kHz, write.

A waveform is a float32 numpy array of shape (samples,) in [-1, 1]. Reading raises AudioError with
the file's name and what to do about it.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from orpheus_clone.errors import AudioError, RecipeError
from orpheus_clone.tokens import SAMPLE_RATE

Waveform = NDArray[np.float32]

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".mp4", ".webm"})
SUFFIXES |= {".mka", ".mkv", ".mov", ".aiff", ".aif", ".caf", ".g722", ".wma"}
"""What is taken for a recording when a folder is given."""

_FORMAT_OF_SUFFIX = {".g722": "g722"}
"""Raw streams that no demuxer can guess."""

WRITTEN = (".wav", ".flac")
"""Suffixes of the files that `write` makes."""


def read(path: Path) -> Waveform:
    """A recording as mono 24 kHz, shape (samples,).

    libsndfile reads what it knows, FFmpeg (PyAV) the rest. Peaks that resampling pushes over full
    scale are scaled back as a whole, so that nothing clips later.
    """
    if not path.is_file():
        raise AudioError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty")
    channels, rate = _read_any(path)
    if not channels.size:
        raise AudioError(f"{path}: holds no audio samples")
    if not np.isfinite(channels).all():
        raise AudioError(f"{path}: holds samples that are not numbers; export the recording again")
    mono = channels.mean(axis=1)
    return _within_full_scale(resample(mono, rate))


def resample(mono: Waveform, rate: int) -> Waveform:
    """`mono` at `rate` Hz as 24 kHz, by soxr's high quality filter."""
    if rate == SAMPLE_RATE:
        return mono.astype(np.float32)
    import librosa

    resampled = librosa.resample(mono, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")
    return np.asarray(resampled, dtype=np.float32)


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


def _read_any(path: Path) -> tuple[Waveform, int]:
    """(samples, channels) and the rate."""
    try:
        data, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a headerless .raw
        return _read_with_ffmpeg(path)
    return data, int(rate)


def _read_with_ffmpeg(path: Path) -> tuple[Waveform, int]:
    try:
        import av
    except ImportError as missing:
        raise AudioError(
            f"{path}: libsndfile cannot read this format; pip install 'orpheus-clone[train]' "
            "brings FFmpeg (PyAV), which may"
        ) from missing
    try:
        with av.open(str(path), format=_FORMAT_OF_SUFFIX.get(path.suffix.lower())) as container:
            if not container.streams.audio:
                raise AudioError(f"{path}: has no audio track")
            rate = container.streams.audio[0].rate
            resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
            blocks: list[Any] = []
            for frame in container.decode(audio=0):
                blocks.extend(f.to_ndarray().reshape(-1) for f in resampler.resample(frame))
            blocks.extend(f.to_ndarray().reshape(-1) for f in resampler.resample(None))
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        raise AudioError(
            f"{path}: is not audio that libsndfile or FFmpeg can read "
            f"({getattr(error, 'strerror', None) or error})"
        ) from error
    mono = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    return mono.astype(np.float32).reshape(-1, 1), int(rate)


def _within_full_scale(samples: Waveform) -> Waveform:
    peak = float(np.abs(samples).max(initial=0.0))
    return samples if peak <= 1.0 else samples / np.float32(peak * 1.0001)
