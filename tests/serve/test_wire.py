"""What nodes say to each other: it comes as it was sent, from older and newer versions too."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from orpheus_clone import errors
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import Busy, DataError, EngineDead, NodeError, OrpheusCloneError
from orpheus_clone.serve import wire
from orpheus_clone.serve.wire import Answered, Asked, Failure
from orpheus_clone.speech import Chunk, Ending

SAMPLES = arrays.arrays(np.float32, st.integers(0, 50), elements=st.floats(-1, 1, width=32))


@given(
    stream=st.integers(0, 2**31),
    samples=SAMPLES,
    tokens=st.integers(0, 1000),
    finish=st.sampled_from([None, "stop", "length", "silence", "loop"]),
)
def test_a_chunk_comes_as_it_was_sent(
    stream: int, samples: Waveform, tokens: int, finish: Ending | None
) -> None:
    number, chunk = wire.unpacked(wire.packed(stream, Chunk(samples, tokens, finish)))
    assert (number, chunk.tokens, chunk.finish) == (stream, tokens, finish)
    assert np.array_equal(chunk.samples, samples)


def test_what_a_newer_version_says_beside_it_is_passed_over() -> None:
    assert wire.asked('{"stream": 1, "say": "Hi.", "new": {}}') == Asked(stream=1, say="Hi.")
    assert wire.answered('{"new": 1}') == Answered()
    head = b'{"stream": 1, "tokens": 7, "new": 1}\n'
    number, chunk = wire.unpacked(head + np.zeros(3, "<f4").tobytes())
    assert (number, chunk.tokens, chunk.finish, len(chunk.samples)) == (1, 7, None, 3)


@pytest.mark.parametrize(
    "message", ["", "[]", '{"open": {}}', '{"stream": "1"}', '{"stream": 1, "say": 7}']
)
def test_a_message_that_makes_no_sense_is_told(message: str) -> None:
    with pytest.raises(DataError, match="between nodes cannot be read"):
        wire.asked(message)


@pytest.mark.parametrize(
    "message", [b"", b"\n", b"{}\n", b'{"stream":1,"tokens":7}\n123', b'{"stream":1}\n', b"\xff\n"]
)
def test_sound_that_makes_no_sense_is_told(message: bytes) -> None:
    with pytest.raises(DataError, match="between nodes cannot be read"):
        wire.unpacked(message)


@pytest.mark.parametrize(
    "error",
    [
        errors.UnknownVoice("nobody has it"),
        errors.TextError("it has no letter"),
        errors.ArtifactError("it was altered"),
        errors.StoreError("it does not answer"),
        errors.MachineError("the disk is full"),
        EngineDead("it is gone"),
    ],
)
def test_an_error_is_the_same_at_the_other_node(error: OrpheusCloneError) -> None:
    told = Answered.model_validate_json(Answered(error=wire.failure(error)).model_dump_json())
    assert told.error is not None
    again = wire.raised(told.error)
    assert (type(again), str(again)) == (type(error), str(error))


def test_one_that_is_full_says_when_to_come_again() -> None:
    again = wire.raised(wire.failure(Busy("full", retry_after_s=7)))
    assert isinstance(again, Busy)
    assert (str(again), again.retry_after_s) == ("full", 7)


def test_an_error_of_a_newer_version_is_the_nodes() -> None:
    again = wire.raised(Failure(type="FromTheFuture", message="who knows"))
    assert (type(again), str(again)) == (NodeError, "who knows")
    assert json.loads(wire.failure(NodeError("it broke")).model_dump_json())["type"] == "NodeError"
