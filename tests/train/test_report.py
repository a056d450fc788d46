"""The table of epochs as a terminal and a page show it, from figures by hand."""

import math
from pathlib import Path

import pytest

from orpheus_clone.layout import RunDir
from orpheus_clone.recipe import Selection
from orpheus_clone.train import report
from orpheus_clone.train.report import Table
from orpheus_clone.train.select import Epoch, choose
from tests.train.test_select import figures

EPOCHS = [
    Epoch(1, 4, 4.5, 4.25, figures(mos=None)),
    Epoch(2, 8, 4.25, 4.0, figures(mos=None, tail_p95_ms=math.inf, wer=0.31)),
]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path)
    said = {"text": "A <b>bold</b> word.", "heard": "", "finish": "loop", "file": "001.flac"}
    rest = {"seconds": 2.0, "similarity": None}
    table = Table(
        voice="jack",
        epochs=EPOCHS,
        choice=choose(EPOCHS, Selection()),
        notes=["DNSMOS is not measured: it is not here"],
        utterances={1: [said | rest], 2: [said | rest]},
    )
    report.write(run, table, Selection())
    return run


def test_a_terminal_has_a_line_for_each_figure_and_marks_what_is_beyond_its_limit(
    run: RunDir,
) -> None:
    _, rows = report.read_rows(run)
    lines = {line.pop("figure"): line for line in report.by_figure(rows)}
    assert lines["heldout loss"] == {"epoch 1, chosen": "4.2500", "epoch 2": "4.0000"}
    assert lines["wer"] == {"epoch 1, chosen": "0.05", "epoch 2": "0.31 !"}
    assert lines["tail p95 ms"] == {"epoch 1, chosen": "150", "epoch 2": "never !"}
    assert "mos" not in lines


def test_the_note_says_what_was_not_measured(run: RunDir) -> None:
    note, _ = report.read_rows(run)
    assert note == (
        "epoch 2 has the lowest held-out loss, but misses wer, tail_p95_ms; "
        "DNSMOS is not measured: it is not here"
    )


def test_the_page_escapes_what_was_spoken_and_says_how_it_ended(run: RunDir) -> None:
    page = run.train_report.read_text(encoding="utf-8")
    assert "A &lt;b&gt;bold&lt;/b&gt; word." in page
    assert "<b>bold" not in page
    assert "said the same again and again" in page
    assert "heard: nothing" in page
    assert "never" in page
    assert "epoch 1, chosen" in page
