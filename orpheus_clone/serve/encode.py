"""Samples as they come to the bytes of a format.

    samples at 24 kHz ─▶ tempo ─▶ rate (soxr) ─▶ codec ─▶ bytes, all but a few ms of what came

pcm, wav, ulaw and alaw have nothing to wait for; mp3, opus, aac and flac are FFmpeg's (PyAV), each
packet written as soon as it is made. Joined, the pieces are one file that any player plays.
"""

import asyncio
import io
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol

import av
import numpy as np
import soxr

from orpheus_clone import audio
from orpheus_clone.audio import Waveform
from orpheus_clone.serve.formats import Codec, Format
from orpheus_clone.serve.tempo import Tempo
from orpheus_clone.tokens import SAMPLE_RATE

_UNKNOWN_LENGTH = 0xFFFF_FFFF


class Encoder:
    """One stream; not for two at once."""

    def __init__(self, form: Format, speed: float = 1.0) -> None:
        """`speed` is 1 for speech as it was said; see `tempo`."""
        self._tempo = None if speed == 1.0 else Tempo(speed)
        self._resampler: Any = None
        if form.rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(SAMPLE_RATE, form.rate, 1, dtype="float32")
        self._writer: _Writer = _Packets(form) if form.codec in _PACKED else _Plain(form)
        # A thread takes longer to be asked than samples to be written one by one.
        self._is_quick = form.codec not in _PACKED and form.rate == SAMPLE_RATE and speed == 1.0

    async def push(self, samples: Waveform) -> bytes:
        """Bytes that are ready once these came, shape (n,); often none."""
        if not len(samples):
            return b""
        if self._is_quick:
            return self._encoded(samples, False)
        return await asyncio.to_thread(self._encoded, samples, False)

    async def finish(self) -> bytes:
        """The rest; nothing is pushed after it."""
        nothing = np.zeros(0, np.float32)
        if self._is_quick:
            return self._encoded(nothing, True)
        return await asyncio.to_thread(self._encoded, nothing, True)

    def _encoded(self, samples: Waveform, is_last: bool) -> bytes:
        if self._tempo is not None:
            samples = self._tempo.push(samples)
            if is_last:
                samples = np.concatenate([samples, self._tempo.finish()])
        if self._resampler is not None:
            # A filter rings where speech is at full scale.
            samples = np.clip(self._resampler.resample_chunk(samples, last=is_last), -1.0, 1.0)
        return self._writer.write(samples) + (self._writer.close() if is_last else b"")


class _Writer(Protocol):
    def write(self, samples: Waveform) -> bytes: ...

    def close(self) -> bytes: ...


class _Plain:
    """Formats of samples that are written one by one."""

    def __init__(self, form: Format) -> None:
        self._head = wav_header(form.rate) if form.codec == "wav" else b""
        self._bytes_of = _SAMPLES.get(form.codec, audio.pcm16)

    def write(self, samples: Waveform) -> bytes:
        head, self._head = self._head, b""
        return head + self._bytes_of(samples)

    def close(self) -> bytes:
        return b""


_PACKED: dict[Codec, tuple[str, str, dict[str, str]]] = {
    # No frame with the length in front, which is not known, and no tag: the first byte is sound.
    "mp3": ("mp3", "libmp3lame", {"write_xing": "0", "id3v2_version": "0"}),
    # Pages of 20 ms instead of a second.
    "opus": ("ogg", "libopus", {"page_duration": "20000"}),
    "aac": ("adts", "aac", {}),
    "flac": ("flac", "flac", {}),
}
"""Container, encoder and options of the container."""


class _Packets:
    """A codec and its container, written into memory."""

    def __init__(self, form: Format) -> None:
        container, codec, options = _PACKED[form.codec]
        self._rate = form.rate
        self._file = _Unread()
        self._container = av.open(
            self._file, "w", format=container, options={**options, "flush_packets": "1"}
        )
        stream: Any = self._container.add_stream(codec, rate=form.rate, layout="mono")
        if form.kbps is not None:
            stream.bit_rate = form.kbps * 1000
        self._stream = stream
        self._written = 0

    def write(self, samples: Waveform) -> bytes:
        if len(samples):
            frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
            frame.sample_rate = self._rate
            frame.pts, frame.time_base = self._written, Fraction(1, self._rate)
            self._written += len(samples)
            self._container.mux(self._stream.encode(frame))
        return self._file.taken()

    def close(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._file.taken()


class _Unread(io.RawIOBase):
    """A file that is written at one end and taken at the other; it cannot be sought in."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def taken(self) -> bytes:
        held, self._held = bytes(self._held), bytearray()
        return held


def wav_header(rate: int) -> bytes:
    """RIFF header of a 16-bit mono stream whose length is not known yet."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        _UNKNOWN_LENGTH,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        rate,
        rate * 2,
        2,
        16,
        b"data",
        _UNKNOWN_LENGTH,
    )


def ulaw(samples: Waveform) -> bytes:
    """G.711 µ-law: a sign, three bits of exponent, four of mantissa, all inverted."""
    pcm = np.frombuffer(audio.pcm16(samples), "<i2").astype(np.int32)
    size = np.minimum(np.abs(pcm), 32635) + 132
    exponent = np.floor(np.log2(size)).astype(np.int32) - 7
    mantissa = (size >> (exponent + 3)) & 0x0F
    code = np.where(pcm < 0, 0x80, 0) | (exponent << 4) | mantissa
    return bytes((~code & 0xFF).astype(np.uint8))


def alaw(samples: Waveform) -> bytes:
    """G.711 A-law: a sign, three bits of exponent, four of mantissa, every second inverted."""
    pcm = np.frombuffer(audio.pcm16(samples), "<i2").astype(np.int32) >> 3
    size = np.where(pcm < 0, -pcm - 1, pcm)
    exponent = np.maximum(np.floor(np.log2(np.maximum(size, 1))).astype(np.int32) - 4, 0)
    mantissa = (size >> np.maximum(exponent, 1)) & 0x0F
    code = np.where(pcm < 0, 0, 0x80) | (exponent << 4) | mantissa
    return bytes((code ^ 0x55).astype(np.uint8))


_SAMPLES: dict[Codec, Callable[[Waveform], bytes]] = {"ulaw": ulaw, "alaw": alaw}
