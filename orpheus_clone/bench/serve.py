"""serve: what our server adds to an engine, and what a second node adds to the first.

The engine is scripted: its tokens come at a set pace and cost nothing, and neither does the codec
(`bench.paced`), so what is measured is the node: HTTP, text, prompt, the stream's state, encoding.

    bare        the engine alone, in this process: until a frame is there, and its tokens a second
    server      the same, as a client on this machine hears it
    proxy       the same request at the node that holds the voice and at another one, in turns
    idle        sockets that are open and silent, and what memory of the node each takes
    speaking    sockets that all speak at once, as fast as sound is played and a little faster

Times are of this machine; the nodes have a process of their own (`bench.serving`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection

from orpheus_clone.bench import Result
from orpheus_clone.bench.paced import PacedEngine
from orpheus_clone.bench.serving import Heard, Pace, Served, ask, nodes, say, socket
from orpheus_clone.engine.base import Request, hardware_name
from orpheus_clone.errors import NodeError
from orpheus_clone.player import Player
from orpheus_clone.recipe import Sampling
from orpheus_clone.tokens import FRAME, FRAME_SAMPLES

PACE = Pace(rate=100.0, frames=16)
"""Of a card that is well used (90 to 100 are aimed at); 1.4 s of sound."""
SESSIONS = (1, 8, 32)
TURNS = 16
FEWEST_TURNS = 4
"""Where many sessions at once make figures enough."""
AT_ONCE = Pace(rate=float("inf"), frames=2)
"""For what the proxy adds: nobody waits for a timer."""
PAIRS = 150
WARM_UPS = 5
IDLE = 1_000
SPEAKING = 200
PLAYED = Pace(rate=90.0, frames=60)
"""A tenth faster than sound is played; 5 s of it."""
MEMORY_SECONDS = 0.25

Row = dict[str, Any]


def run() -> Result:
    """Keys: see `_overhead`, `_proxy` and `_crowd`."""
    return asyncio.run(_run())


async def _run() -> Result:
    rows: list[Row] = []
    line: dict[str, Any] = {"bench": "serve", "hardware": hardware_name()}
    with nodes(1, PACE) as served:
        line |= await _overhead(served, rows)
    with nodes(2, AT_ONCE) as served:
        line |= await _proxy(served, rows)
    with nodes(1, PLAYED) as served:
        line |= await _crowd(served, rows)
    return Result(rows, line)


async def _overhead(served: Served, rows: list[Row]) -> dict[str, Any]:
    """first_audio_overhead_ms_p50 (of one session, and _8, _32), tokens_per_second_kept_N."""
    (address,) = served.addresses
    engine, line = PacedEngine(PACE.rate, PACE.frames), dict[str, Any]()
    for count in SESSIONS:
        bare, server = await _in_turns(count, lambda: _bare(engine), lambda: ask(address))
        for path, heard in (("bare", bare), ("server", server)):
            rows.append(_row("first audio, ms", path, count, [one.first_ms for one in heard]))
            rows.append(_row("tokens/s", path, count, [one.rate for one in heard]))
        suffix = "" if count == 1 else f"_{count}"
        added = _median([one.first_ms for one in server]) - _median([one.first_ms for one in bare])
        line[f"first_audio_overhead_ms_p50{suffix}"] = round(added, 2)
        kept = _median([one.rate for one in server]) / _median([one.rate for one in bare])
        line[f"tokens_per_second_kept_{count}"] = round(kept, 3)
    return line


async def _in_turns(
    count: int, *paths: Callable[[], Awaitable[Heard]]
) -> tuple[list[Heard], list[Heard]]:
    """`count` sessions at once down each path, one path after the other, some times."""
    heard: tuple[list[Heard], list[Heard]] = ([], [])
    for turn in range(1 + max(FEWEST_TURNS, TURNS // count)):
        for path, into in zip(paths, heard, strict=True):
            several = await asyncio.gather(*[path() for _ in range(count)])
            if turn:  # the first is slow
                into.extend(several)
    return heard


async def _bare(engine: PacedEngine) -> Heard:
    """What the engine gives, as samples that a codec would make of its frames."""
    heard, left = Heard(), 0
    request = Request([1], Sampling(), PACE.frames)
    async with aclosing(engine.generate(request)) as deltas:
        async for delta in deltas:
            frames, left = divmod(left + len(delta.tokens), FRAME)
            heard.take(bytes(2 * FRAME_SAMPLES * frames))
    return heard


async def _proxy(served: Served, rows: list[Row]) -> dict[str, Any]:
    """proxy_added_ms_p50 and _p95: to the first sound, over a socket; …_http_…, …_open_…."""
    straight, around = await _routes(served)
    line: dict[str, Any] = {}
    for name, session in (("", _said_ms), ("http_", _asked_ms), ("open_", _opened_ms)):
        added = await _differences(session, straight, around)
        what = {"": "socket, to first audio", "http_": "HTTP, to first audio", "open_": "handshake"}
        rows.append(_row(f"added by the proxy, ms: {what[name]}", "proxy", 1, added))
        line[f"proxy_added_{name}ms_p50"] = rows[-1]["p50"]
        line[f"proxy_added_{name}ms_p95"] = rows[-1]["p95"]
    return line


async def _routes(served: Served) -> tuple[str, str]:
    """The addresses of the node that holds the voice, and of the other."""
    speaks = {(await ask(address)).node for address in served.addresses}
    if len(speaks) != 1:
        raise NodeError(f"one session after the other was spoken by {sorted(speaks)}, not by one")
    first, second = served.addresses
    return (first, second) if speaks == {"node-0"} else (second, first)


async def _differences(
    session: Callable[[str], Awaitable[float]], straight: str, around: str
) -> list[float]:
    """What the way around takes longer, pair by pair; which is first changes."""
    added = []
    for pair in range(WARM_UPS + PAIRS):
        order = (straight, around) if pair % 2 else (around, straight)
        took = {address: await session(address) for address in order}
        added.append(took[around] - took[straight])
    return added[WARM_UPS:]


async def _asked_ms(address: str) -> float:
    return (await ask(address)).first_ms


async def _said_ms(address: str) -> float:
    async with socket(address) as connection:
        return (await say(connection)).first_ms


async def _opened_ms(address: str) -> float:
    began = perf_counter()
    async with socket(address):
        return 1000 * (perf_counter() - began)


async def _crowd(served: Served, rows: list[Row]) -> dict[str, Any]:
    """idle_kib, speaking_kib (of the node's memory, each), speaking_rate_p1, speaking_underruns."""
    (address,) = served.addresses
    memory = _Memory(served.process)
    await asyncio.gather(*[ask(address) for _ in range(2 * WARM_UPS)])
    before = memory.now_kib()
    async with AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(socket(address)) for _ in range(IDLE)]
        idle_kib = (memory.now_kib() - before) / IDLE
        before = memory.now_kib()
        heard, most = await memory.most_while(_all_say(idle[:SPEAKING]))
    rates = [one.rate for one in heard]
    underruns = sum(_played(one).underruns for one in heard)
    speaking_kib = (most - before) / SPEAKING
    rows.append(_row("memory of an idle socket, KiB", "server", IDLE, [idle_kib]))
    rows.append(_row("more memory while it speaks, KiB", "server", SPEAKING, [speaking_kib]))
    rows.append(_row("tokens/s while all speak", "server", SPEAKING, rates))
    return {
        "idle_sockets": IDLE,
        "idle_kib": round(idle_kib, 1),
        "speaking_sessions": SPEAKING,
        "speaking_kib": round(speaking_kib, 1),
        "speaking_rate_p50": round(_median(rates), 1),
        "speaking_rate_p1": round(float(np.percentile(rates, 1)), 1),
        "speaking_first_audio_ms_p50": round(_median([one.first_ms for one in heard]), 1),
        "speaking_underruns": underruns,
    }


