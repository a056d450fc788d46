"""Waveforms: read any recording as 24 kHz mono, in flat memory; write.

A waveform is a float32 numpy array of shape (samples,) in [-1, 1]. Reading raises AudioError with
the file's name and what to do about it.

    file ─▶ decode ─▶ 24 kHz, every channel ─▶ pass 1: look ─▶ which channels, what scale
     (libsndfile, else FFmpeg; soxr)         ─▶ pass 2: mix, scale ─▶ blocks of about a second

A plain mean of the channels halves speech that is on one of them and cancels speech that is on
both with opposite polarity, so the first pass compares them:

    left    right       compared        what is taken
    ▁▇▅▂█▁  ▁▇▅▂█▁      rho near  1     the mean
    ▁▇▅▂█▁  ▁▂▁▆▁▇      now one louder, the mean: two people, each on a channel
                        now the other
    ▁▇▅▂█▁  ▁▁▁▁▁▁      silent          left
    ▁▇▅▂█▁  ▅▅▅▅▅▅      steady: noise   left
    ▁▇▅▂█▁  ▁▇▅▂█▁      rho near -1     the louder: the mean would cancel
    ▁▇▅▂█▁  ▁▇▅▂█▁      rho near  0     the louder: the same speech from two distances, whose
                                        mean would sound like a comb

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

from orpheus_clone.errors import AudioError, MachineError, RecipeError
from orpheus_clone.tokens import SAMPLE_RATE

Waveform = NDArray[np.float32]
_Channels = NDArray[np.float32]
"""(samples, channels)."""

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
    held: list[_Channels] | None = []
    look = _Look()
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


class _Look:
    """What is gathered about the channels of a recording: a few bytes a second.

    Channels are compared by their first difference, which is deaf to DC and nearly so to hum.
    """

    FRAME = SAMPLE_RATE // 20
    UNHEARD_DB = 20.0
    """Speech this far below that of another channel is crosstalk."""
    PANNED_DB = 8.0
    """Of the same speech, what lies this far below adds more noise than speech."""
    CONTRAST_DB = 20.0
    """Speech stands this far above its pauses, or less in noise; more says nothing new."""
    ALIKE = 0.5
    TURNS_DB = 6.0
    """Two people speak in turns, and the levels of their channels differ by turns."""
    FLOOR_DB = -90.0

    def __init__(self) -> None:
        self.samples = 0
        self._peaks: Any = 0.0
        self._products: Any = 0.0
        self._levels: list[NDArray[np.float32]] = []
        self._rest: _Channels | None = None

    def add(self, block: _Channels) -> None:
        """The next samples."""
        self.samples += len(block)
        self._peaks = np.maximum(self._peaks, np.abs(block).max(axis=0, initial=0.0))
        if block.shape[1] == 1:  # nothing to choose from
            return
        joined = block if self._rest is None else np.concatenate([self._rest, block])
        frames = max(0, len(joined) - 1) // self.FRAME
        self._rest = joined[frames * self.FRAME :]
        edges = np.diff(joined[: frames * self.FRAME + 1], axis=0)
        self._products = self._products + edges.T.astype(np.float64) @ edges
        power = (edges.reshape(frames, self.FRAME, block.shape[1]) ** 2).mean(axis=1)
        self._levels.append(10 * np.log10(power + 10 ** (self.FLOOR_DB / 10)))

    def choice(self) -> tuple[list[int], np.float32]:
        """The channels to take the mean of, and the factor that keeps it within full scale."""
        chosen = self._chosen()
        # The mean lies within the mean of the peaks; of one channel this is exact.
        peak = float(np.mean(self._peaks[chosen]))
        return chosen, np.float32(1.0 if peak <= 1.0 else 1 / (peak * 1.0001))

    def _chosen(self) -> list[int]:
        channels = list(range(len(self._peaks)))
        if len(channels) == 1:
            return channels
        levels = np.concatenate(self._levels)
        if not len(levels):  # shorter than a frame
            return channels
        loud = np.percentile(levels, 95, axis=0)
        contrast = np.minimum(loud - np.percentile(levels, 10, axis=0), self.CONTRAST_DB)
        is_speech = contrast >= contrast.max() / 2
        is_heard = is_speech & (loud >= loud[is_speech].max() - self.UNHEARD_DB)
        chosen: list[int] = []
        for channel in sorted(channels, key=lambda c: -loud[c]):
            if is_heard[channel] and all(self._add_up(levels, channel, c) for c in chosen):
                chosen.append(channel)
        return sorted(chosen)

    def _add_up(self, levels: NDArray[np.float32], a: int, b: int) -> bool:
        """Whether the mean of two channels keeps what is said on both."""
        p = self._products
        rho = p[a, b] / np.sqrt(p[a, a] * p[b, b] + 1e-30)
        loud = np.percentile(levels, 95, axis=0)
        if rho > self.ALIKE:
            return bool(abs(loud[a] - loud[b]) < self.PANNED_DB)
        is_spoken = ((levels - loud)[:, [a, b]] > -self.CONTRAST_DB).any(axis=1)
        differences = levels[is_spoken, a] - levels[is_spoken, b]
        return bool(rho > -self.ALIKE and differences.std() > self.TURNS_DB)


def _checked(path: Path) -> Iterator[_Channels]:
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


def _resampled(path: Path) -> Iterator[_Channels]:
    """Every channel at 24 kHz, by soxr's high quality filter."""
    stream: Any = None
    last: _Channels | None = None
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
    decoded: Iterator[tuple[_Channels, int]],
) -> Iterator[tuple[_Channels, int]]:
    """The same in blocks of about a second; frames of FFmpeg have a thousand samples."""
    waiting: list[_Channels] = []
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


def _decoded(path: Path) -> Iterator[tuple[_Channels, int]]:
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


def _decoded_by_ffmpeg(path: Path) -> Iterator[tuple[_Channels, int]]:
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


def _samples(frame: Any) -> _Channels:
    """(samples, channels) of a decoded frame of any sample format."""
    raw: NDArray[Any] = frame.to_ndarray()
    shaped = raw.T if frame.format.is_planar else raw.reshape(frame.samples, -1)
    if shaped.dtype.kind == "f":
        return shaped.astype(np.float32)
    half = 2.0 ** (8 * shaped.dtype.itemsize - 1)
    middle = half if shaped.dtype.kind == "u" else 0.0
    return np.asarray((shaped.astype(np.float64) - middle) / half, np.float32)
