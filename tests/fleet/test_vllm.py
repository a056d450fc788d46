"""Two nodes of the real engine: one loses its engine while it speaks for a client of the other.

It takes a minute: two engines start on the same cores.
"""

import os
import signal

import pytest

from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling
from tests.fleet.conftest import Fleet
from tests.nodes import all_end, descendants, name_of
from tests.serve.talking import letters, socket, sound

pytestmark = pytest.mark.vllm

SENTENCES = [
    "The first of these three sentences is spoken by the node that holds the voice. ",
    "While it speaks the process of its engine is killed, and nobody tells the listener. ",
    "The rest of the text, and what was cut off, is to be spoken by the other of the two. ",
]


@pytest.mark.timeout(280)
async def test_when_the_engine_under_a_session_is_killed_the_other_node_says_the_rest(
    fleet: Fleet, base: BaseModel
) -> None:
    fleet.start("a", "b", engine="vllm")
    (wanted,) = fleet.publish(base, ["anna"], Sampling(max_seconds=2.0))
    first = fleet.nodes["a"]
    owner = fleet.nodes[first.speak("Hello.", "anna").headers["x-orpheus-clone-node"]]
    front = next(node for node in fleet.nodes.values() if node is not owner)
    below = descendants(owner.process.pid)
    (core,) = [process for process in below if "EngineCore" in name_of(process)]
    address = front.url.removeprefix("http://")
    async with socket(address, "stream-input", voice=wanted.voice) as client:
        await client.say(*({"text": text} for text in SENTENCES), {"text": ""})
        await client.hear(lambda message: message.get("audio"))
        os.kill(core, signal.SIGKILL)
        before = len(client.heard)
        heard = await client.final()
    assert sound(heard[before:])
    said = letters(heard)
    for sentence in SENTENCES:
        assert sentence.strip() in said
    assert front.figure("orpheus_clone_sessions_moved_total") == 1
    assert owner.process.wait(40) != 0  # for whoever starts it again
    all_end(below, 10)
