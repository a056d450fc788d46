"""A node without keys answers its own machine, and no web page from elsewhere."""

from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from orpheus_clone.codec.snac import Codec
from orpheus_clone.models import BaseModel
from orpheus_clone.serve.strangers import stranger
from tests.serve.talking import Talker, talking

URL = "http://voices.example:8000"
SOCKET = "/v1/text-to-speech/ada/multi-stream-input"
EVIL = "http://evil.example:8000"


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "127.0.0.1:8000", "127.9.9.9", "[::1]:8000", "Voices.Example"],
)
def test_names_of_this_machine_and_the_nodes_own_are_answered(host: str) -> None:
    assert stranger({"host": host}, URL) is None
    assert stranger({"host": "localhost", "origin": f"http://{host}"}, URL) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example:8000", "localhost.evil.example", "0.0.0.0:8000", "10.0.0.7", "[::1", "", "a@b"],
)
def test_no_other_name_is(host: str) -> None:
    assert f"Host {host!r} is another" in str(stranger({"host": host}, URL))
    origin = {"host": "localhost", "origin": f"http://{host}"}
    assert f"Origin 'http://{host}' is another" in str(stranger(origin, URL))


def test_a_page_that_hides_whose_it_is_is_a_stranger() -> None:
    assert stranger({"host": "localhost", "origin": "null"}, URL) is not None


@pytest_asyncio.fixture
async def node(codec: Codec, base: BaseModel, tmp_path: Path) -> AsyncGenerator[str, None]:
    async with talking(Talker(), codec, base, tmp_path) as address:
        yield address


@pytest.mark.parametrize("header", [{"host": "evil.example:8000"}, {"origin": EVIL}])
@pytest.mark.parametrize("path", ["/", "/metrics", "/v1/models"])
async def test_a_strangers_page_gets_nothing_from_a_node_without_keys(
    node: str, path: str, header: dict[str, str]
) -> None:
    async with httpx.AsyncClient(base_url=f"http://{node}") as client:
        assert (await client.get(path)).status_code == 200
        refused = await client.get(path, headers=header)
    assert refused.status_code == 403
    assert "start the node with --keys FILE" in refused.json()["error"]["message"]


async def test_nor_does_its_socket(node: str) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        async with connect(f"ws://{node}{SOCKET}", origin=EVIL):  # type: ignore[arg-type]
            pass


async def test_where_there_are_keys_a_page_needs_one_and_may_come_from_anywhere(
    codec: Codec, base: BaseModel, tmp_path: Path
) -> None:
    headers = {"origin": EVIL, "host": "evil.example", "authorization": "Bearer right"}
    async with (
        talking(Talker(), codec, base, tmp_path, keys=("right",)) as node,
        httpx.AsyncClient() as client,
    ):
        answer = await client.get(f"http://{node}/v1/models", headers=headers)
    assert answer.status_code == 200
