"""ring: who speaks what in a fleet, beside uhashring and the best figures that others state.

The ring and the placement are the ones that a node runs; only the sessions are made up
(`bench.sessions`). uhashring is a consistent hash from PyPI: MD5, 160 places a node unless told
otherwise, no cap. What it would make of the same voices and sessions is measured in the same run.
Others are, for sessions, bounded loads with c = 1.25, and 1024 places a node for the key space.

Microseconds and milliseconds are of this machine, the shortest of many rounds, taking turns.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from orpheus_clone.bench import Result
from orpheus_clone.bench.decode import best_of
from orpheus_clone.bench.sessions import Fleet, Outcome, Scenario, node_names, voice_names
from orpheus_clone.cluster.ring import VIRTUAL_NODES, Ring
from orpheus_clone.errors import MachineError

FLEETS = (8, 16)
LARGE = 1_000
TRIALS = 200
"""Rings of other node names, for each size; uhashring's are slow to build, and fewer."""
UHASHRING_TRIALS = 40
KEYS = 20_000
UHASHRING_PLACES = 160
"""Of each node, unless it is told otherwise."""
LOOKUPS = 2_000
ROUNDS = 60
SEEDS = range(3)
REPORTED = Scenario(nodes=8, voices=100, live=1_600, sessions=10_000)
"""Of the line; fewer voices need more placements each."""
SCENARIOS = (
    Scenario(nodes=8, voices=50, live=1_600, sessions=10_000),
    REPORTED,
    Scenario(nodes=8, voices=1_000, live=1_600, sessions=10_000),
    Scenario(nodes=16, voices=300, live=3_200, sessions=20_000),
    Scenario(nodes=8, voices=100, live=1_600, sessions=10_000, fronts=8),
    Scenario(nodes=16, voices=300, live=3_200, sessions=20_000, fronts=16),
)
MILLION = Scenario(nodes=LARGE, voices=20_000, live=100_000, sessions=1_000_000)

Row = dict[str, Any]
_Array = np.ndarray[Any, Any]


def run() -> Result:
    """Keys: 95th percentile of the key space; worst of live sessions and placements."""
    key_space = key_space_rows()
    moved_keys, needless_keys = moved_key_rows()
    moved_sessions, needless_sessions = moved_session_rows(REPORTED)
    played = {scenario: play(scenario, SEEDS) for scenario in SCENARIOS}
    played[MILLION] = play(MILLION, SEEDS[:1])
    lookups, lookup_us, speedup = lookup_rows()
    balance = [balance_row(scenario, outcomes) for scenario, outcomes in played.items()]
    for scenario in (REPORTED, MILLION):
        us = worst(played[scenario], "us_per_session")
        balance.append(_row("place and end a session, us", f"{scenario.nodes} nodes", ours=us))
    line = {
        "bench": "ring",
        "keyspace_max_over_mean": max(row["ours"] for row in key_space[: len(FLEETS)]),
        "zipf_max_over_mean": worst(played[REPORTED], "max_over_mean"),
        "placements_per_voice": worst(played[REPORTED], "placements_per_voice"),
        "needless_moves": needless_keys + needless_sessions,
        "lookup_us": lookup_us,
        "lookup_speedup_vs_uhashring": speedup,
    }
    moved = moved_keys + moved_sessions
    return Result(key_space + balance + moved + lookups + change_rows(), line)


def key_space_rows() -> list[Row]:
    """How even the ring alone is."""
    rows = [
        _row(
            "key space, max/mean, p95",
            f"{nodes} nodes",
            bar="<= 1.05",
            others="1.08",
            uhashring=_p95([_uhashring_fullest(nodes, trial) for trial in range(UHASHRING_TRIALS)]),
            ours=_p95([_fullest(nodes, trial) for trial in range(TRIALS)]),
        )
        for nodes in FLEETS
    ]
    theirs, ours = _uhashring_fullest(LARGE, 0), _fullest(LARGE, 0)
    large = _row(
        "key space, max/mean", f"{LARGE} nodes", uhashring=_short(theirs), ours=_short(ours)
    )
    return [*rows, large]


def play(scenario: Scenario, seeds: Sequence[int]) -> list[Outcome]:
    """A scenario, once for each seed; what a hash alone would do is uhashring's."""
    nodes = node_names(scenario.nodes)
    ring = _uhashring(nodes)
    owners = [nodes.index(ring.get_node(voice)) for voice in voice_names(scenario.voices)]
    return [Fleet(scenario, owners, seed).run() for seed in seeds]


def balance_row(scenario: Scenario, outcomes: Sequence[Outcome]) -> Row:
    """How even live sessions are, and at how many placements a voice."""
    fleet = f"{scenario.nodes} nodes, {scenario.voices} voices, {scenario.live} live"
    fleet += f", {scenario.fronts} fronts" if scenario.fronts > 1 else ""
    has_bar = scenario.nodes == 8 and scenario.fronts == 1
    placements = worst(outcomes, "placements_per_voice")
    return _row(
        "sessions, max/mean at placements a voice",
        fleet,
        bar="1.10 at 1.35" if has_bar else "",
        others="1.25 at 1.17" if has_bar else "",
        uhashring=f"{worst(outcomes, 'hash_max_over_mean')} at 1",
        ours=f"{worst(outcomes, 'max_over_mean')} at {placements}",
    )


