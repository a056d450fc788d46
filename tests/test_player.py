"""The simulated listener: when it plays, and what it missed."""

import numpy as np
import pytest

from orpheus_clone.player import Player

SECOND = np.ones(24_000, np.float32)


def heard(*times: float) -> Player:
    """A second of sound comes at each of the times."""
    player = Player()
    for now in times:
        player.now = now
        player.take(SECOND)
    return player


def test_waiting_for_the_first_sound_is_no_underrun() -> None:
    assert (heard(5.0).underruns, heard(5.0).starved_s) == (0, 0)


def test_sound_that_comes_in_time_plays_on() -> None:
    player = heard(1.0, 1.5, 3.0)
    assert (player.underruns, player.plays_until) == (0, 4.0)
    assert len(player.samples) == 3 * 24_000


def test_sound_that_comes_late_was_missed_until_then() -> None:
    player = heard(1.0, 2.25, 3.0, 5.0)
    assert player.underruns == 2
    assert player.starved_s == pytest.approx(0.25 + 0.75)
    assert player.plays_until == 6.0


def test_nothing_that_comes_is_not_played() -> None:
    player = heard(1.0)
    player.now = 9.0
    player.take(SECOND[:0])
    assert player.underruns == 0
