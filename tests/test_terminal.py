"""What a log shows where there is no terminal."""

import io

import pytest
from rich.console import Console

from orpheus_clone import terminal
from orpheus_clone.terminal import Terminal
from orpheus_clone.train.metrics import Step

STEP = Step(
    step=3, steps=9, epoch=1.0, loss=2.5, learning_rate=1e-4, grad_norm=1.0,
    tokens_per_second=80.0, heldout_loss=None,
)  # fmt: skip


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """stderr as a file, and a clock of ten seconds a look."""
    file = io.StringIO()
    times = iter(range(0, 10_000, 10))
    monkeypatch.setattr(terminal, "Console", lambda **_: Console(file=file, force_terminal=False))
    monkeypatch.setattr("orpheus_clone.terminal.time.monotonic", lambda: next(times))
    return file


def test_counted_work_says_a_line_every_twenty_seconds(log: io.StringIO) -> None:
    with Terminal(as_json=True).bar("eval") as bar:
        for done in range(1, 8):
            bar(done, 20)
    assert log.getvalue().splitlines() == ["eval: 2 of 20", "eval: 4 of 20", "eval: 6 of 20"]


def test_training_says_its_step_and_loss(log: io.StringIO) -> None:
    with Terminal(as_json=True).training() as report:
        report(STEP)
        report(STEP)
    assert log.getvalue() == "train: step 3 of 9, loss 2.500\n"