def moved_key_rows() -> tuple[list[Row], int]:
    """Voices whose owner changes when a ninth node joins or leaves; how many of them need not."""
    nodes, keys = node_names(9), voice_names(KEYS)
    few, many = _uhashring(nodes[:8]), _uhashring(nodes)
    theirs = _moves([few.get_node(key) for key in keys], [many.get_node(key) for key in keys])
    eight, nine = Ring(nodes[:8]), Ring(nodes[:8]).with_nodes(nodes)
    ours = _moves([eight.owner(key) for key in keys], [nine.owner(key) for key in keys])
    again = nine.with_nodes(nodes[:8])
    ours[1] += sum(again.owner(key) != eight.owner(key) for key in keys)
    fleet = f"8 and 9 nodes, {KEYS} voices"
    share, their_share = round(ours[0] / KEYS, 3), round(theirs[0] / KEYS, 3)
    rows = [
        _row("voices moved, join or leave", fleet, "0.111", "0.111", their_share, share),
        _row("voices moved needlessly", fleet, "0", "0", theirs[1], ours[1]),
    ]
    return rows, ours[1]


def moved_session_rows(scenario: Scenario) -> tuple[list[Row], int]:
    """Live sessions that move though their node stays, the cap on; each node leaves and joins."""
    fleet = Fleet(scenario, [0] * scenario.voices)
    fleet.run()
    on_leave, on_join = fleet.needless_moves()
    size = f"{scenario.nodes} nodes, {scenario.live} live, each node once"
    rows = [
        _row("live sessions moved by a leave, but orphans", size, "0", "0", ours=on_leave),
        _row("live sessions moved by a join", size, "0", "0", ours=on_join),
    ]
    return rows, on_leave + on_join


def lookup_rows() -> tuple[list[Row], float, float]:
    """The owner of a voice, in us; ours and the speed-up of 8 nodes, in places as even as ours."""
    keys, rows = voice_names(LOOKUPS), []
    for nodes, theirs_in in ((8, VIRTUAL_NODES), (8, UHASHRING_PLACES), (LARGE, UHASHRING_PLACES)):
        names = node_names(nodes)
        us = _us_each(keys, _uhashring(names, theirs_in).get_node, Ring(names).owner)
        fleet = f"{nodes} nodes, uhashring's {theirs_in} places"
        rows.append(_row("lookup, us", fleet, "<= 2", "10", *(round(each, 2) for each in us)))
    return rows, rows[0]["ours"], round(rows[0]["uhashring"] / rows[0]["ours"], 2)


def change_rows() -> list[Row]:
    """What a large fleet's ring costs, ms."""
    names = node_names(LARGE)
    ring, theirs = Ring(names), _uhashring(names)

    def add_and_remove() -> None:
        theirs.add_node("joiner")
        theirs.remove_node("joiner")

    built, joined, left = best_of(
        3,
        lambda: Ring(names),
        lambda: ring.with_nodes([*names, "joiner"]),
        lambda: ring.with_nodes(names[1:]),
    )
    their_built, their_change = best_of(3, lambda: _uhashring(names), add_and_remove)
    fleet = f"{LARGE} nodes, {VIRTUAL_NODES} places each, uhashring's {UHASHRING_PLACES}"
    return [
        _row("ring built, ms", fleet, uhashring=_ms(their_built), ours=_ms(built)),
        _row(
            "a node joins and leaves, ms",
            fleet,
            uhashring=_ms(their_change),
            ours=_ms(joined + left),
        ),
    ]


def worst(outcomes: Sequence[Outcome], figure: str) -> float:
    """The highest of a figure."""
    return _short(max(getattr(outcome, figure) for outcome in outcomes))


def shares(places: _Array, owners: _Array) -> _Array:
    """Each node's part of the key space over the mean, from sorted places, 0 to 1; (nodes,)."""
    before = np.concatenate([places[-1:] - 1, places[:-1]])
    part = np.bincount(owners, weights=places - before)
    return np.asarray(part / part.mean())


def _fullest(nodes: int, trial: int) -> float:
    ring = Ring(_trial_names(nodes, trial))
    return float(shares(ring.places / 2**64, ring.owners).max())


def _uhashring_fullest(nodes: int, trial: int) -> float:
    names = _trial_names(nodes, trial)
    numbers = {name: number for number, name in enumerate(names)}
    points = _uhashring(names).get_points()
    places = np.array([at / 2**128 for at, _ in points])
    return float(shares(places, np.array([numbers[name] for _, name in points])).max())


def _trial_names(nodes: int, trial: int) -> list[str]:
    return [f"trial-{trial}-{name}" for name in node_names(nodes)]


def _moves(before: Sequence[str], after: Sequence[str]) -> list[int]:
    """How many keys have another owner, and how many of those neither had nor have the ninth."""
    ninth = node_names(9)[8]
    moved = [(b, a) for b, a in zip(before, after, strict=True) if b != a]
    return [len(moved), sum(ninth not in pair for pair in moved)]


def _us_each(keys: list[str], *finders: Callable[[str], str]) -> list[float]:
    def look(find: Callable[[str], str]) -> Callable[[], object]:
        return lambda: [find(key) for key in keys]

    return [1e6 * seconds / len(keys) for seconds in best_of(ROUNDS, *map(look, finders))]


def _row(
    measure: str,
    fleet: str,
    bar: str = "",
    others: str = "",
    uhashring: object = "",
    ours: object = "",
) -> Row:
    return {
        "measure": measure,
        "fleet": fleet,
        "bar": bar,
        "others": others,
        "uhashring": uhashring,
        "ours": ours,
    }


def _uhashring(nodes: list[str], places: int = UHASHRING_PLACES) -> Any:
    try:
        from uhashring import HashRing
    except ImportError:
        raise MachineError(
            "the bench ring measures beside uhashring; install it: pip install uhashring==2.5"
        ) from None
    return HashRing(nodes, vnodes=places)


def _p95(ratios: Sequence[float]) -> float:
    return _short(float(np.percentile(ratios, 95)))


def _short(ratio: float) -> float:
    return round(float(ratio), 3)


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)
