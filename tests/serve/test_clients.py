"""The clients that people have, unchanged, each to sound from a real node.

OpenAI's is in test_speech.py. Pipecat does not go beside our lock: it runs in an environment of its
own, as the bot of recipes/pipecat-agent.
"""

import contextlib
import importlib.util
import io
import json
import re
import subprocess
import sys
import wave
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import aiohttp
import av
import httpx
import numpy as np
import pytest
from elevenlabs import VoiceSettings
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError
from livekit.agents import Agent, APIStatusError, tts
from livekit.agents.voice.io import AudioOutput, AudioOutputCapabilities
from livekit.plugins import elevenlabs

from tests import clients
from tests.bundles import SHORT_FRAMES, frames_of
from tests.nodes import RunningNode
from tests.servers import listening
from tests.tls import terminated

RECIPES = Path(__file__).parents[2] / "recipes"
FRAME_S = 2048 / 24_000
TEXT = "Hello there. How are you today? I am fine."


def seconds_of(sound: bytes) -> float:
    with av.open(io.BytesIO(sound), "r") as file:
        stream = file.streams.audio[0]
        return sum(int(frame.samples) for frame in file.decode(stream)) / stream.rate


def test_elevenlabs_client_converts_and_streams(node: RunningNode, jack: str) -> None:
    with httpx.Client(timeout=60) as http:
        check_requests(ElevenLabs(base_url=node.url, api_key="none", httpx_client=http), jack)


def check_requests(client: ElevenLabs, jack: str) -> None:
    assert jack in [voice.voice_id for voice in client.voices.get_all().voices]
    mp3 = b"".join(client.text_to_speech.convert(jack, text="Hello."))
    assert seconds_of(mp3) == pytest.approx(SHORT_FRAMES * FRAME_S, abs=0.11)
    pcm = b"".join(client.text_to_speech.stream(jack, text="Hello.", output_format="pcm_24000"))
    assert frames_of(pcm) == SHORT_FRAMES
    fast = client.text_to_speech.convert(
        jack, text="Hello.", output_format="pcm_24000", voice_settings=VoiceSettings(speed=2.0)
    )
    assert len(b"".join(fast)) == pytest.approx(len(pcm) / 2, rel=0.3)
    with pytest.raises(ApiError, match="no voice 'nobody'") as caught:
        b"".join(client.text_to_speech.convert("nobody", text="Hello."))
    assert caught.value.status_code == 404


# How elevenlabs 2.78 asks for the code of a socket that was closed.
@pytest.mark.filterwarnings("ignore:ConnectionClosed.code is deprecated:DeprecationWarning")
def test_elevenlabs_client_speaks_text_as_it_comes(
    node: RunningNode, jack: str, tmp_path: Path
) -> None:
    check_realtime(node, jack, tmp_path)


def check_realtime(node: RunningNode, jack: str, tmp_path: Path) -> None:
    def words() -> Iterator[str]:
        yield from TEXT.split(" ")

    certificate = tmp_path / "certificate.pem"
    with terminated(node.url, certificate) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificate))
        client = ElevenLabs(base_url=url, api_key="none")
        spoken = client.text_to_speech.convert_realtime(
            jack, text=words(), output_format="pcm_24000", voice_settings=VoiceSettings()
        )
        pcm = b"".join(spoken)
    assert frames_of(pcm) >= SHORT_FRAMES
    assert np.abs(np.frombuffer(pcm, "<i2")).max() > 0


@pytest.mark.parametrize("encoding", ["mp3_22050_32", "pcm_24000", "opus_48000_32"])
async def test_livekits_plugin_speaks_text_as_it_comes(
    node: RunningNode, jack: str, encoding: str
) -> None:
    await check_livekit(node, jack, encoding)


async def check_livekit(node: RunningNode, jack: str, encoding: str) -> None:
    async with aiohttp.ClientSession() as http:
        speech = elevenlabs.TTS(
            voice_id=jack,
            base_url=f"{node.url}/v1",
            api_key="none",
            encoding=encoding,
            http_session=http,
        )
        async with speech, speech.stream() as stream:
            for piece in (TEXT[:7], TEXT[7:20], TEXT[20:]):
                stream.push_text(piece)
            stream.end_input()
            heard = [audio.frame async for audio in stream]
            assert sum(frame.duration for frame in heard) >= SHORT_FRAMES * FRAME_S - 0.1
            words = [w for frame in heard for w in frame.userdata.get("lk.timed_transcripts", [])]
            assert "".join(words).split() == TEXT.split()
            starts = [word.start_time for word in words]
            assert starts == sorted(starts)
            assert starts[-1] > starts[0]
            whole = [audio.frame.duration async for audio in speech.synthesize("Hello.")]
            assert sum(whole) == pytest.approx(SHORT_FRAMES * FRAME_S, abs=0.11)


