"""Lines of a node's log: their form, whose they are, and what is never in them."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.codec.snac import Codec
from orpheus_clone.errors import RecipeError
from orpheus_clone.models import BaseModel
from orpheus_clone.serve import logs
from orpheus_clone.serve.auth import SECRET_HEADER, NodeSecret
from orpheus_clone.serve.logs import LogFormat, checked_format, written
from tests.serve.talking import Talker, talking

log = logging.getLogger("orpheus_clone.test")


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_line_of_json_says_when_where_what_and_whose(capsys: pytest.CaptureFixture[str]) -> None:
    with written("json", "node-a"):
        with logs.session("4bf9"):
            logs.bind(voice="jack")
            log.warning("a client read nothing for %s s", 30)
        log.info("alone")
    ours, alone = map(json.loads, lines(capsys))
    assert ours.pop("at").endswith("+00:00")
    assert ours == {
        "level": "warning",
        "node": "node-a",
        "session": "4bf9",
        "voice": "jack",
        "logger": "orpheus_clone.test",
        "message": "a client read nothing for 30 s",
    }
    assert (alone["level"], alone.keys() & {"session", "voice"}) == ("info", set())


def test_a_session_is_known_in_the_tasks_it_starts_and_in_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def part() -> None:
        log.info("part")

    async def session(name: str) -> None:
        with logs.session(name):
            await asyncio.gather(part(), part())

    async def both() -> None:
        await asyncio.gather(session("one"), session("two"))

    with written("json", "node-a"):
        asyncio.run(both())
    assert sorted(json.loads(line)["session"] for line in lines(capsys)) == [
        *("one", "one", "two", "two")
    ]


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_a_client_wrote_makes_no_line_of_its_own(
    form: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    with written(form, "node-a"):
        log.info("GET %s", "/v1/\n12:00:00 error all is lost\x1b[2J")
    (line,) = lines(capsys)
    assert "\x1b" not in line
    assert "all is lost" in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_bug_keeps_its_traceback(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    with written(form, "node-a"):
        try:
            raise KeyError("here")
        except KeyError:
            log.exception("a session failed")
    said = lines(capsys)
    if form == "json":
        (line,) = said
        said = json.loads(line)["error"].splitlines()
    assert said[-1] == "KeyError: 'here'"


def test_lines_are_as_they_were_once_the_node_has_stopped() -> None:
    root = logging.getLogger()
    before = [*root.handlers]
    with written("json", "node-a"):
        assert root.handlers != before
    assert root.handlers == before


def test_a_format_that_is_none_is_refused() -> None:
    assert checked_format("json") == "json"
    with pytest.raises(RecipeError, match="--log xml: expected text or json"):
        checked_format("xml")


KEY, WRONG, SECRET, TEXT = (
    "oc_right-key",
    "oc_wrong-key",
    "secret-of-all-nodes",
    "Burn this letter.",
)


async def test_no_line_holds_a_key_the_secret_or_what_is_spoken(
    codec: Codec, base: BaseModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a library would like to tell; the node that is asked carries each session on."""
    caplog.set_level(logging.DEBUG)
    lives, dead = Talker(), Talker()
    dead.lives = False
    fleet: dict[str, Any] = {
        "keys": (KEY,),
        "secret": NodeSecret(SECRET),
        "registry": MemoryRegistry(),
    }
    async with (
        talking(lives, codec, base, tmp_path, **fleet),
        talking(dead, codec, base, tmp_path, **fleet) as address,
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):
        shown: list[dict[str, str]] = [
            {"authorization": f"Bearer {KEY}"},
            {"authorization": f"Bearer {WRONG}"},
            {"xi-api-key": WRONG},
            {SECRET_HEADER: SECRET},
            {SECRET_HEADER: SECRET + "x"},
        ]
        body = {"model": "nano", "input": TEXT, "voice": "ada", "response_format": "pcm"}
        answers = [await http.post("/v1/audio/speech", json=body, headers=h) for h in shown]
        assert [answer.status_code for answer in answers] == [200, 401, 401, 200, 401]
        for headers in shown:
            await over_a_socket(address, headers)
    assert len(lives.requests) == 4
    assert "POST /v1/audio/speech: 200" in caplog.text
    assert "session of another node's client: over" in caplog.text
    assert "socket /v1/text-to-speech/ada/stream-input: 401" in caplog.text
    for never in (KEY, WRONG, SECRET, TEXT):
        assert never not in caplog.text


async def over_a_socket(address: str, headers: dict[str, str]) -> None:
    url = f"ws://{address}/v1/text-to-speech/ada/stream-input?output_format=pcm_24000"
    messages: list[dict[str, Any]] = [{"text": TEXT}, {"text": ""}]
    try:
        async with connect(url, additional_headers=headers) as open_:
            for message in messages:
                await open_.send(json.dumps(message))
            async for _ in open_:
                pass
    except InvalidStatus as error:
        assert error.response.status_code == 401
