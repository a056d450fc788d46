"""What is counted of a session's sound, and what the figures are called."""

import re

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from orpheus_clone.serve.metrics import Hearing, Metrics
from orpheus_clone.speech import Chunk
from orpheus_clone.tokens import SAMPLE_RATE


class Session:
    """A session in which chunks come when the test says."""

    def __init__(self) -> None:
        self.now = 0.0
        self.metrics = Metrics()
        self.hearing = Hearing(self.metrics, lambda: 0.0, lambda: self.now)

    def hears(self, at: float, seconds: float, *, tokens: int = 7, is_end: bool = False) -> float:
        """A chunk comes `at` a time; returns the underruns until now."""
        self.now = at
        samples = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
        self.hearing.take(Chunk(samples, tokens, "stop" if is_end else None))
        return self.figure("orpheus_clone_underruns_total")

    def figure(self, name: str) -> float:
        found = re.search(rf"^{name} (\S+)$", self.metrics.text().decode(), re.MULTILINE)
        assert found is not None, name
        return float(found.group(1))


def test_the_first_samples_are_the_first_audio_and_only_they() -> None:
    session = Session()
    session.hears(0.25, 0.0)
    assert session.figure("orpheus_clone_first_audio_seconds_count") == 0
    session.hears(0.5, 1.0)
    session.hears(0.75, 1.0)
    assert session.figure("orpheus_clone_first_audio_seconds_count") == 1
    assert session.figure("orpheus_clone_first_audio_seconds_sum") == 0.5
    assert session.figure("orpheus_clone_audio_seconds_total") == 2.0
    assert session.figure("orpheus_clone_tokens_total") == 21


def test_sound_that_comes_after_all_before_it_was_played_is_an_underrun() -> None:
    session = Session()
    assert session.hears(1.0, 0.5) == 0
    assert session.hears(1.5, 0.5) == 0
    assert session.hears(2.25, 0.5) == 1
    assert session.hears(2.5, 0.5) == 1, "it plays on from where it ran dry"
    assert session.hears(3.5, 0.5) == 2


def test_waiting_for_the_text_of_the_next_utterance_is_no_underrun() -> None:
    session = Session()
    session.hears(0.0, 0.5)
    session.hears(0.25, 0.0, is_end=True)
    assert session.hears(60.0, 0.5) == 0
    assert session.hears(61.0, 0.5) == 1


@pytest.fixture
def families() -> dict[str, str]:
    text = Metrics().text().decode()
    return {family.name: family.type for family in text_string_to_metric_families(text)}


def test_the_names_keep_prometheus_conventions(families: dict[str, str]) -> None:
    ours = {name: kind for name, kind in families.items() if name.startswith("orpheus_clone_")}
    assert len(ours) > 10
    assert all(name.startswith("process_") for name in families.keys() - ours.keys())
    for name, kind in ours.items():
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", name)
        assert not name.endswith(("_ms", "_total_total")), name
        assert kind != "histogram" or name.endswith("_seconds"), name