async def test_livekits_plugin_hears_of_a_voice_that_is_not_there(node: RunningNode) -> None:
    async with aiohttp.ClientSession() as http:
        speech = elevenlabs.TTS(
            voice_id="nobody", base_url=f"{node.url}/v1", api_key="none", http_session=http
        )
        options = tts.tts.DEFAULT_API_CONNECT_OPTIONS.__class__(max_retry=0)
        async with speech, speech.stream(conn_options=options) as stream:
            stream.push_text(TEXT)
            stream.end_input()
            with pytest.raises(APIStatusError) as caught:
                _ = [audio async for audio in stream]
    assert caught.value.status_code == 404


def test_the_livekit_recipe_reads_lines(node: RunningNode, jack: str, tmp_path: Path) -> None:
    agent = RECIPES / "livekit-agent" / "agent.py"
    assert spoken_by(Path(sys.executable), agent, node, jack, tmp_path) == TEXT.split()


async def test_the_livekit_agent_speaks_what_its_llm_writes(
    node: RunningNode, jack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.spec_from_file_location("agent", RECIPES / "livekit-agent" / "agent.py")
    assert found is not None
    assert found.loader is not None
    agent = importlib.util.module_from_spec(found)
    found.loader.exec_module(agent)
    for name in ("STT_URL", "STT_MODEL", "LLM_MODEL", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1" if name == "STT_URL" else "none")
    with writing(TEXT) as llm:
        monkeypatch.setenv("LLM_URL", llm)
        async with aiohttp.ClientSession() as http:
            session = agent.conversation(agent.speech(node.url, jack, http))
            loudspeaker = session.output.audio = Loudspeaker()
            await session.start(Agent(instructions=agent.INSTRUCTIONS))
            await session.generate_reply(user_input="Hello?").wait_for_playout()
            said = [item.text_content for item in session.history.items if item.type == "message"]
            await session.aclose()
    assert said == ["Hello?", TEXT]
    assert loudspeaker.seconds >= SHORT_FRAMES * FRAME_S - 0.1


class Loudspeaker(AudioOutput):  # type: ignore[misc]  # livekit is skipped by mypy
    """Plays everything at once."""

    def __init__(self) -> None:
        able = AudioOutputCapabilities(pause=False)
        super().__init__(label="loudspeaker", capabilities=able, sample_rate=24_000)
        self.seconds = 0.0

    async def capture_frame(self, frame: Any) -> None:
        await super().capture_frame(frame)
        self.seconds += frame.duration

    def flush(self) -> None:
        super().flush()
        self.on_playback_finished(playback_position=self.seconds, interrupted=False)

    def clear_buffer(self) -> None: ...


@contextlib.contextmanager
def writing(text: str) -> Iterator[str]:
    """An LLM behind OpenAI's interface that always writes the same, word by word."""

    def event(delta: dict[str, str], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "none"}
        return b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            for word in re.findall(r"\S+\s*", text):
                self.wfile.write(event({"role": "assistant", "content": word}, None))
            self.wfile.write(event({}, "stop") + b"data: [DONE]\n\n")

    with listening(Answers) as url:
        yield f"{url}/v1"


def test_pipecats_service_speaks_and_tells_each_word(
    node: RunningNode, jack: str, tmp_path: Path
) -> None:
    bot = RECIPES / "pipecat-agent" / "bot.py"
    assert spoken_by(clients.python(), bot, node, jack, tmp_path) == TEXT.split()


def spoken_by(python: Path, script: Path, node: RunningNode, voice: str, folder: Path) -> list[str]:
    """The words that a recipe says were heard; its WAV file holds sound."""
    wav = folder / "heard.wav"
    done = subprocess.run(
        [python, script, "read", "--server", node.url, "--voice", voice, "--wav", wav],
        input=TEXT.replace("? ", "?\n\n"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with wave.open(str(wav)) as file:
        assert file.getnframes() >= (SHORT_FRAMES - 1) * 2048
        assert np.abs(np.frombuffer(file.readframes(file.getnframes()), "<i2")).max() > 0
    return done.stdout.split()
