"""Which formats a client may ask for, under OpenAI's names and under ElevenLabs'.

    OpenAI        mp3 (default)  opus  aac  flac  wav  pcm         at 24 kHz
    ElevenLabs    codec_rate_kbps: mp3_44100_128 (default)  mp3_22050_32  pcm_24000
                  ulaw_8000  opus_48000_64  wav_16000 …

Opus comes in Ogg, AAC in ADTS; every format can be played while it comes.
"""

from dataclasses import dataclass
from typing import Any, Literal

from orpheus_clone.errors import DataError
from orpheus_clone.tokens import SAMPLE_RATE

Codec = Literal["mp3", "opus", "aac", "flac", "wav", "pcm", "ulaw", "alaw"]

_MEDIA_TYPES: dict[Codec, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "ulaw": "audio/basic",
    "alaw": "audio/x-alaw-basic",
}


@dataclass(frozen=True)
class Format:
    """How sound is sent: mono, `rate` samples a second, `kbps` where the codec has a bit rate."""

    codec: Codec
    rate: int = SAMPLE_RATE
    kbps: int | None = None

    @property
    def media_type(self) -> str:
        """The answer's content type."""
        return _MEDIA_TYPES[self.codec]


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Sound as it comes.",
        "content": {name: {} for name in (*_MEDIA_TYPES.values(), "text/event-stream")},
    }
}
"""What the OpenAPI description says of an answer with sound."""

OpenAIFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

_OPENAI: dict[OpenAIFormat, Format] = {
    "mp3": Format("mp3", kbps=128),
    "opus": Format("opus", kbps=64),
    "aac": Format("aac", kbps=96),
    "flac": Format("flac"),
    "wav": Format("wav"),
    "pcm": Format("pcm"),
}

_RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
_ELEVENLABS: dict[str, Format] = {
    **{f"pcm_{rate}": Format("pcm", rate) for rate in _RATES},
    **{f"wav_{rate}": Format("wav", rate) for rate in _RATES},
    **{f"mp3_44100_{kbps}": Format("mp3", 44100, kbps) for kbps in (32, 64, 96, 128, 192)},
    **{f"opus_48000_{kbps}": Format("opus", 48000, kbps) for kbps in (32, 64, 96, 128, 192)},
    "mp3_22050_32": Format("mp3", 22050, 32),
    "mp3_24000_48": Format("mp3", 24000, 48),
    "ulaw_8000": Format("ulaw", 8000),
    "alaw_8000": Format("alaw", 8000),
}
ELEVENLABS_DEFAULT = "mp3_44100_128"


def openai(name: OpenAIFormat) -> Format:
    """The format of a `response_format`."""
    return _OPENAI[name]


def elevenlabs(name: str) -> Format:
    """The format of an `output_format`; DataError for one that there is not."""
    if name not in _ELEVENLABS:
        raise DataError(f"output_format: {name!r} is none of {', '.join(_ELEVENLABS)}")
    return _ELEVENLABS[name]
