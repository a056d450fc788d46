"""Samples to formats, by hand and against FFmpeg's decoders."""

import io
from collections.abc import Callable
from typing import Any, get_args

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from orpheus_clone.audio import Waveform
from orpheus_clone.errors import DataError
from orpheus_clone.serve import formats
from orpheus_clone.serve.encode import Encoder, alaw, ulaw, wav_header
from orpheus_clone.serve.formats import Format, OpenAIFormat

RATE = 24_000
EVERY = {f"openai {name}": formats.openai(name) for name in get_args(OpenAIFormat)} | {
    name: formats.elevenlabs(name)
    for name in ("mp3_22050_32", "mp3_44100_192", "opus_48000_96", "wav_48000", "pcm_8000")
}
HZ = 220.0


def tone(seconds: float) -> Waveform:
    at = np.arange(round(seconds * RATE)) / RATE
    return (0.9 * np.sin(2 * np.pi * HZ * at)).astype(np.float32)


async def encoded(samples: Waveform, form: Format, speed: float = 1.0) -> list[bytes]:
    """What each piece of 2048 samples brings, and the end."""
    encoder = Encoder(form, speed)
    pieces = [await encoder.push(samples[at : at + 2048]) for at in range(0, len(samples), 2048)]
    return [*pieces, await encoder.finish()]


def decoded(data: bytes, form: Format) -> tuple[Waveform, int]:
    if form.codec == "pcm":
        return (np.frombuffer(data, "<i2") / 32767).astype(np.float32), form.rate
    with av.open(io.BytesIO(data), "r") as file:
        stream = file.streams.audio[0]
        frames = [frame.to_ndarray().reshape(-1) for frame in file.decode(stream)]
        samples: Any = np.concatenate(frames)
        scale = 32767 if samples.dtype == np.int16 else 1
        return (samples / scale).astype(np.float32), stream.rate


def pitch(samples: Waveform, rate: int) -> float:
    middle = samples[len(samples) // 4 : 3 * len(samples) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return float(spectrum.argmax() * rate / len(middle))


@pytest.mark.parametrize("name", EVERY)
async def test_a_stream_is_one_file_with_the_sound_that_went_in(name: str) -> None:
    form = EVERY[name]
    samples, rate = decoded(b"".join(await encoded(tone(2), form)), form)
    assert rate == (48_000 if form.codec == "opus" else form.rate)
    assert len(samples) / rate == pytest.approx(2, abs=0.09)
    assert pitch(samples, rate) == pytest.approx(HZ, abs=1)
    assert np.abs(samples).max() == pytest.approx(0.9, abs=0.06)


@pytest.mark.parametrize("name", EVERY)
async def test_sound_comes_with_the_first_pieces_and_with_all_that_follow(name: str) -> None:
    pieces = await encoded(tone(2), EVERY[name])
    assert any(pieces[:2]), "nothing is heard for 0.2 s"
    following = [bool(a or b or c) for a, b, c in zip(pieces, pieces[1:], pieces[2:], strict=False)]
    assert all(following), "sound is held back for a quarter of a second"


@pytest.mark.parametrize("speed", [0.25, 0.7, 1.5, 4.0])
async def test_speed_changes_how_long_it_takes_and_not_the_pitch(speed: float) -> None:
    form = Format("pcm")
    samples, rate = decoded(b"".join(await encoded(tone(4), form, speed)), form)
    assert len(samples) / rate == pytest.approx(4 / speed, rel=0.02)
    assert pitch(samples, rate) == pytest.approx(HZ, abs=2)


@pytest.mark.parametrize("speed", [0.25, 1.5])
async def test_changed_speed_still_comes_as_it_is_made(speed: float) -> None:
    pieces = await encoded(tone(4), Format("pcm"), speed)
    assert any(pieces[:3])
    heard_early = len(b"".join(pieces[: len(pieces) // 2]))
    assert heard_early > 0.4 * len(b"".join(pieces))


@pytest.mark.parametrize(
    "form", [Format("pcm", 48_000), Format("mp3", kbps=128), Format("ulaw", 8000)]
)
async def test_full_scale_stays_within_it(form: Format) -> None:
    square = np.sign(tone(0.5)).astype(np.float32)
    assert b"".join(await encoded(square, form))


async def test_nothing_pushed_is_an_empty_file() -> None:
    assert await Encoder(Format("wav")).finish() == wav_header(RATE)
    assert await Encoder(Format("pcm")).finish() == b""


@pytest.mark.parametrize(("law", "codec"), [(ulaw, "pcm_mulaw"), (alaw, "pcm_alaw")])
def test_a_law_takes_the_level_that_is_nearest_but_at_the_borders_of_segments(
    law: Callable[[Waveform], bytes], codec: str
) -> None:
    pcm = np.arange(-32767, 32768)
    levels = np.unique(read_by_ffmpeg(bytes(range(256)), codec))
    taken = read_by_ffmpeg(law((pcm / 32767).astype(np.float32)), codec)
    off = np.abs(taken - pcm) - np.abs(pcm[:, None] - levels).min(axis=1)
    assert (off == 0).mean() > 0.99
    assert off.max() <= 256


def read_by_ffmpeg(codes: bytes, codec: str) -> NDArray[np.int64]:
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = 8000, av.AudioLayout("mono")
    frames = decoder.decode(av.Packet(codes))
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.int64)


def test_known_codes_of_mu_law() -> None:
    """ITU-T G.711: silence is 0xFF, the loudest are 0x80 and 0x00."""
    assert ulaw(np.array([0.0, 1.0, -1.0], np.float32)) == b"\xff\x80\x00"


def test_known_codes_of_a_law() -> None:
    """ITU-T G.711: silence is 0xD5, the loudest are 0xAA and 0x2A."""
    assert alaw(np.array([0.0, 1.0, -1.0], np.float32)) == b"\xd5\xaa\x2a"


def test_a_format_that_there_is_not_is_told_with_those_that_there_are() -> None:
    with pytest.raises(DataError, match=r"'mp3_1_1' is none of .*ulaw_8000"):
        formats.elevenlabs("mp3_1_1")
