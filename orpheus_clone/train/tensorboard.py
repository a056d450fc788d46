"""The metrics as TensorBoard events: `tensorboard --logdir RUN`.

Written in this thread, a step at a time, so that a full disk is noticed where it happens. A run
that goes on opens a file of its own, whose first event takes back the steps that are taken again.
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCALARS = ("loss", "heldout_loss", "learning_rate", "grad_norm", "tokens_per_second")


class EventLog:
    """An event file in `folder`; steps up to `start`, in files that are there, stay."""

    def __init__(self, folder: Path, start: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        if start == 0:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._event = Event
        self._file = EventsWriter(str(folder / "train"), f".{start:08d}")
        begin = SessionLog(status=SessionLog.START)
        self._write(Event(step=start + 1, session_log=begin, wall_time=time.time()))

    def add(self, step: Mapping[str, Any]) -> None:
        """The scalars of one line of metrics.jsonl; what is None is left out."""
        event = self._event(step=step["step"], wall_time=time.time())
        for name in SCALARS:
            if step[name] is not None:
                event.summary.value.add(tag=name, simple_value=step[name])
        self._write(event)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _write(self, event: Any) -> None:
        self._file.write_event(event)
        self._file.flush()
