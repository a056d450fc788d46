"""The table of epochs: epochs.json for machines, train.html for ears, rows for a terminal."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from orpheus_clone import disk
from orpheus_clone.layout import RunDir
from orpheus_clone.listening.figures import Figures
from orpheus_clone.recipe import Selection
from orpheus_clone.train import heard
from orpheus_clone.train.select import Choice, Epoch, limits, violations

_FIGURES = tuple(Figures.__dataclass_fields__)
_OWN_CLIPS = 3
"""Of the speaker, on the page to compare with."""
_HINT = "run train again"


@dataclass(frozen=True)
class Table:
    """The epochs of a run, and which of them was chosen."""

    voice: str
    epochs: Sequence[Epoch]
    choice: Choice
    notes: Sequence[str]
    """What was not measured, and why."""
    utterances: Mapping[int, Sequence[Mapping[str, Any]]]
    """By the epoch's number: what was heard, see heard.py; only of epochs that spoke."""


def write(run: RunDir, table: Table, settings: Selection) -> None:
    """Replace RUN/epochs.json and RUN/train.html."""
    missed = {e.number: list(violations(e.figures, settings)) for e in table.epochs}
    data = {
        "chosen": table.choice.epoch,
        "note": table.choice.note,
        "not_measured": list(table.notes),
        "limits": {limit.name: limit.value for limit in limits(settings)},
        "epochs": [_entry(epoch, missed[epoch.number]) for epoch in table.epochs],
    }
    disk.write_json(run.epochs_table, data)
    disk.write_text(run.train_report, _html(run, table, settings, missed))


def read_rows(run: RunDir) -> tuple[str, list[dict[str, Any]]]:
    """Why that epoch was chosen, and what was not measured; and a flat row for each one."""
    data = disk.read_json(run.epochs_table, _HINT)
    note = "; ".join([data["note"], *data["not_measured"]])
    return note, [_row(entry, data["chosen"]) for entry in data["epochs"]]


def by_figure(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of `read_rows` turned for a terminal: a line for each figure, a column an epoch.

    A figure that was measured of no epoch has no line.
    """
    lines = []
    for name in ("loss", "heldout_loss", *_FIGURES):
        if any(row[name] is not None for row in rows):
            values = {_heading(row): _marked(row, name) for row in rows}
            lines.append({"figure": name.replace("_", " ")} | values)
    return lines


def _heading(row: Mapping[str, Any]) -> str:
    return f"epoch {row['epoch']}{', ' if row['chosen'] else ''}{row['chosen']}"


def _marked(row: Mapping[str, Any], name: str) -> str:
    """The figure, with an exclamation mark where it is beyond its limit."""
    value = math.inf if row[name] == heard.NEVER else row[name]
    digits = f"{value:.4f}" if name in ("loss", "heldout_loss") else _shown(value)
    return f"{digits} !" if name in row["misses"] else digits


def _entry(epoch: Epoch, missed: list[str]) -> dict[str, Any]:
    return {
        "epoch": epoch.number,
        "step": epoch.step,
        "loss": round(epoch.loss, 6),
        "heldout_loss": round(epoch.heldout_loss, 6),
        "figures": None if epoch.figures is None else heard.plain(epoch.figures),
        "misses": missed,
    }


def _row(entry: Mapping[str, Any], chosen: int) -> dict[str, Any]:
    figures = entry["figures"] or {}
    return {
        "epoch": entry["epoch"],
        "chosen": "chosen" if entry["epoch"] == chosen else "",
        "step": entry["step"],
        "loss": entry["loss"],
        "heldout_loss": entry["heldout_loss"],
        **{name: figures[name]["value"] if figures else None for name in _FIGURES},
        "misses": entry["misses"],
    }


def _html(
    run: RunDir, table: Table, settings: Selection, missed: Mapping[int, Sequence[str]]
) -> str:
    from jinja2 import Environment

    template = (files("orpheus_clone.train") / "report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["shown"] = _shown
    plot = run.loss_plot
    page: str = environment.from_string(template).render(
        table=table,
        figures=_FIGURES,
        limits={limit.name: limit for limit in limits(settings) if limit.value is not None},
        missed=missed,
        prompts=_by_prompt(table),
        own=sorted(path.name for path in run.reference.glob("*.flac"))[:_OWN_CLIPS],
        plot=base64.b64encode(plot.read_bytes()).decode() if plot.is_file() else None,
    )
    return page


def _by_prompt(table: Table) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Each prompt with what every epoch made of it, so that they can be compared."""
    heard_epochs = [
        [{"epoch": number} | dict(one) for one in table.utterances[number]]
        for number in sorted(table.utterances)
    ]
    return [(row[0]["text"], list(row)) for row in zip(*heard_epochs, strict=True)]


def _shown(value: float | None) -> str:
    if value is None:
        return "—"
    return "never" if value == math.inf else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
