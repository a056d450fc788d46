"""Work that several ask for at once: begun once, until it has landed."""

from concurrent.futures import Future

import pytest

from orpheus_clone.serve.flights import Flights


def test_who_joins_while_it_flies_gets_the_same_flight() -> None:
    flights: Flights[int] = Flights(1)
    inside: list[Future[int]] = []

    def work() -> int:
        inside.append(flights.join("a", lambda: 2))
        return 1

    outer = flights.join("a", work)
    assert outer.result() == 1
    assert inside == [outer]
    assert flights.join("a", lambda: 3).result() == 3


def test_who_comes_after_it_was_left_begins_a_new_one() -> None:
    flights: Flights[int] = Flights(2)
    inside: list[int] = []

    def work() -> int:
        flights.leave("a")
        inside.append(flights.join("a", lambda: 2).result())
        return 1

    assert flights.join("a", work).result() == 1
    assert inside == [2]


def test_a_flight_that_fails_tells_everybody_and_the_next_may_try_again() -> None:
    flights: Flights[float] = Flights(1)
    with pytest.raises(ZeroDivisionError):
        flights.join("a", lambda: 1 / 0).result()
    assert "a" not in flights
    assert flights.join("a", lambda: 1.0).result() == 1.0
