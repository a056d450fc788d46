"""Broken and mutated messages and requests: no error of ours, no hang, nothing left running.

A few hundred in every run; `make fuzz` has ten thousand. A failure names its seed.
"""

import asyncio
import contextlib
import json
import logging
import os
import random
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from orpheus_clone.codec.snac import Codec
from orpheus_clone.models import BaseModel
from orpheus_clone.serve import wire
from orpheus_clone.serve.auth import SECRET_HEADER, NodeSecret
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
BETWEEN_NODES: list[dict[str, Any]] = [
    {"stream": 1, "say": "Good morning to you.", "more": True},
    {"stream": 2, "say": "Hi.", "more": False},
    {"stream": 1, "say": "And on it goes.", "more": False},
    {"stream": 1, "end": True},
    {"stream": 2, "took": 8},
    {"stream": 1, "more": True},
    {"stream": 1, "cancel": True},
    {"end": True},
]
OPENINGS: list[dict[str, Any]] = [
    *(6 * [{"voice": "ada"}]),
    *({"voice": "ada", "patience_s": 0.5}, {"voice": "ada", "arm": "x"}),
    *({"voice": "ada", "bundle": "ada@0123456789ab"}, {"voice": "..", "bundle": "../../ada"}, {}),
    *({"voice": "nobody"}, {"voice": "a" * 300}, {"voice": "ada", "trace": {"traceparent": "00"}}),
]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/audio/speech": {"model": "nano", "input": "Hello.", "voice": {"id": "ada"}, "speed": 2},
    "/v1/text-to-speech/ada": {"text": "Hello.", "voice_settings": {"speed": 0.5}},
    "/v1/text-to-speech/ada/stream": {"text": "Hello.", "model_id": "x"},
    "/v1/voices/ada@0123456789ab": {"a tar": "of a bundle"},
    "/v1/voices/ada/promote": {},
    "/v1/voices/ada/rollback": {},
}
QUERIES = [
    *("", "output_format=pcm_8000", "output_format=mp3_22050_32", "output_format=mp3_9_9"),
    *("auto_mode=true", "inactivity_timeout=1e9", "inactivity_timeout=-1", "a=%00&b=%ff&&=;"),
    *("on_failure=error", "on_failure=7", "share=nan", "share=0.5&by=%00&why=%ff"),
]
PAGES = [
    *("/", "/page/", "/page/index.html", "/openapi.json"),
    *("/livez", "/readyz", "/startupz", "/metrics"),
    *("/v1/models", "/v1/voices", "/v1/audio/voices", "/v1/nodes", "/v1/nodes/session"),
    *("/v1/voices/ada", "/v1/voices/ada/history", *BODIES),
]
SECRET = "5" * 32
ODD_PATHS = ["%00", "..%2f", "../", "//", "%ff", "a" * 300, "%2e%2e/%2e%2e/", ".", "\\", "?%00=%ff"]
ODD: list[Any] = [
    *(None, True, 0, -1, 2**63, 1e308, 0.0, [], {}, [[]], {"a": {}}, "", " ", "\x00", "\ud800"),
    *("🙂", "<|eot_id|>", "<custom_token_3>", "…", "ا" * 50, "word " * 400, "a" * 300, "1" * 400),
    *("\u202e", "。", "\n" * 50, "e\u0301" * 40, "<laugh>", "true", "NaN"),
]


@pytest.fixture
def engine() -> Talker:
    return Talker(frames=1)


@pytest.fixture
def secret() -> str | None:
    """What the nodes of the fleet know each other by."""
    return None


@pytest_asyncio.fixture
async def node(
    engine: Talker, codec: Codec, base: BaseModel, tmp_path: Path, secret: str | None
) -> AsyncGenerator[str, None]:
    async with talking(engine, codec, base, tmp_path, secret=NodeSecret(secret)) as address:
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
    if draw.random() < 0.15:
        return draw.choice(ODD)
    if isinstance(value, dict):
        kept = {key: mutated(v, draw) for key, v in value.items() if draw.random() < 0.9}
        if draw.random() < 0.1:
            kept[draw.choice(["flush", "text", "context_id", "close_context", "zz"])] = draw.choice(
                ODD
            )
        return kept
    if isinstance(value, list):
        return [mutated(v, draw) for v in value]
    return value


def broken(value: Any, draw: random.Random) -> str | bytes:
    """A mutated value as JSON, sometimes with bytes that are cut off, exchanged or random."""
    text = json.dumps(mutated(value, draw))
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
    url = f"ws://{node}/v1/text-to-speech/ada/{form}?{draw.choice(['', draw.choice(QUERIES)])}"
    with contextlib.suppress(ConnectionClosed, InvalidHandshake):
        async with connect(url) as socket:
            await say_some(socket, MESSAGES, draw)
            if draw.random() < 0.3:
                socket.transport.abort()
                return
            await socket.send('{"close_socket": true}')
            await socket.send('{"text": ""}')
            if draw.random() < 0.5:
                async for _ in socket:
                    pass


