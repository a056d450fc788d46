"""Two hundred sessions at any node of a fleet, while nodes are killed, drained and added.

Every session is of a voice of its own choice (Zipf), over HTTP or one of the two sockets. What a
listener has tells each word, who said it, with which bundle, in which pool and on which node
(`tests.fleet.telling`). It takes a minute, since it takes many processes and many sessions.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import numpy as np
import pytest

from orpheus_clone.bench.sessions import zipf
from orpheus_clone.models import BaseModel
from tests.fleet import talk
from tests.fleet.conftest import Fleet
from tests.fleet.talk import Session
from tests.fleet.telling import number

SESSIONS, AT_ONCE = 200, 24
ENGLISH, GERMAN = [f"voice{i}" for i in range(8)], ["anna", "bruno"]

Events = Mapping[int, Callable[[], Awaitable[object]]]
"""What happens once so many sessions have begun."""


async def talked(sessions: list[Session], fleet: Fleet, events: Events) -> None:
    """All sessions, some at a time."""
    waiting = iter(enumerate(sessions))
    happening: list[asyncio.Future[object]] = []

    async def client() -> None:
        for begun, session in waiting:
            if begun in events:
                happening.append(asyncio.ensure_future(events[begun]()))
            await talk.run(session, fleet.addresses)

    async with asyncio.TaskGroup() as clients:
        for _ in range(AT_ONCE):
            clients.create_task(client())
    await asyncio.gather(*happening)


@pytest.mark.timeout(180)
async def test_no_word_is_lost_and_none_is_said_by_another_while_nodes_die_leave_and_come(
    fleet: Fleet, base: BaseModel, german: BaseModel
) -> None:
    fleet.start("a", "b", "c")
    fleet.start("g", base=str(german.path))
    voices = [*fleet.publish(base, ENGLISH), *fleet.publish(german, GERMAN)]
    drawn = np.random.default_rng(0).choice(len(voices), SESSIONS, p=zipf(len(voices)))
    sessions = [talk.session(voices[of], seed) for seed, of in enumerate(drawn)]
    exits: list[int] = []

    def is_in_the_middle(session: Session, of: str) -> bool:
        """Whether it is heard through one node from another, and has most of its words to come."""
        fronts, url = session.fronts[-1:], fleet.nodes[of].url.removeprefix("http://")
        is_early = 4096 < len(session.pcm) < talk.WORDS * 4096
        return is_early and fronts != [url] and session.nodes[-1:] == [number(of, 6)]

    async def kill() -> None:
        async with asyncio.timeout(60):
            while not any(is_in_the_middle(session, "b") for session in sessions):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        fleet.kill("b")

    async def drain() -> None:
        exits.append(await asyncio.to_thread(fleet.nodes["c"].stop))

    await talked(
        sessions,
        fleet,
        {
            20: lambda: asyncio.to_thread(fleet.start, "d"),
            60: kill,
            110: drain,
        },
    )
    assert not [session.wrong for session in sessions if session.wrong]
    assert not [(session.seed, session.missed) for session in sessions if session.missed]
    assert exits == [0]
    names = {number(name, 6): name for name in fleet.nodes}
    spoke = [[names[node] for node in session.nodes] for session in sessions]
    assert {name for each in spoke for name in each} == set(fleet.nodes)
    # Only a node that was killed gives a session away: no join takes one, and no drain.
    moved = [each for each in spoke if len(each) > 1]
    assert moved
    assert {name for each in moved for name in each[:-1]} == fleet.killed
    address = {name: node.url.removeprefix("http://") for name, node in fleet.nodes.items()}
    broken = {front for session in sessions for front in session.fronts[:-1]}
    assert broken <= {address[name] for name in fleet.killed}
    unanswered = {front for session in sessions for front in session.unanswered}
    assert unanswered <= {address[name] for name in (*fleet.killed, "c")}
