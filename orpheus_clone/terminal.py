"""What people see: progress, tables and lines on stderr; data, for people or as JSON, on stdout."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

_SHOWN_STEPS = 12
_QUIET_SECONDS = 20.0
"""A log that says nothing for longer looks hung."""
_COLOURS = {"passed": "green", "proven": "green", "failed": "red", "not measurable": "yellow",
            "unproven": "yellow", "unproven here": "yellow", "overridden": "yellow"}  # fmt: skip


class Terminal:
    """The console of one command; implements `pipeline.Screen`."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._talk = Console(stderr=True, highlight=False)

    def say(self, line: str) -> None:
        """One line about what happens now."""
        self._talk.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def wait(self, label: str) -> Iterator[None]:
        """A spinner; where there is no terminal, a line."""
        if not self._talk.is_terminal:
            self.say(label)
            yield
            return
        with self._talk.status(label):
            yield

    @contextmanager
    def bar(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """A progress bar; where there is no terminal, a line now and then."""
        if not self._talk.is_terminal:
            yield self._now_and_then(lambda done, of: f"{label}: {done} of {of}")
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._talk, transient=True) as progress:
            task = progress.add_task(label, total=None)
            yield lambda done, of: progress.update(task, completed=done, total=of)

    @contextmanager
    def stages(self) -> Iterator[Callable[[str, int, int], None]]:
        """A bar for each stage that is told of; where there is no terminal, a line now and then."""
        if not self._talk.is_terminal:
            yield self._now_and_then(lambda stage, done, of: f"{stage}: {done} of {of}")
            return
        columns = (
            TextColumn("{task.description:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, of: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=of)
            progress.update(tasks[stage], completed=done, total=of)

        with Progress(*columns, console=self._talk, transient=True) as progress:
            yield report

    @contextmanager
    def training(self) -> Iterator[Callable[[Any], None]]:
        """A live table of the last training steps; where there is no terminal, a line.

        A string in place of a step says what happens between them.
        """
        if not self._talk.is_terminal:
            yield self._now_and_then(_step_line)
            return
        steps: list[Any] = []

        def report(news: Any) -> None:
            if not isinstance(news, str):
                steps.append(news)
            live.update(_steps_table(steps, news if isinstance(news, str) else None))

        with Live(console=self._talk, refresh_per_second=4, transient=True) as live:
            yield report

    def _now_and_then(self, line: Callable[..., str]) -> Callable[..., None]:
        """A reporter that says `line` of what it is told, at most every `_QUIET_SECONDS`."""
        last = time.monotonic()

        def report(*news: Any) -> None:
            nonlocal last
            if time.monotonic() - last >= _QUIET_SECONDS:
                last = time.monotonic()
                self.say(line(*news))

        return report

    @property
    def is_live(self) -> bool:
        """Whether somebody watches."""
        return self._talk.is_terminal

    @contextmanager
    def live(
        self, columns: Sequence[str]
    ) -> Iterator[Callable[[Sequence[Mapping[str, Any]], str], None]]:
        """A table that is shown anew with each call: rows, and a line below them."""
        with Live(console=self._talk, auto_refresh=False) as live:

            def show(rows: Sequence[Mapping[str, Any]], caption: str) -> None:
                live.update(_table(rows, columns, caption), refresh=True)

            yield show

    def result(self, data: Mapping[str, Any], title: str = "") -> None:
        """What a command made: a JSON object, or names and values."""
        if self._as_json:
            _print_json(data)
            return
        columns = (Column(), Column(overflow="fold"))
        table = Table(*columns, title=title or None, show_header=False, title_justify="left")
        for name, value in data.items():
            table.add_row(name.replace("_", " "), _shown(value))
        _out().print(table)

    def rows(self, name: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """A list: a JSON object with one key, or a table of `columns`."""
        if self._as_json:
            _print_json({name: list(rows)})
            return
        _out().print(_table(rows, columns))


def print_error(message: str) -> None:
    """An error for a person."""
    # Not wrapped: what a message says to run must be fit for copying.
    screen = Console(stderr=True, highlight=False)
    screen.print(f"[bold red]error:[/] {_escaped(message)}", soft_wrap=True)


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], caption: str = "") -> Table:
    names = [Column(name.replace("_", " "), overflow="fold") for name in columns]
    table = Table(*names, caption=_escaped(caption) or None, caption_justify="left")
    for row in rows:
        table.add_row(*[_shown(row.get(column, "")) for column in columns])
    return table


def _step_line(news: Any) -> str:
    if isinstance(news, str):
        return f"train: {news}"
    return f"train: step {news.step} of {news.steps}, loss {news.loss:.3f}"


def _steps_table(steps: Sequence[Any], caption: str | None) -> Table:
    columns = ("step", "epoch", "loss", "held out", "rate", "tok/s")
    table = Table(*columns, caption=caption, caption_justify="left")
    for step in steps[-_SHOWN_STEPS:]:
        table.add_row(
            f"{step.step}/{step.steps}",
            f"{step.epoch:.2f}",
            f"{step.loss:.4f}",
            "" if step.heldout_loss is None else f"{step.heldout_loss:.4f}",
            f"{step.learning_rate:.2e}",
            f"{step.tokens_per_second:.0f}",
        )
    return table


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(v)}" for key, v in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "—"
    text = _escaped(f"{value:.4g}" if isinstance(value, float) else str(value))
    colour = _COLOURS.get(text)
    return f"[{colour}]{text}[/]" if colour else text


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _out() -> Console:
    return Console(highlight=False)


def _print_json(data: Mapping[str, Any]) -> None:
    print(json.dumps(data, ensure_ascii=False), file=sys.stdout, flush=True)
