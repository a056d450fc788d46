"""A LiveKit agent that speaks through an orpheus-clone server.

    python agent.py read --wav out.wav < lines.txt      no LLM, no STT, no LiveKit: lines are spoken
    python agent.py dev                                 joins the rooms of your LiveKit server

LiveKit's own ElevenLabs plugin does the speaking; only its URL is ours. An agent in a room needs an
LLM and an STT behind OpenAI's interface, hosted or your own; README.md names the variables.
"""

import argparse
import asyncio
import os
import sys
import wave

import aiohttp
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import elevenlabs

RATE = 24_000
INSTRUCTIONS = "You are on the phone. Answer in one or two sentences."

server = AgentServer()


def speech(url: str, voice: str, http: aiohttp.ClientSession | None = None) -> elevenlabs.TTS:
    """LiveKit's ElevenLabs plugin, pointed at a node."""
    given = {} if http is None else {"http_session": http}
    return elevenlabs.TTS(
        voice_id=voice,
        base_url=f"{url}/v1",
        api_key=os.environ.get("ORPHEUS_CLONE_KEY", "none"),
        encoding="pcm_24000",
        **given,
    )


async def read(url: str, voice: str, wav: str) -> None:
    """Speak the lines of stdin into a WAV file, and print the words as they were timed."""
    with wave.open(wav, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        async with aiohttp.ClientSession() as http, speech(url, voice, http) as tts:
            for line in filter(str.strip, sys.stdin):
                async with tts.stream() as stream:
                    stream.push_text(line)
                    stream.end_input()
                    async for heard in stream:
                        file.writeframes(heard.frame.data)
                        for word in heard.frame.userdata.get("lk.timed_transcripts", []):
                            print(word.strip(), flush=True)


def conversation(tts: elevenlabs.TTS) -> "AgentSession[None]":
    """What hears, thinks and speaks; any LLM and STT behind OpenAI's interface."""
    from livekit.plugins import openai, silero

    return AgentSession(
        vad=silero.VAD.load(),
        stt=openai.STT(base_url=os.environ["STT_URL"], model=os.environ["STT_MODEL"]),
        llm=openai.LLM(base_url=os.environ["LLM_URL"], model=os.environ["LLM_MODEL"]),
        tts=tts,
    )


@server.rtc_session()  # type: ignore[untyped-decorator]  # livekit is skipped by mypy
async def talk(job: JobContext) -> None:
    """What LiveKit's server calls for a room."""
    tts = speech(os.environ["ORPHEUS_CLONE_URL"], os.environ["ORPHEUS_CLONE_VOICE"])
    await conversation(tts).start(room=job.room, agent=Agent(instructions=INSTRUCTIONS))


def main() -> None:
    """See the module docstring; what is not `read` is LiveKit's command line."""
    if sys.argv[1:2] != ["read"]:
        cli.run_app(server)
        return
    parser = argparse.ArgumentParser(prog="agent.py read", description=__doc__)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--voice", required=True)
    parser.add_argument("--wav", required=True)
    given = parser.parse_args(sys.argv[2:])
    asyncio.run(read(given.server, given.voice, given.wav))


if __name__ == "__main__":
    main()
