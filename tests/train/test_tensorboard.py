"""The events, read back as TensorBoard would."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from orpheus_clone.train.tensorboard import EventLog
from tests.conftest import SmallRun

_HEADER, _CHECKSUM = 8, 4


def events(folder: Path) -> Iterator[Event]:
    """Of all files in order: records of a length, its checksum, the data and its checksum."""
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:_HEADER])
            start = _HEADER + _CHECKSUM
            yield Event.FromString(data[start : start + length])
            data = data[start + length + _CHECKSUM :]


def curves(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard draws: a file's session start takes back the steps from its own on."""
    found: dict[str, dict[int, float]] = {}
    for event in events(folder):
        if event.session_log.status == SessionLog.START:
            for steps in found.values():
                for step in [step for step in steps if step >= event.step]:
                    del steps[step]
        for value in event.summary.value:
            curve = found.setdefault(value.tag, {})
            assert event.step not in curve
            curve[event.step] = value.simple_value
    return found


def test_a_run_can_be_watched(small_run: SmallRun) -> None:
    drawn = curves(small_run.dir.tensorboard)
    names = {"loss", "heldout_loss", "learning_rate", "grad_norm", "tokens_per_second"}
    assert set(drawn) == names
    for name in names:
        told = {step.step: getattr(step, name) for step in small_run.steps}
        shown = {step: value for step, value in told.items() if value is not None}
        assert drawn[name] == pytest.approx(shown, rel=1e-6)
    assert len(drawn["loss"]) == 6
    assert len(drawn["heldout_loss"]) == 3


def line(step: int, loss: float) -> dict[str, float | None]:
    return {
        "step": step,
        "loss": loss,
        "heldout_loss": None,
        "learning_rate": 0.1,
        "grad_norm": 1.0,
        "tokens_per_second": 5.0,
    }


def test_steps_that_are_taken_again_are_drawn_once(tmp_path: Path) -> None:
    first = EventLog(tmp_path, 0)
    for step in (1, 2, 3):
        first.add(line(step, 10.0 + step))
    first.close()
    again = EventLog(tmp_path, 2)
    again.add(line(3, 5.0))
    again.close()
    assert curves(tmp_path)["loss"] == {1: 11.0, 2: 12.0, 3: 5.0}


def test_a_run_that_begins_anew_forgets_the_events_of_the_one_before(tmp_path: Path) -> None:
    for loss in (1.0, 2.0):
        log = EventLog(tmp_path, 0)
        log.add(line(1, loss))
        log.close()
    assert len(list(tmp_path.iterdir())) == 1
    assert curves(tmp_path)["loss"] == {1: 2.0}
