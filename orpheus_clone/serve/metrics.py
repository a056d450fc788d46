"""What a node counts, in Prometheus's text format."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from orpheus_clone.errors import OrpheusCloneError


class Metrics:
    """The figures of one node."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.sessions = Gauge(
            "orpheus_clone_sessions", "Utterances being spoken here.", registry=self._registry
        )
        self.first_audio = Histogram(
            "orpheus_clone_first_audio_seconds",
            "From request to the first samples.",
            buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10),
            registry=self._registry,
        )
        self.audio = Counter(
            "orpheus_clone_audio_seconds", "Sound made here.", registry=self._registry
        )
        self._voice_sessions = Counter(
            "orpheus_clone_voice_sessions",
            "Sessions that a published voice spoke in here; arm is current or canary.",
            ["bundle", "arm"],
            registry=self._registry,
        )
        self._voice_utterances = Counter(
            "orpheus_clone_voice_utterances",
            "Utterances of a published voice, by how they ended: stop is well; error is not.",
            ["bundle", "arm", "ending"],
            registry=self._registry,
        )
        self.rejected = Counter(
            "orpheus_clone_rejected",
            "Requests that were refused.",
            ["reason"],
            registry=self._registry,
        )
        self.proxied = Counter(
            "orpheus_clone_proxied",
            "Requests handed to the node that holds the voice.",
            registry=self._registry,
        )
        self.nodes = Gauge(
            "orpheus_clone_nodes", "Nodes on this one's ring.", registry=self._registry
        )
        self.ring_version = Gauge(
            "orpheus_clone_ring_version",
            "Of the fleet's members; nodes that differ for long do not hear from one registry.",
            registry=self._registry,
        )

    @contextmanager
    def voice(self, bundle: str | None, arm: str) -> Iterator[Callable[[str], None]]:
        """Count a session of a published voice; the callable is told how each utterance ended."""
        if bundle is None:
            yield lambda _: None
            return
        self._voice_sessions.labels(bundle, arm).inc()

        def ended(how: str) -> None:
            self._voice_utterances.labels(bundle, arm, how).inc()

        try:
            yield ended
        except OrpheusCloneError:
            ended("error")
            raise

    def text(self) -> bytes:
        """All figures, in Prometheus's text format."""
        return generate_latest(self._registry)
