"""What a run says of each step: metrics.jsonl, TensorBoard events, and whoever reports."""

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from orpheus_clone import disk
from orpheus_clone.layout import RunDir
from orpheus_clone.train.tensorboard import EventLog


@dataclass(frozen=True)
class Step:
    """One line of metrics.jsonl."""

    step: int
    steps: int
    epoch: float
    loss: float
    """Mean of the step's audio tokens, in nats."""
    learning_rate: float
    grad_norm: float
    """Before it is scaled down."""
    tokens_per_second: float
    """Audio tokens."""
    heldout_loss: float | None
    """At the end of an epoch."""


def steps_told(metrics: Path) -> int:
    """Of how many steps, from the first, the lines tell; one that was cut off tells of none."""
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() else []
    for told, line in enumerate(lines):
        try:
            if json.loads(line)["step"] != told + 1:
                return told
        except (json.JSONDecodeError, KeyError, TypeError):  # being written as the power went
            return told
    return len(lines)


class Log:
    """The files of a run's metrics; what they say of steps after `start` is forgotten."""

    def __init__(self, out: RunDir, start: int) -> None:
        """Of a run that goes on after `start`, of which they tell; see `steps_told`."""
        _keep_lines(out.metrics, start)
        out.metrics.parent.mkdir(parents=True, exist_ok=True)
        self._events = EventLog(out.tensorboard, start)
        self._file = out.metrics.open("a", encoding="utf-8")

    def add(self, step: Step) -> None:
        """Write a step to each, at once."""
        line = asdict(step)
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        self._events.add(line)

    def close(self) -> None:
        """Give the files back."""
        with contextlib.closing(self._events):
            self._file.close()


def _keep_lines(metrics: Path, steps: int) -> None:
    """Forget metrics of steps that will be taken again."""
    if not metrics.is_file():
        return
    lines = metrics.read_text(encoding="utf-8").splitlines()
    disk.write_text(metrics, "".join(f"{line}\n" for line in lines[:steps]))
