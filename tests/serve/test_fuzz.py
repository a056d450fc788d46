"""Broken and mutated messages and requests: no error of ours, no hang, nothing left running.

A few hundred in every run; `make fuzz` has ten thousand. A failure names its seed.
"""

import asyncio
import json
import logging
import os
import random
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from orpheus_clone.codec.snac import Codec
from orpheus_clone.models import BaseModel
from tests import clients
from tests.serve.talking import Talker, eventually, talking

CASES = int(os.environ.get("FUZZ_CASES", "200"))
FIRST_SEED = int(os.environ.get("FUZZ_SEED", "0"))

MESSAGES: list[dict[str, Any]] = [
    {"text": " ", "voice_settings": {"speed": 1.1, "stability": 0.5}, "context_id": "a"},
    {"text": "Good morning to you. ", "context_id": "a", "flush": True},
    {"text": "Hi ", "generation_config": {"chunk_length_schedule": [50]}},
    {"context_id": "a", "flush": True},
    {"text": "", "context_id": "a"},
    {"context_id": "a", "close_context": True},
    {"close_socket": True},
    {"text": ""},
]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/audio/speech": {"model": "nano", "input": "Hello.", "voice": {"id": "ada"}, "speed": 2},
    "/v1/text-to-speech/ada": {"text": "Hello.", "voice_settings": {"speed": 0.5}},
    "/v1/text-to-speech/ada/stream": {"text": "Hello.", "model_id": "x"},
}
QUERIES = [
    *("", "output_format=pcm_8000", "output_format=mp3_22050_32", "output_format=mp3_9_9"),
    *("auto_mode=true", "inactivity_timeout=1e9", "inactivity_timeout=-1", "a=%00&b=%ff&&=;"),
]
ODD: list[Any] = [
    *(None, True, 0, -1, 2**63, 1e308, 0.0, [], {}, [[]], {"a": {}}, "", " ", "\x00", "\ud800"),
    *("🙂", "<|eot_id|>", "<custom_token_3>", "…", "ا" * 50, "word " * 400, "a" * 300, "1" * 400),
    *("\u202e", "。", "\n" * 50, "e\u0301" * 40, "<laugh>", "true", "NaN"),
]


@pytest.fixture
def engine() -> Talker:
    return Talker(frames=1)


@pytest_asyncio.fixture
async def node(
    engine: Talker, codec: Codec, base: BaseModel, tmp_path: Path
) -> AsyncGenerator[str, None]:
    async with talking(engine, codec, base, tmp_path) as address:
        yield address


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the server beneath logs of exceptions that nobody caught."""
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage() + str(record.exc_info or ""))

    ear = Ear(logging.ERROR)
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "asyncio")]
    for logger in loggers:
        logger.addHandler(ear)
    yield said
    for logger in loggers:
        logger.removeHandler(ear)


def mutated(value: Any, draw: random.Random) -> Any:
    """A JSON value with some of it taken out, exchanged or replaced."""
    if draw.random() < 0.25:
        return draw.choice(ODD)
    if isinstance(value, dict):
        kept = {key: mutated(v, draw) for key, v in value.items() if draw.random() < 0.8}
        if draw.random() < 0.2:
            kept[draw.choice(["flush", "text", "context_id", "close_context", "zz"])] = draw.choice(
                ODD
            )
        return kept
    if isinstance(value, list):
        return [mutated(v, draw) for v in value]
    return value


def written(value: Any, draw: random.Random) -> str | bytes:
    """The value as JSON, sometimes with bytes that are cut off, turned around or random."""
    text = json.dumps(value)
    if draw.random() < 0.75:
        return text
    raw = bytearray(text.encode())
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(raw) + 1)
        match draw.randrange(3):
            case 0:
                del raw[at:]
            case 1:
                raw[at:at] = draw.randbytes(draw.randint(1, 8))
            case _:
                raw[at : at + 3] = b"\xff\x00{"
    if draw.random() < 0.5:
        return bytes(raw)
    return bytes(raw).decode("utf-8", "ignore")


async def one_socket(node: str, seed: int) -> None:
    """A client that says some broken messages, reads a while or not, and leaves as it likes."""
    draw = random.Random(seed)
    form = draw.choice(["stream-input", "multi-stream-input"])
    url = f"ws://{node}/v1/text-to-speech/ada/{form}?{draw.choice(QUERIES)}"
    try:
        async with connect(url) as socket:
            for _ in range(draw.randint(1, 12)):
                message = draw.choice(MESSAGES)
                await socket.send(written(mutated(message, draw), draw))
                if draw.random() < 0.2:
                    async with asyncio.timeout(0.01):
                        await socket.recv()
            if draw.random() < 0.3:
                socket.transport.abort()
                return
            await socket.send('{"close_socket": true}')
            await socket.send('{"text": ""}')
            if draw.random() < 0.5:
                async for _ in socket:
                    pass
    except (ConnectionClosed, InvalidHandshake, TimeoutError):
        return


async def test_no_message_over_a_socket_breaks_the_node(
    node: str, engine: Talker, complaints: list[str]
) -> None:
    before = asyncio.all_tasks()
    for seed in range(FIRST_SEED, FIRST_SEED + CASES):
        async with asyncio.timeout(20):
            await one_socket(node, seed)
        assert not complaints, f"FUZZ_SEED={seed}: {complaints}"
    await eventually(lambda: not engine.open, "no generation is left")
    await eventually(lambda: not asyncio.all_tasks() - before, "no task is left")


async def test_no_body_of_a_request_is_an_error_of_ours(
    node: str, engine: Talker, complaints: list[str]
) -> None:
    async with httpx.AsyncClient(base_url=f"http://{node}", timeout=20) as http:
        for seed in range(FIRST_SEED, FIRST_SEED + CASES):
            draw = random.Random(seed)
            path, body = draw.choice(list(BODIES.items()))
            content = written(mutated(body, draw), draw)
            query = draw.choice(QUERIES)
            headers = {"content-type": draw.choice(["application/json", "text/plain", ""])}
            answer = await http.post(f"{path}?{query}", content=content, headers=headers)
            assert answer.status_code < 500, f"FUZZ_SEED={seed}: {answer.text}"
            if answer.is_error:
                assert set(answer.json()["error"]) == {"message", "type", "code"}
    assert not complaints
    await eventually(lambda: not engine.open, "no generation is left")


async def test_schemathesis_finds_no_error_of_ours_in_what_the_openapi_describes(
    node: str, complaints: list[str]
) -> None:
    st = [str(clients.python()), "-m", "schemathesis.cli", "run", "--no-color"]
    run = [f"http://{node}/openapi.json", "--phases", "fuzzing"]
    checks = "not_a_server_error,status_code_conformance,content_type_conformance"
    how = ["--checks", checks, "--max-examples", str(max(20, CASES // 20)), "--seed", "1"]
    process = await asyncio.create_subprocess_exec(
        *st, *run, *how, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert not complaints
