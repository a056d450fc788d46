"""The bench serve: its line has the figures that are asked for, and they are of real nodes."""

import pytest

from orpheus_clone.bench import serve
from orpheus_clone.bench.serving import Heard, Pace
from tests.bench.test_bench import last_line
from tests.commands import run

ADDED = {f"proxy_added_{name}ms_p{q}" for name in ("", "http_", "open_") for q in (50, 95)}
CROWD = {"idle_sockets", "idle_kib", "speaking_sessions", "speaking_kib", "speaking_rate_p50"}
CROWD |= {"speaking_rate_p1", "speaking_first_audio_ms_p50", "speaking_underruns"}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few of everything."""
    monkeypatch.setattr(serve, "PACE", Pace(1_000.0, 6))
    monkeypatch.setattr(serve, "SESSIONS", (1, 3))
    monkeypatch.setattr(serve, "TURNS", 2)
    monkeypatch.setattr(serve, "FEWEST_TURNS", 1)
    monkeypatch.setattr(serve, "PAIRS", 4)
    monkeypatch.setattr(serve, "WARM_UPS", 1)
    monkeypatch.setattr(serve, "IDLE", 6)
    monkeypatch.setattr(serve, "SPEAKING", 3)
    monkeypatch.setattr(serve, "PLAYED", Pace(500.0, 6))


def test_a_table_and_a_line_say_what_server_proxy_and_crowd_take(
    small: None, own_cache: object
) -> None:
    done = run("bench", "serve")
    assert done.code == 0, done.err
    line = last_line(done.out)
    overhead = {"first_audio_overhead_ms_p50", "first_audio_overhead_ms_p50_3"}
    kept = {"tokens_per_second_kept_1", "tokens_per_second_kept_3"}
    assert set(line) == {"bench", "hardware"} | overhead | kept | ADDED | CROWD
    assert line["first_audio_overhead_ms_p50"] > 0
    assert 0 < line["tokens_per_second_kept_3"] < 2
    assert (line["idle_sockets"], line["speaking_sessions"]) == (6, 3)
    assert line["speaking_rate_p50"] >= line["speaking_rate_p1"] > 0
    for path in ("bare", "server", "proxy"):
        assert path in done.out


def test_what_was_heard_gives_the_wait_and_the_rate() -> None:
    heard = Heard(at_s=[0.5, 1.5, 2.5], samples=[2048, 4096, 4096])
    assert heard.first_ms == 500
    assert heard.rate == 4 * 7 / 2
    assert serve._played(heard).underruns == 2
