"""What is refused before a request is read, through a real node and around a tiny application."""

import io
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.types import Message, Receive, Scope, Send

from orpheus_clone.errors import ArtifactError
from orpheus_clone.serve import gate
from orpheus_clone.serve.auth import Keys, NodeSecret
from orpheus_clone.serve.gate import Gate
from orpheus_clone.serve.keys import Scope as KeyScope
from orpheus_clone.serve.metrics import Metrics
from orpheus_clone.serve.releases import unpack
from tests.nodes import RunningNode
from tests.serve.keyed import known

BLOCK = b"x" * 65_536
URL = "http://node:8000"
OPEN, RIGHT = Keys([]), Keys([known("right")])
NO_SECRET, SECRET = NodeSecret(None), NodeSecret("of-all-the-nodes-of-a-fleet")


def blocks(count: int) -> Iterator[bytes]:
    """A body whose length is not declared."""
    for _ in range(count):
        yield BLOCK


@pytest.mark.parametrize(
    "body", [b"x" * (gate.LARGEST_BODY + 1), list(blocks(2))], ids=["declared", "chunked"]
)
def test_a_body_that_is_too_large_for_speech_is_413(
    node: RunningNode, body: bytes | list[bytes]
) -> None:
    content = body if isinstance(body, bytes) else iter(body)
    answer = httpx.post(f"{node.url}/v1/audio/speech", content=content)
    assert answer.status_code == 413
    assert "at most 65536 bytes" in answer.json()["error"]["message"]


@pytest.mark.parametrize("length", ["-1", "ten"])
async def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    answer = await ask(OPEN, headers={"content-length": length})
    assert answer.status_code == 413


async def test_without_a_key_nothing_of_the_body_is_read() -> None:
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        for block in blocks(3):
            read.append(block)
            yield block

    answer = await ask(RIGHT, content=body())
    assert answer.status_code == 401
    assert not read


async def test_with_a_key_a_body_passes_up_to_the_limit_and_not_one_byte_further() -> None:
    key = {"authorization": "Bearer right"}
    fits = await ask(RIGHT, content=BLOCK, headers=key)
    assert (fits.status_code, fits.json()) == (200, len(BLOCK))
    assert (await ask(RIGHT, content=BLOCK + b"x", headers=key)).status_code == 413


def test_a_sparse_entry_is_refused_although_it_is_small(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("voice.json")
    entry.type = tarfile.GNUTYPE_SPARSE
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(entry)
    with pytest.raises(ArtifactError, match=r"voice\.json|not a tar"):
        unpack(packed.getvalue(), tmp_path / "jack@0")
    assert not list((tmp_path / "jack@0").iterdir())


HOP = {"x-orpheus-clone-hop": "node-a"}
FROM_A_NODE = [*HOP, *SECRET.headers()]


@pytest.mark.parametrize(
    ("secret", "more", "passed"),
    [
        (NO_SECRET, {}, [*HOP]),
        (SECRET, {}, []),
        (SECRET, {"X-Orpheus-Clone-Hop": "node-a"}, []),
        (SECRET, {"x-orpheus-clone-session": "mine"}, ["x-orpheus-clone-session"]),
        (SECRET, SECRET.headers(), sorted(FROM_A_NODE)),
    ],
)
async def test_what_is_said_between_nodes_is_believed_from_nodes_alone(
    secret: NodeSecret, more: dict[str, str], passed: list[str]
) -> None:
    answer = await ask(OPEN, headers=HOP | more, secret=secret, what="headers")
    assert (answer.status_code, answer.json()) == (200, passed)


async def test_where_there_are_keys_nobody_speaks_as_a_node_without_the_secret() -> None:
    answer = await ask(RIGHT, headers={"authorization": "Bearer right"}, path="/v1/nodes/session")
    assert answer.status_code == 401
    assert "a fleet, which have a secret" in answer.json()["error"]["message"]
    assert (await ask(OPEN, path="/v1/nodes/session")).status_code == 404


async def test_a_key_that_is_not_for_it_is_refused_before_anything_is_read() -> None:
    keys = Keys([known("right", "ci", (KeyScope.PUBLISH, KeyScope.OPERATE))])
    answer = await ask(keys, headers={"authorization": "Bearer right"})
    assert answer.status_code == 403
    said = "the key 'ci' is for publish, operate, and not for speak"
    assert answer.json()["error"]["message"] == said
    headers = {"authorization": "Bearer right"}
    assert (await ask(keys, headers=headers, path="/v1/audio/voices")).status_code == 404


async def test_a_session_is_its_keys_until_the_answer_has_ended() -> None:
    keys, headers = Keys([known("right", sessions=1)]), {"authorization": "Bearer right"}
    meanwhile: list[httpx.Response] = []

    async def body() -> AsyncIterator[bytes]:
        meanwhile.append(await ask(keys, headers=headers))
        yield b"x"

    assert (await ask(keys, content=body(), headers=headers)).status_code == 200
    (second,) = meanwhile
    assert (second.status_code, second.headers["retry-after"]) == (429, "2")
    assert (await ask(keys, headers=headers)).status_code == 200


async def test_a_socket_beyond_its_keys_limits_is_refused_before_it_is_accepted() -> None:
    key = known("right", sessions=1)
    keys, sent = Keys([key]), list[Message]()
    given = [(b"xi-api-key", b"right")]
    scope = {"type": "websocket", "path": "/v1/text-to-speech/ada/stream-input", "headers": given}

    async def receive() -> Message:
        return {"type": "websocket.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def speak(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    gate = Gate(speak, keys, NO_SECRET, Metrics(), URL)
    with keys.session(key):
        await gate(scope, receive, send)
    assert (sent[0]["type"], sent[0]["status"]) == ("websocket.http.response.start", 429)
    assert (b"retry-after", b"2") in sent[0]["headers"]
    sent.clear()
    await gate(scope, receive, send)
    assert sent == [{"type": "websocket.accept"}]


async def ask(
    keys: Keys,
    content: bytes | AsyncIterator[bytes] = b"",
    headers: dict[str, str] | None = None,
    *,
    secret: NodeSecret = NO_SECRET,
    what: str = "count",
    path: str = "",
) -> httpx.Response:
    """What an application behind the gate answers; it says how much it read."""
    app = FastAPI()
    app.add_middleware(Gate, keys=keys, secret=secret, metrics=Metrics(), url=URL)

    @app.post("/v1/audio/speech/count")
    async def count(request: Request) -> int:
        return len(await request.body())

    @app.post("/v1/audio/speech/headers")
    async def headers_of(request: Request) -> list[str]:
        return sorted(name for name in request.headers if name.startswith("x-"))

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        return await client.post(
            path or f"/v1/audio/speech/{what}", content=content, headers=headers
        )
