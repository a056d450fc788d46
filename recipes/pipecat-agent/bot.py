"""A Pipecat bot that speaks through an orpheus-clone server.

    python bot.py read --wav out.wav < lines.txt        no LLM, no STT: each line is spoken
    python bot.py talk                                  a conversation in the browser, over WebRTC

Pipecat's own ElevenLabs service does the speaking; only its URL is ours. `talk` needs an LLM and an
STT behind OpenAI's interface, hosted or your own; README.md names the variables.
"""

import argparse
import asyncio
import os
import sys
import wave

from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.elevenlabs.tts import ElevenLabsTTSService
from pipecat.workers.runner import WorkerRunner

RATE = 24_000


def speech(server: str, voice: str) -> ElevenLabsTTSService:
    """Pipecat's ElevenLabs service, pointed at a node."""
    return ElevenLabsTTSService(
        api_key=os.environ.get("ORPHEUS_CLONE_KEY", "none"),
        url=server.replace("http", "ws", 1),
        sample_rate=RATE,
        settings=ElevenLabsTTSService.Settings(voice=voice),
    )


class Recorder(FrameProcessor):  # type: ignore[misc]  # pipecat is skipped by mypy
    """Writes what is said into a WAV file, and prints each word as it is heard."""

    def __init__(self, file: wave.Wave_write) -> None:
        super().__init__()
        self._file = file
        self._file.setparams((1, 2, RATE, 0, "NONE", ""))
        self.failed = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass every frame on, as processors do."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self._file.writeframes(frame.audio)
        elif isinstance(frame, TTSTextFrame):
            print(frame.text, flush=True)
        elif isinstance(frame, ErrorFrame):
            self.failed = True
            print(frame.error, file=sys.stderr)
        await self.push_frame(frame, direction)


async def read(server: str, voice: str, wav: str) -> bool:
    """Speak the lines of stdin; whether all went well."""
    with wave.open(wav, "wb") as file:
        return await _read(server, voice, Recorder(file))


async def _read(server: str, voice: str, recorder: Recorder) -> bool:
    pipeline = Pipeline([speech(server, voice), recorder])
    worker = PipelineWorker(pipeline, params=PipelineParams(audio_out_sample_rate=RATE))
    lines = [line.strip() for line in sys.stdin if line.strip()]
    await worker.queue_frames([*map(TTSSpeakFrame, lines), EndFrame()])
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    return not recorder.failed


def talk() -> None:
    """Serve the browser's page; every caller gets a bot."""
    from pipecat.runner.run import main

    sys.argv = [sys.argv[0], "--transport", "webrtc"]
    main()


async def bot(arguments: object) -> None:
    """What Pipecat's runner calls for a caller: hears, thinks and speaks."""
    from pipecat.audio.vad.silero import SileroVADAnalyzer
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import (
        LLMContextAggregatorPair,
        LLMUserAggregatorParams,
    )
    from pipecat.runner.utils import create_transport
    from pipecat.services.openai.llm import OpenAILLMService
    from pipecat.services.openai.stt import OpenAISTTService
    from pipecat.transports.base_transport import TransportParams

    both_ways = TransportParams(audio_in_enabled=True, audio_out_enabled=True)
    transport = await create_transport(arguments, {"webrtc": lambda: both_ways})
    system = {"role": "system", "content": "You are on the phone. Answer in one or two sentences."}
    user, assistant = LLMContextAggregatorPair(
        LLMContext([system]),
        user_params=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer()),
    )
    key = os.environ.get("OPENAI_API_KEY", "none")
    hears = OpenAISTTService(
        api_key=key,
        base_url=os.environ["STT_URL"],
        settings=OpenAISTTService.Settings(model=os.environ["STT_MODEL"]),
    )
    thinks = OpenAILLMService(
        api_key=key,
        base_url=os.environ["LLM_URL"],
        settings=OpenAILLMService.Settings(model=os.environ["LLM_MODEL"]),
    )
    speaks = speech(os.environ["ORPHEUS_CLONE_URL"], os.environ["ORPHEUS_CLONE_VOICE"])
    stages = [transport.input(), hears, user, thinks, speaks, transport.output(), assistant]
    worker = PipelineWorker(Pipeline(stages), params=PipelineParams(audio_out_sample_rate=RATE))
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def main() -> None:
    """See the module docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    modes = parser.add_subparsers(dest="mode", required=True)
    reading = modes.add_parser("read", help="speak the lines of stdin into a WAV file")
    reading.add_argument("--server", default="http://127.0.0.1:8000")
    reading.add_argument("--voice", required=True)
    reading.add_argument("--wav", required=True)
    modes.add_parser("talk", help="a conversation over WebRTC")
    given = parser.parse_args()
    if given.mode == "talk":
        talk()
    elif not asyncio.run(read(given.server, given.voice, given.wav)):
        sys.exit(1)


if __name__ == "__main__":
    main()
