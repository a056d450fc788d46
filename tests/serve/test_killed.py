"""A node, or a client of it, that is killed while a voice is published.

It takes a node's start for each step at which one is killed: a dead node must be seen to come back.
That a bundle is whole or absent at every smaller step is shown in tests/publish, by the same code.
"""

import socket
from pathlib import Path

import httpx
import pytest

from orpheus_clone import client
from orpheus_clone.bundle import Bundle
from orpheus_clone.errors import NodeError
from orpheus_clone.layout import RunDir
from orpheus_clone.publish.place import Signed, open_place
from orpheus_clone.store import open_store
from tests.bundles import SHORT, frames_of, made
from tests.nodes import RunningNode, running
from tests.serve.test_voices import listed
from tests.waiting import eventually


@pytest.fixture
def bundles(run_dir: RunDir, tmp_path: Path) -> tuple[Bundle, Bundle]:
    """The old voice speaks five frames, the new one seven."""
    lengths = (SHORT.model_copy(update={"max_seconds": seconds}) for seconds in (0.5, 0.6))
    old, new = (made(run_dir, tmp_path / "made", "kept", sampling=each) for each in lengths)
    return old, new


def frames(node: RunningNode) -> int:
    return frames_of(node.speak("Hello.", "kept").content[44:])


@pytest.mark.timeout(300)
def test_a_node_that_is_killed_comes_back_with_the_old_voice_or_with_the_new_one(
    bundles: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    old, new = bundles
    path = tmp_path / "store"
    store = open_store(path)
    store.move(store.see("kept"), "publish", store.pointer("kept").published(store.add(old).name))
    # The pointer is all but moved; then it is moved, and nobody was told.
    for event, holds in (("os.rename", old.name), ("os.remove", new.name)):
        dying = ("-m", "tests.serve.dying", event, "voices/")
        with running(tmp_path, "--allow-unproven", store=path, program=dying) as node:
            assert frames(node) == 5
            with pytest.raises(NodeError, match="does not answer"):
                node.client.publish(new)
            assert node.process.wait(10) == -9
        assert store.pointer("kept").current == holds
        assert store.read(new.name).digest == new.digest
    with running(tmp_path, "--allow-unproven", store=path) as node:
        assert frames(node) == 7
        assert not open_place(node.url).publish(new, None, Signed())
        assert node.client.move("rollback", "kept") == old.name
        assert frames(node) == 5
    assert sorted(store.objects.names("bundles")) == sorted([old.name, new.name])
    assert [move.did for move in store.see("kept").moves] == ["publish", "publish", "rollback"]


def request(node: RunningNode, source: Bundle) -> tuple[tuple[str, int], bytes]:
    """Where the node listens, and the whole request that publishes a bundle."""
    url, body = httpx.URL(node.url), client.pack(source)
    head = (
        f"POST /v1/voices/{source.name} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}"
    )
    return (url.host, url.port or 80), head.encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_client_that_is_gone_in_the_middle_leaves_nothing(
    node: RunningNode, run_dir: RunDir, tmp_path: Path, part: float
) -> None:
    source = made(run_dir, tmp_path, "halfway")
    address, whole = request(node, source)
    sessions = node.figure("orpheus_clone_streams")
    with socket.create_connection(address, timeout=10) as raw:
        raw.sendall(whole[: max(200, int(part * len(whole)))])
    assert node.get("/readyz").status_code == 200
    assert listed(node, "halfway") is None
    assert not any(source.name in name for name in open_store(node.store).objects.names("bundles"))
    assert node.figure("orpheus_clone_streams") == sessions
    assert "Traceback" not in node.log.read_text(encoding="utf-8")


def test_a_client_that_is_gone_before_the_answer_has_published_all_the_same(
    node: RunningNode, run_dir: RunDir, tmp_path: Path
) -> None:
    source = made(run_dir, tmp_path, "unheard")
    address, whole = request(node, source)
    with socket.create_connection(address, timeout=10) as raw:
        raw.sendall(whole)
    eventually(lambda: listed(node, "unheard") is not None, 30, "the voice is there")
    assert not open_place(node.url).publish(source, None, Signed())
