"""What a node counts, in Prometheus's text format."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


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

    def text(self) -> bytes:
        """All figures, in Prometheus's text format."""
        return generate_latest(self._registry)
