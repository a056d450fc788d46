"""`GET /v1/nodes`: who is there, what they do, and who speaks which voice."""

from pathlib import Path

import httpx
import pytest

from orpheus_clone.codec.snac import Codec
from orpheus_clone.errors import StoreError
from orpheus_clone.models import BaseModel
from orpheus_clone.serve.fleet import FRESH_SECONDS, _Published
from orpheus_clone.serve.node import Node
from orpheus_clone.speech import Speaker
from orpheus_clone.store import Pointer, Store, open_store
from tests.serve.talking import Talker, talking


def point(store: Store, voice: str) -> None:
    """Let a voice's name mean a bundle, which nobody looks at here."""
    store.move(store.see(voice), "publish", Pointer(voice, (f"{voice}@000000000000",)))


async def test_a_node_tells_of_itself_and_of_who_speaks_the_published_voices(
    codec: Codec, base: BaseModel, tmp_path: Path
) -> None:
    point(open_store(str(tmp_path / "store")), "jack")
    async with talking(Talker(), codec, base, tmp_path) as address, httpx.AsyncClient() as http:
        said = (await http.get(f"http://{address}/v1/nodes")).raise_for_status().json()
    assert (said["node"], said["owners"]) == (address, {"jack": [address]})
    (node,) = said["nodes"]
    assert node["pool"] == {"base_digest": base.digest, "language": base.language}
    assert (node["id"], node["url"], node["phase"]) == (address, f"http://{address}", "ready")
    assert set(node["load"]) == {"sessions", "slots", "resident"}
    assert (node["silent_s"] >= 0, "incarnation" in node) == (True, False)


async def test_the_figures_tell_what_a_node_is_and_does(
    codec: Codec, base: BaseModel, tmp_path: Path
) -> None:
    engine = Talker()
    async with talking(engine, codec, base, tmp_path) as address, httpx.AsyncClient() as http:
        said = (await http.get(f"http://{address}/metrics")).text
        engine.lives = False
        dead = (await http.get(f"http://{address}/metrics")).text
    assert f'base="{base.name}",engine="fake",hardware="CPU (none)",precision="fp32"' in said
    assert "orpheus_clone_ready 1.0" in said
    assert "orpheus_clone_ready 0.0" in dead
    assert "orpheus_clone_adapter_slots 1.0" in said


class Clouded(Store):
    """A store that counts how often it is asked, and may be away."""

    asked, is_away = 0, False

    def voices(self) -> list[str]:
        self.asked += 1
        if self.is_away:
            raise StoreError("away")
        return super().voices()


def test_the_published_voices_are_asked_for_now_and_then_and_stay_while_the_store_is_away(
    codec: Codec, base: BaseModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    store = Clouded(open_store(str(tmp_path)).objects)
    published = _Published(Node(Speaker(Talker(), codec, base), store, 1), lambda: now)
    assert published.pointers() == ()
    point(store, "jack")
    now = FRESH_SECONDS - 0.01
    assert (published.pointers(), store.asked) == ((), 1)
    now = FRESH_SECONDS
    assert [pointer.voice for pointer in published.pointers()] == ["jack"]
    now, store.is_away = 2 * FRESH_SECONDS, True
    for _ in range(2):
        assert [pointer.voice for pointer in published.pointers()] == ["jack"]
    assert (store.asked, "cannot be listed" in caplog.text) == (3, True)