async def one_node(node: str, seed: int, secret: str | None, pool: dict[str, str]) -> None:
    """Another node, or what takes itself for one."""
    draw = random.Random(seed)
    given = draw.choice([secret, secret, secret, None, "", SECRET[1:], "\x7f"])
    headers = {} if given is None else {SECRET_HEADER: given}
    with contextlib.suppress(ConnectionClosed, InvalidHandshake):
        async with connect(f"ws://{node}{wire.PATH}", additional_headers=headers) as socket:
            assert secret in (None, given), f"FUZZ_SEED={seed}: a stranger was let in"
            for _ in range(draw.randint(1, 3)):
                opening = {"open": pool | draw.choice(OPENINGS)}
                await socket.send(draw.choice([json.dumps(opening), broken(opening, draw)]))
                await socket.recv()
                await say_some(socket, BETWEEN_NODES, draw)
                await hear_some(socket, draw)
                await socket.send('{"end": true}')
            if draw.random() < 0.5:
                socket.transport.abort()


async def say_some(
    socket: ClientConnection, messages: list[dict[str, Any]], draw: random.Random
) -> None:
    trouble = draw.choice([0.05, 0.5])
    for _ in range(draw.randint(1, 12)):
        message = draw.choice(messages)
        is_broken = draw.random() < trouble
        await socket.send(broken(message, draw) if is_broken else json.dumps(message))
        if draw.random() < 0.2:
            await hear_some(socket, draw)


async def hear_some(socket: ClientConnection, draw: random.Random) -> None:
    with contextlib.suppress(TimeoutError):
        for _ in range(draw.randint(0, 5)):
            async with asyncio.timeout(0.02):
                await socket.recv()


async def no_client_breaks(
    client: Callable[[int], Awaitable[None]], engine: Talker, complaints: list[str]
) -> None:
    before = asyncio.all_tasks()
    for seed in range(FIRST_SEED, FIRST_SEED + CASES):
        async with asyncio.timeout(20):
            await client(seed)
        assert not complaints, f"FUZZ_SEED={seed}: {complaints}"
    await eventually(lambda: not engine.open, "no generation is left")
    await eventually(lambda: not asyncio.all_tasks() - before, "no task is left")


async def test_no_message_over_a_socket_breaks_the_node(
    node: str, engine: Talker, complaints: list[str]
) -> None:
    await no_client_breaks(partial(one_socket, node), engine, complaints)


@pytest.mark.parametrize("secret", [None, SECRET])
async def test_no_message_of_another_node_breaks_the_node(
    node: str, secret: str | None, engine: Talker, base: BaseModel, complaints: list[str]
) -> None:
    pool = {"base_digest": base.digest, "language": base.language}
    client = partial(one_node, node, secret=secret, pool=pool)
    await no_client_breaks(client, engine, complaints)
    assert engine.requests


async def test_no_body_of_a_request_is_an_error_of_ours(
    node: str, engine: Talker, complaints: list[str]
) -> None:
    async with httpx.AsyncClient(base_url=f"http://{node}", timeout=20) as http:
        for seed in range(FIRST_SEED, FIRST_SEED + CASES):
            draw = random.Random(seed)
            path, body = draw.choice(list(BODIES.items()))
            content = draw.choice([json.dumps(body), broken(body, draw)])
            query = draw.choice(["", draw.choice(QUERIES)])
            json_type = "application/json"
            headers = {"content-type": draw.choice([json_type, json_type, "text/plain", ""])}
            answer = await http.post(f"{path}?{query}", content=content, headers=headers)
            assert answer.status_code < 500, f"FUZZ_SEED={seed}: {answer.text}"
            if answer.is_error:
                assert set(answer.json()["error"]) == {"message", "type", "code"}
    assert not complaints
    await eventually(lambda: not engine.open, "no generation is left")


async def test_no_path_that_is_read_is_an_error_of_ours(node: str, complaints: list[str]) -> None:
    address = node.split(":")
    for seed in range(FIRST_SEED, FIRST_SEED + CASES):
        draw = random.Random(seed)
        path = draw.choice(PAGES) + draw.choice(["", draw.choice(ODD_PATHS)])
        method = draw.choice(["GET", "GET", "HEAD", "POST", "DELETE", "OPTIONS"])
        reader, writer = await asyncio.open_connection(*address)
        head = f"{method} {path} HTTP/1.1\r\nhost: {node}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode("latin-1"))  # as it is: a client library would mend it
        async with asyncio.timeout(20):
            status = int((await reader.readline()).split()[1])
        writer.close()
        assert 200 <= status < 500, f"FUZZ_SEED={seed}: {method} {path} is {status}"
    assert not complaints


async def test_every_path_that_the_openapi_describes_is_tried(node: str) -> None:
    async with httpx.AsyncClient() as http:
        described = (await http.get(f"http://{node}/openapi.json")).json()["paths"]
    patterns = [re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)) for path in described]
    untried = [p for p in patterns if not any(re.fullmatch(p, page) for page in PAGES)]
    assert untried == []


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
