"""What is counted of a session's sound, and what the figures are called."""

import asyncio
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from orpheus_clone.cluster.ring import Ring
from orpheus_clone.errors import Busy, EngineError, TextError
from orpheus_clone.models import BaseModel
from orpheus_clone.serve.metrics import Hearing, Metrics
from orpheus_clone.speech import Chunk
from orpheus_clone.store import open_store
from orpheus_clone.tokens import SAMPLE_RATE
from tests.serve.neighbours import Neighbour, neighbours, publish
from tests.serve.talking import eventually


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


def test_what_a_listener_holds_up_himself_is_no_underrun() -> None:
    session = Session()
    session.hears(0.0, 0.5)
    session.now = 60.0
    session.hearing.taken()
    assert session.hears(60.25, 0.5) == 0
    assert session.hears(61.25, 0.5) == 1


@pytest.mark.parametrize(
    ("error", "ends"),
    [(EngineError("x"), 1), (RuntimeError("CUDA"), 1), (Busy("x"), 0), (TextError("x"), 0)],
)
def test_an_utterance_fails_by_what_is_wrong_with_it_and_not_for_want_of_room(
    error: Exception, ends: int
) -> None:
    metrics = Metrics()
    with pytest.raises(type(error)), metrics.utterances("jack@0", "current"):
        raise error
    assert metrics.text().decode().count('ending="error"} 1.0') == ends


TEXT = "a bird sang in the old tree"
VOICES = [v for v in map("v{}".format, range(99)) if Ring(["a", "b"]).owner(v) == "a"][:2]


class Figures:
    """What a node gives, by name and labels, and which of it was asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.given: dict[str, dict[str, float]] = {}

    async def look(self, http: httpx.AsyncClient, nodes: dict[str, Neighbour]) -> None:
        for name, node in nodes.items():
            text = (await http.get(f"http://{node.address}/metrics")).text
            self.given[name] = {
                sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): (
                    sample.value
                )
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }

    def __call__(self, figure: str, *nodes: str) -> list[float]:
        """Of each node, 0 where it gives none; "a" and "b" where none is named."""
        self.asked.add(re.sub("_(total|count)$", "", figure.split()[0]))
        return [self.given[node].get(f"orpheus_clone_{figure}", 0.0) for node in nodes or "ab"]


async def test_every_figure_counts_what_it_says(
    base: BaseModel, tmp_path: Path, families: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.serve.neighbours.SLOTS", 1)
    for voice in VOICES:
        publish(base, tmp_path, voice)
    store = open_store(str(tmp_path / "store"))
    first, second = (store.pointer(voice).current for voice in VOICES)
    figures, heard = Figures(), dict.fromkeys("ab", 0.0)
    async with (
        neighbours(base, tmp_path, ["a", "b"]) as nodes,
        httpx.AsyncClient(timeout=20) as http,
    ):

        async def ask(node: str, voice: str, text: str = TEXT) -> None:
            body = {"model": "nano", "input": text, "voice": voice, "response_format": "pcm"}
            url = f"http://{nodes[node].address}/v1/audio/speech"
            answer = await http.post(url, json=body)
            if answer.status_code == 200:
                speaker = answer.headers["x-orpheus-clone-node"]
                heard[speaker] += len(answer.content) / 2 / SAMPLE_RATE

        await ask("a", VOICES[0])
        await ask("b", VOICES[0])
        await ask("a", VOICES[1])
        await ask("a", "nobody")
        await ask("a", VOICES[0], "x" * 5000)
        await figures.look(http, nodes)
        assert figures("ready") == [1, 1]
        assert figures("nodes") == [2, 2]
        assert figures("ring_version", "a") == figures("ring_version", "b") > [0]
        assert figures("stream_capacity") == [n.node.admission.capacity for n in nodes.values()]
        assert figures("audio_seconds_total") == pytest.approx(list(heard.values()), abs=1e-6)
        assert figures("tokens_total") == [7 * node.engine.made for node in nodes.values()]
        assert figures("first_audio_seconds_count") == [3, 0]
        assert figures("proxied_total") == figures("proxy_hop_seconds_count") == [0, 1]
        assert figures("adapter_slots") == [1, 1]
        assert figures("adapter_load_seconds_count") == [2, 0]
        assert figures("adapter_evictions_total") == [1, 0]
        assert figures("rejected_total UnknownVoice") == [1, 0]
        assert figures("rejected_total 400") == [1, 0]
        assert figures(f"voice_sessions_total current {first}") == [2, 0]
        assert figures(f"voice_sessions_total current {second}") == [1, 0]
        nodes["a"].engine.goes_on.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask("b", VOICES[1]))
            await eventually(lambda: nodes["a"].engine.open, "it speaks")
            await figures.look(http, nodes)
            assert figures("live_sessions") == figures("streams") == [1, 0]
            assert figures(f"adapter_streams {second}") == [1, 0]
            nodes["a"].engine.lives = False
            nodes["a"].engine.goes_on.set()
        await figures.look(http, nodes)
    assert figures("ready") == [0, 1]
    assert figures("sessions_moved_total") == [0, 1]
    assert figures(f"voice_utterances_total current {first} stop") == [2, 0]
    assert figures(f"voice_utterances_total current {second} stop") == [1, 1]
    assert figures(f"voice_utterances_total current {second} error") == [1, 0]
    assert figures("live_sessions") == figures("streams") == [0, 0]
    ours = {name.removeprefix("orpheus_clone_") for name in families if name.startswith("orpheus")}
    left = {name for name in ours - figures.asked if not name.endswith("_created")}
    assert left == {"node_info", "underruns"}, "they have tests of their own"


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