async def _all_say(sockets: Sequence[ClientConnection]) -> list[Heard]:
    return list(await asyncio.gather(*[say(one) for one in sockets]))


def _played(heard: Heard) -> Player:
    """A listener who began with the first sound."""
    player = Player()
    for at, samples in zip(heard.at_s, heard.samples, strict=True):
        player.now = at
        player.take(np.zeros(samples, np.float32))
    return player


@dataclass(frozen=True)
class _Memory:
    """What a process has resident."""

    process: int

    def now_kib(self) -> float:
        """Now."""
        import psutil

        return float(psutil.Process(self.process).memory_info().rss) / 1024

    async def most_while(self, work: Awaitable[list[Heard]]) -> tuple[list[Heard], float]:
        """What the work brings, and the most memory that was seen meanwhile."""
        task, most = asyncio.ensure_future(work), 0.0
        while not task.done():
            await asyncio.wait([task], timeout=MEMORY_SECONDS)
            most = max(most, self.now_kib())
        return task.result(), most


def _row(measure: str, path: str, sessions: int, values: Sequence[float]) -> Row:
    p5, p50, p95 = np.percentile(values, (5, 50, 95)).round(2).tolist()
    figures = {"p5": p5, "p50": p50, "p95": p95}
    return {"measure": measure, "path": path, "sessions": sessions} | figures


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
