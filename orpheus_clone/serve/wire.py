"""What two nodes say to each other over a socket: `remote` asks, `hosting` answers.

    asks      {"open": {"voice": "jack", …}}                        first: a session is wanted
              {"stream": 1, "say": "An utterance.", "more": true}   speak it; another is there
              {"stream": 1, "more": true}                           another is there by now
              {"stream": 1, "end": true}                            no other comes
              {"stream": 1, "took": 8}                              chunks that the client has taken
              {"stream": 1, "cancel": true}                         nobody listens any more
              {"end": true}                                         the session is over; the socket
                                                                    may be asked for another
    answers   {"bundle": "jack@4f1c2a9be07d"}                       first: this speaks, or null
              {"stream": 1, "tokens": 7, "finish": null}\\n and samples, float32
              {"stream": 1, "wanted": true}                         the next utterance may come
              {"stream": 1, "over": true}                           all was said, and all was sent
              {"stream": 1, "error": {…}}                           the stream has failed; without
                                                                    a number, no session is open

A stream is one text of a session: a request has one, a socket one for each context. At most
`WINDOW` chunks of a stream are under way, so that a slow client slows the engine and fills no
memory, and holds up neither another stream nor the pings that tell whether a node lives.

Fields that are not known are ignored: versions live side by side.
"""

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orpheus_clone import errors
from orpheus_clone.errors import Busy, DataError, NodeError, OrpheusCloneError
from orpheus_clone.speech import Chunk
from orpheus_clone.store.pointer import Arm

PATH = "/v1/nodes/session"
WINDOW = 32
"""Chunks; of a frame each, 2.7 s."""
TOOK = 8
"""Chunks that are told of at a time."""
LONGEST_PATIENCE_S = 60.0


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class Opening(_Message):
    """A session that is wanted; see `seats.Order`."""

    voice: str
    base_digest: str
    language: str
    bundle: str | None = None
    arm: Arm = "current"
    patience_s: float = Field(0.0, ge=0, le=LONGEST_PATIENCE_S)
    trace: dict[str, str] = {}
    """The headers of the client's trace."""


class Asked(_Message):
    """See the module docstring."""

    stream: int | None = None
    open: Opening | None = None
    say: str | None = None
    more: bool = False
    end: bool = False
    took: int = 0
    cancel: bool = False

    @property
    def is_session_over(self) -> bool:
        """Whether nothing more comes of the whole session."""
        return self.stream is None and self.end


class Failure(_Message):
    """An error of ours, by the name of its class."""

    type: str
    message: str
    retry_after_s: int | None = None


class Answered(_Message):
    """See the module docstring."""

    stream: int | None = None
    bundle: str | None = None
    wanted: bool = False
    over: bool = False
    error: Failure | None = None


class _Head(_Message):
    """What stands before the samples of a chunk."""

    stream: int
    tokens: int
    finish: Literal["stop", "length", "silence", "loop"] | None = None


def asked(message: str) -> Asked:
    """DataError for what is no such message."""
    try:
        return Asked.model_validate_json(message)
    except ValidationError as error:
        raise _unreadable(error) from None


def answered(message: str) -> Answered:
    """DataError for what is no such message."""
    try:
        return Answered.model_validate_json(message)
    except ValidationError as error:
        raise _unreadable(error) from None


def packed(stream: int, chunk: Chunk) -> bytes:
    """A chunk of a stream; what only measurements ask for is left out."""
    head = _Head(stream=stream, tokens=chunk.tokens, finish=chunk.finish)
    return head.model_dump_json().encode() + b"\n" + chunk.samples.astype("<f4").tobytes()


def unpacked(message: bytes) -> tuple[int, Chunk]:
    """The stream and the chunk; DataError for what is no such message."""
    head, _, samples = message.partition(b"\n")
    try:
        read = _Head.model_validate_json(head)
        waveform = np.frombuffer(samples, "<f4").astype(np.float32)
        return read.stream, Chunk(waveform, read.tokens, read.finish)
    except ValueError as error:
        raise _unreadable(error) from None


_KINDS: dict[str, type[OrpheusCloneError]] = {
    kind.__name__: kind
    for kind in (
        errors.ArtifactError,
        errors.DataError,
        errors.EngineDead,
        errors.EngineError,
        errors.MachineError,
        errors.StoreError,
        errors.TextError,
        errors.UnknownVoice,
    )
}


def failure(error: OrpheusCloneError) -> Failure:
    """An error, to be told to the other node."""
    retry_after_s = error.retry_after_s if isinstance(error, Busy) else None
    return Failure(type=type(error).__name__, message=str(error), retry_after_s=retry_after_s)


def raised(told: Failure) -> OrpheusCloneError:
    """The error that the other node has told; a NodeError where this one does not know it."""
    if told.retry_after_s is not None:
        return Busy(told.message, told.retry_after_s)
    return _KINDS.get(told.type, NodeError)(told.message)


def _unreadable(error: ValueError) -> DataError:
    said = str(error).splitlines()[0]
    return DataError(f"a message between nodes cannot be read ({said}); is its version another?")
