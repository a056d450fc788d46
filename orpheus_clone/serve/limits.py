"""What a socket may ask of a node: the limits, and how they are kept.

The first message of every socket publishes them, so that no client has to find them out.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

FRAME_BYTES = 64 * 2**10
"""Of a message to a node; the server beneath closes the socket with 1009 beyond it."""

LEAST_CHARACTERS = 16
"""A message of text counts as, since to read it takes time too."""


@dataclass(frozen=True)
class Limits:
    """Of one socket; what is not limited is how much is said in all."""

    frame_bytes: int = FRAME_BYTES
    buffer_characters: int = 8000
    """Of a context: written and not spoken yet."""
    characters_per_second: int = 16_000
    """Of text, a message at least `LEAST_CHARACTERS`; so many may come at once."""
    control_messages_per_second: int = 20
    """Messages that bring no text, broken ones too; so many may come at once."""
    contexts: int = 32
    """Open at a time; ElevenLabs' five are too few for a caller who interrupts."""
    idle_seconds: float = 180.0
    """The longest `inactivity_timeout`: without a message and without sound."""
    write_stall_seconds: float = 30.0
    """A client that reads nothing for so long is left."""

    def published(self) -> dict[str, float]:
        """What the first message says of them."""
        return asdict(self)


class Rate:
    """So many in each second, or another time, and so many at once."""

    def __init__(self, most: int, clock: Callable[[], float], seconds: float = 1.0) -> None:
        """`clock` gives seconds."""
        self._most, self._left = most, float(most)
        self._per_second = most / seconds
        self._clock, self._seen = clock, clock()

    def allows(self, cost: int = 1) -> bool:
        """Whether so many more are within the rate; they count if they are."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._seen) * self._per_second)
        self._seen = now
        if self._left < cost:
            return False
        self._left -= cost
        return True

    @property
    def wait_s(self) -> float:
        """Seconds from when it was last asked until one more is within the rate."""
        return max(0.0, 1 - self._left) / self._per_second
