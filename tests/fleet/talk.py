"""Clients of a fleet of `telling` nodes: sessions of random words, and what was heard of them.

A client knows the addresses of nodes, and nothing of who owns what. Refused, or in front of a node
that died, it goes to another one, as behind a load balancer: there it says all of its text again.
"""

import asyncio
import base64
import json
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from tests.fleet.telling import Word, heard, number, plain

SENTENCES, WORDS = 3, 7
SYLLABLE = ("bdfgklmnprst", "aeiou")
RETRY_S = 0.2
TRIES = 100


@dataclass(frozen=True)
class Wanted:
    """A voice, and what a frame of it must hold."""

    voice: str
    bundle: str
    pool: str


@dataclass
class Session:
    """One client, what it wants to hear, and what it heard."""

    wanted: Wanted
    text: str
    form: str
    seed: int
    fronts: list[str] = field(default_factory=list)
    """The addresses at which it was taken, one after the other: all but the last broke it off."""
    unanswered: list[str] = field(default_factory=list)
    """Those that hung up before they took or refused it."""
    pcm: bytes = b""
    """What the last of them sent."""

    @property
    def words(self) -> list[Word]:
        """What was heard at the last."""
        return heard(self.pcm)

    @property
    def wrong(self) -> list[Word]:
        """What was heard in another voice, by another bundle, or in another pool."""
        of = self.wanted
        right = (number(of.voice), number(of.bundle), number(of.pool, 6))
        return [word for word in self.words if (word.voice, word.bundle, word.base) != right]

    @property
    def missed(self) -> str | None:
        """The first word that was left out, or that came too early; None if there is none."""
        wanted, at = plain(self.text), 0
        places = {number(word, 24): place for place, word in enumerate(wanted)}
        for word in self.words:
            place = places.get(word.word, len(wanted))
            if place > at:  # an earlier one is said again
                break
            at = max(at, place + 1)
        return None if at == len(wanted) else wanted[at]

    @property
    def nodes(self) -> list[int]:
        """Who spoke, one after the other, each once at a time."""
        said = [word.node for word in self.words]
        return [n for place, n in enumerate(said) if place == 0 or said[place - 1] != n]


class Refused(Exception):
    """A node that takes nobody now."""


class Broken(Exception):
    """A session that its front broke off."""


def session(wanted: Wanted, seed: int) -> Session:
    """A session of random words over one of the ways there are."""
    draw = random.Random(seed)
    words: dict[str, None] = {}
    while len(words) < SENTENCES * WORDS:
        words["".join(draw.choice(letters) for letters in SYLLABLE * 4)] = None
    every = list(words)
    sentences = [every[at : at + WORDS] for at in range(0, len(every), WORDS)]
    text = " ".join(" ".join(each).capitalize() + "." for each in sentences)
    return Session(wanted, text, draw.choice(("http", "stream-input", "multi-stream-input")), seed)


async def run(session: Session, addresses: Callable[[], Sequence[str]]) -> None:
    """Have it spoken, at any of the nodes that there are at the time."""
    draw = random.Random(session.seed)
    for _ in range(TRIES):
        address = draw.choice(addresses())
        speak = _asked(session, address) if session.form == "http" else _said(session, address)
        try:
            session.pcm = b""
            async for pcm in speak:
                session.pcm += pcm
            return
        except Refused:
            await asyncio.sleep(RETRY_S)
        except Broken:
            continue
    raise AssertionError(f"nobody speaks session {session.seed}")


async def _asked(session: Session, address: str) -> AsyncGenerator[bytes, None]:
    body = {"model": "nano", "input": session.text, "voice": session.wanted.voice}
    url, is_taken = f"http://{address}/v1/audio/speech", False
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        try:
            async with http.stream("POST", url, json=body | {"response_format": "pcm"}) as answer:
                if answer.status_code == 503:
                    raise Refused
                assert answer.status_code == 200, (await answer.aread()).decode()
                session.fronts.append(address)
                is_taken = True
                async for block in answer.aiter_bytes():
                    yield block
        except httpx.ConnectError:
            raise Refused from None
        except httpx.TransportError as error:
            if not is_taken:
                session.unanswered.append(address)
                raise Refused from error
            raise Broken(str(error)) from error


async def _said(session: Session, address: str) -> AsyncGenerator[bytes, None]:
    where = f"ws://{address}/v1/text-to-speech/{session.wanted.voice}/{session.form}"
    try:
        async with connect(f"{where}?output_format=pcm_24000", compression=None) as socket:
            session.fronts.append(address)
            for message in _messages(session):
                await socket.send(json.dumps(message))
            async for answer in socket:
                said = json.loads(answer)
                assert "error" not in said, said
                yield base64.b64decode(said.get("audio") or "")
                if said.get("isFinal"):
                    return
            raise Broken("closed before the end")
    except InvalidStatus as error:
        assert error.response.status_code == 503, error.response.body
        raise Refused from error
    except InvalidHandshake as error:
        session.unanswered.append(address)
        raise Refused from error
    except ConnectionClosed as error:
        raise Broken(str(error)) from error
    except OSError:
        raise Refused from None


def _messages(session: Session) -> list[dict[str, object]]:
    """The text, some words at a time, and its end."""
    words = session.text.split(" ")
    name = {} if session.form == "stream-input" else {"context_id": "talk"}
    said: list[dict[str, object]] = [
        {"text": " ".join(words[at : at + 4]) + " ", **name} for at in range(0, len(words), 4)
    ]
    if not name:
        return [*said, {"text": ""}]
    return [*said, {"flush": True, **name}, {"close_context": True, **name}]
