"""What a node counts, in Prometheus's text format.

Names end in their unit, counters in `_total`. What only has to be looked at (streams of each
adapter, the ring) is set when the figures are asked for, by `app`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)

from orpheus_clone.errors import Busy, DataError
from orpheus_clone.serve import tracing
from orpheus_clone.speech import Chunk
from orpheus_clone.tokens import SAMPLE_RATE

_PREFIX = "orpheus_clone_"
_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)


class Metrics:
    """The figures of one node."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.info = self._info("node", "What runs here.")
        self.is_ready = self._gauge("ready", "1 while the node takes new sessions, 0 otherwise.")
        self.live_sessions = self._gauge(
            "live_sessions", "Sessions that have their seat here, silent sockets among them."
        )
        self.streams = self._gauge("streams", "Texts being spoken here, of the stream capacity.")
        self.capacity = self._gauge(
            "stream_capacity", "Streams that this node could speak in real time, as it measured."
        )
        self.first_audio = self._histogram(
            "first_audio_seconds", "From the first of a text that is to be spoken to its sound."
        )
        self.audio = self._counter("audio_seconds", "Sound made here.")
        self.tokens = self._counter("tokens", "Tokens that the engine made for sessions.")
        self.underruns = self._counter(
            "underruns", "Times that a listener who plays at once ran dry within an utterance."
        )
        self._voice_sessions = self._counter(
            "voice_sessions",
            "Sessions of a published voice that took their seat here; arm is current or canary.",
            "bundle",
            "arm",
        )
        self._voice_utterances = self._counter(
            "voice_utterances",
            "Utterances of a published voice, by how they ended: stop is well; error is not.",
            "bundle",
            "arm",
            "ending",
        )
        self.rejected = self._counter(
            "rejected",
            "Requests and sockets that were refused, by error or status; Busy found no room.",
            "reason",
        )
        self.proxied = self._counter("proxied", "Times that a session took its seat elsewhere.")
        self.proxy_hop = self._histogram(
            "proxy_hop_seconds", "Until another node has taken a session, or refused it."
        )
        self.moved = self._counter(
            "sessions_moved", "Times that a session left its node, which had failed or was full."
        )
        self.adapter_slots = self._gauge("adapter_slots", "Adapters that the engine holds at most.")
        self.adapter_streams = self._gauge(
            "adapter_streams", "Texts being spoken with each adapter in the engine.", "bundle"
        )
        self.adapter_loads = self._histogram(
            "adapter_load_seconds", "Of an adapter into the engine."
        )
        self.adapter_evictions = self._counter(
            "adapter_evictions", "Adapters that made room for another."
        )
        self.nodes = self._gauge("nodes", "Nodes with this one's base and language, itself too.")
        self.ring_version = self._gauge(
            "ring_version",
            "Of the fleet's members; nodes that differ for long do not hear from one registry.",
        )

    def seated(self, bundle: str | None, arm: str) -> None:
        """Count a session, if a published voice is to speak in it."""
        if bundle is not None:
            self._voice_sessions.labels(bundle, arm).inc()

    @contextmanager
    def utterances(self, bundle: str | None, arm: str) -> Iterator[Callable[[str], None]]:
        """The callable is told how each ended; of an error that is none of the voice's, nobody."""

        def ended(how: str) -> None:
            if bundle is not None:
                self._voice_utterances.labels(bundle, arm, how).inc()

        try:
            yield ended
        except (Busy, DataError):
            raise
        except Exception:
            ended("error")
            raise

    def text(self) -> bytes:
        """All figures, in Prometheus's text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}{name}", about, labels, registry=self._registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}{name}", about, labels, registry=self._registry)

    def _histogram(self, name: str, about: str) -> Histogram:
        return Histogram(f"{_PREFIX}{name}", about, buckets=_SECONDS, registry=self._registry)

    def _info(self, name: str, about: str) -> Info:
        return Info(f"{_PREFIX}{name}", about, registry=self._registry)


class Hearing:
    """What is counted of the sound of one session, as a listener would hear who plays at once."""

    def __init__(
        self,
        metrics: Metrics,
        began: Callable[[], float],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`began` is when the first of the text was there to be spoken, by the same clock."""
        self._metrics, self._began, self._clock = metrics, began, clock
        self._came_at = 0.0
        self._plays_until: float | None = None
        """None before an utterance has sounded: waiting for text is no underrun."""
        self.has_sounded = False

    def take(self, chunk: Chunk) -> None:
        """A chunk that has just been made."""
        self._came_at = self._clock()
        self._metrics.tokens.inc(chunk.tokens)
        self._metrics.audio.inc(len(chunk.samples) / SAMPLE_RATE)
        if len(chunk.samples):
            self._sound(len(chunk.samples) / SAMPLE_RATE)
        if chunk.finish is not None:
            self._plays_until = None

    def taken(self) -> None:
        """The listener has taken it: what he held up did not come late."""
        if self._plays_until is not None:
            self._plays_until += self._clock() - self._came_at

    def _sound(self, seconds: float) -> None:
        now = self._came_at
        if not self.has_sounded:
            self.has_sounded = True
            waited_s = now - self._began()
            self._metrics.first_audio.observe(waited_s)
            tracing.lasted("first audio", waited_s)
        if self._plays_until is not None and now > self._plays_until:
            self._metrics.underruns.inc()
        self._plays_until = max(now, self._plays_until or now) + seconds
