"""Answers to clients that read slowly, or not at all, or hang up."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest

from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import Delta, Request
from orpheus_clone.models import BaseModel
from orpheus_clone.serve.limits import Limits
from tests.serve.talking import Talker, eventually, talking

REQUEST = b'{"model": "nano", "voice": "ada", "response_format": "pcm", "input": "%s"}' % (
    b"Good morning to you. " * 150
)


async def test_the_engine_is_freed_when_a_client_takes_nothing(
    codec: Codec, base: BaseModel, tmp_path: Path
) -> None:
    engine = Talker(frames=None)
    limits = Limits(write_stall_seconds=0.3)
    async with talking(engine, codec, base, tmp_path, limits) as node:
        host, port = node.split(":")
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((host, int(port)))
            head = b"POST /v1/audio/speech HTTP/1.1\r\nhost: localhost\r\n"
            body = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(REQUEST)
            deaf.sendall(head + body + REQUEST)
            await eventually(lambda: engine.open, "it speaks")
            await eventually(lambda: not engine.open, "it speaks no more")
        spoken = len(engine.requests)
    assert spoken < 30, "all of it was spoken, and held for nobody"
    assert engine.made * 4096 < 2 * 2**20


class Slow(Talker):
    """One that has not said anything yet."""

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        async with aclosing(super().generate(request)) as deltas:
            async for delta in deltas:
                await asyncio.Event().wait()
                yield delta


@pytest.mark.parametrize("path", ["/v1/audio/speech", "/v1/text-to-speech/ada"])
async def test_the_engine_is_freed_when_a_client_hangs_up_before_the_first_sound(
    codec: Codec, base: BaseModel, tmp_path: Path, path: str
) -> None:
    engine, body = Slow(), {"model": "nano", "voice": "ada", "input": "Hi.", "text": "Hi."}
    async with talking(engine, codec, base, tmp_path) as node:
        async with httpx.AsyncClient() as client, asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(client.post(f"http://{node}{path}", json=body))
            await eventually(lambda: engine.open, "it is asked")
            asked.cancel()
        await eventually(lambda: not engine.open, "nobody waits for it any more")
