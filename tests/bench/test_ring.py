"""The bench ring: its figures are what they say, on fleets small enough to check."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from orpheus_clone.bench import ring
from orpheus_clone.bench.sessions import Fleet, Scenario, node_names, zipf
from orpheus_clone.cluster.placement import CAP_PERCENT
from tests.bench.test_bench import last_line
from tests.commands import run

SMALL = Scenario(nodes=4, voices=40, live=200, sessions=1_200)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few of everything."""
    monkeypatch.setattr(ring, "TRIALS", 3)
    monkeypatch.setattr(ring, "UHASHRING_TRIALS", 2)
    monkeypatch.setattr(ring, "LARGE", 30)
    monkeypatch.setattr(ring, "KEYS", 500)
    monkeypatch.setattr(ring, "LOOKUPS", 50)
    monkeypatch.setattr(ring, "ROUNDS", 2)
    monkeypatch.setattr(ring, "REPORTED", SMALL)
    monkeypatch.setattr(ring, "SCENARIOS", (SMALL, replace(SMALL, fronts=3)))
    monkeypatch.setattr(ring, "MILLION", replace(SMALL, nodes=6, sessions=900))


def test_the_line_has_the_figures_of_the_bars(small: None) -> None:
    line = run("bench", "ring", "--json").json
    assert set(line) == {
        "bench",
        "keyspace_max_over_mean",
        "zipf_max_over_mean",
        "placements_per_voice",
        "needless_moves",
        "lookup_us",
        "lookup_speedup_vs_uhashring",
    }
    assert line["needless_moves"] == 0
    assert 1 < line["keyspace_max_over_mean"] <= 1.06
    assert 1 < line["zipf_max_over_mean"] <= CAP_PERCENT / 100
    assert 1 <= line["placements_per_voice"] < SMALL.nodes
    assert line["lookup_us"] > 0
    assert line["lookup_speedup_vs_uhashring"] > 0


def test_the_table_sets_the_bar_the_best_of_others_uhashring_and_ours_side_by_side(
    small: None,
) -> None:
    done = run("bench", "ring")
    for column in ("measure", "fleet", "bar", "others", "uhashring", "ours"):
        assert column in done.out
    assert last_line(done.out)["bench"] == "ring"


def test_without_uhashring_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uhashring", None)
    done = run("bench", "ring", "--json")
    assert done.code == 7
    assert "pip install uhashring==2.5" in done.said


def test_a_nodes_share_is_what_lies_left_of_its_places() -> None:
    # a at 0.1 has what is right of 0.9 and left of 0.1; b has 0.4, a the rest up to 0.9.
    places, owners = np.array([0.1, 0.5, 0.9]), np.array([0, 1, 0])
    assert ring.shares(places, owners).tolist() == pytest.approx([1.2, 0.8])


def test_zipfs_second_voice_is_wanted_half_as_often_as_the_first() -> None:
    weights = zipf(100)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] / weights[1] == pytest.approx(2)
    assert weights[0] / weights[9] == pytest.approx(10)


def test_a_simulated_fleet_holds_its_live_sessions_under_the_cap() -> None:
    fleet = Fleet(SMALL, owners=[0] * SMALL.voices)
    outcome = fleet.run()
    assert 1 < outcome.max_over_mean <= CAP_PERCENT / 100
    assert outcome.hash_max_over_mean == SMALL.nodes
    assert 1 < outcome.placements_per_voice < 2
    where = [fleet.ask(seat) for seat in range(SMALL.live)]
    assert np.bincount(where).max() == pytest.approx(
        SMALL.live / SMALL.nodes * outcome.max_over_mean, rel=0.1
    )


def test_fronts_that_know_of_each_other_by_heartbeats_only_come_near_the_cap() -> None:
    apart = replace(SMALL, live=600, sessions=2_400, fronts=4)
    outcome = Fleet(apart, owners=[0] * apart.voices).run()
    assert outcome.max_over_mean < 1.25


class Restless(Fleet):
    """A fleet in which a session has another node whenever it asks."""

    asked = 0

    def ask(self, seat: int) -> int:
        self.asked += 1
        return self.asked % (self.scenario.nodes - 1)


def test_a_session_that_is_moved_though_its_node_stays_is_counted() -> None:
    fleet = Fleet(SMALL, owners=[0] * SMALL.voices)
    fleet.run()
    assert fleet.needless_moves() == (0, 0)
    restless = Restless(SMALL, owners=[0] * SMALL.voices)
    restless.run()
    assert all(moved > 0 for moved in restless.needless_moves())


def test_voices_that_change_between_nodes_that_stay_are_needless() -> None:
    ninth = node_names(9)[8]
    before = ["node-0", "node-1", "node-2", "node-3"]
    after = [ninth, "node-1", "node-3", "node-3"]
    assert ring._moves(before, after) == [2, 1]
