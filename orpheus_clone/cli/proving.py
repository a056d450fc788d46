"""The command that proves a voice: eval."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orpheus_clone import errors
from orpheus_clone.cli.app import app
from orpheus_clone.cli.options import (
    EngineOption,
    JsonOption,
    RecipeOption,
    RunArg,
    RunBaseOption,
    SetOption,
    checked_engine,
    locate_base,
    read_recipe,
)
from orpheus_clone.terminal import Terminal

if TYPE_CHECKING:
    from orpheus_clone.eval.report import Evaluation
    from orpheus_clone.layout import RunDir
    from orpheus_clone.recipe import Recipe


@app.command(name="eval")
def evaluate(
    run_dir: RunArg,
    engine: EngineOption = "auto",
    base: RunBaseOption = None,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    with_runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            help="Runs whose voices share the batch, in place of copies of this one.",
            metavar="RUN_DIR",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="A run that was evaluated: is this one better?",
            metavar="RUN_DIR",
        ),
    ] = None,
    node: Annotated[
        str | None, typer.Option(help="A node's URL, to measure the way to it from here.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Speak, measure and judge; exit code 1 when a gate fails.

    Killed, it goes on; what was evaluated by just these settings is not spoken again.
    """
    from orpheus_clone.disk import write_text
    from orpheus_clone.eval import network, report
    from orpheus_clone.layout import RunDir
    from orpheus_clone.pipeline import evaluate_run
    from orpheus_clone.recipe import dump

    screen, run = Terminal(as_json=as_json), RunDir(run_dir)
    located = locate_base(base or run.stamp().base, screen)
    if against is not None:
        report.read(RunDir(against))  # before an hour of speaking, rather than after it
    network_ms = None if node is None else network.round_trip_ms(node)
    settings = _settings(run, recipe, overrides)
    evaluating = evaluate_run(
        run,
        located,
        settings,
        checked_engine(engine),
        screen,
        others=[RunDir(other) for other in with_runs or ()],
        network_ms=network_ms,
    )
    if not asyncio.run(evaluating):
        screen.say(f"evaluated before, just so; to speak and measure anew, delete {run.eval}")
    write_text(run.recipe, dump(settings))
    if against is not None:
        report.compare_with(run, RunDir(against))
    _show(run, report.read(run), screen, as_json=as_json)


def _settings(run: "RunDir", recipe: Path | None, overrides: list[str] | None) -> "Recipe":
    """The run's recipe, with what is asked of the voice now.

    How it was trained, and what may be published, stay as they were.
    """
    asked = read_recipe(recipe or run.recipe, overrides)
    update = {"eval": asked.eval, "sampling": asked.sampling, "judges": asked.judges}
    return read_recipe(run.recipe, None).model_copy(update=update)


def _show(run: "RunDir", evaluation: "Evaluation", screen: Terminal, *, as_json: bool) -> None:
    page = run.eval / "report.html"
    found = asdict(evaluation)
    if as_json:
        shown = ("voice", "verdict", "gates", "summary", "notes", "real_time_streams", "against")
        screen.result({name: found[name] for name in shown} | {"report": str(page)})
    else:
        gates = [gate | {"interval": _interval(gate)} for gate in found["gates"]]
        columns = ["name", "status", "value", "interval", "limit", "unit", "why"]
        screen.rows("gates", gates, columns)
        if evaluation.against is not None:
            columns = ["name", "unit", "this", "other", "difference", "interval", "result"]
            rows = [row | {"interval": _interval(row)} for row in found["against"]["rows"]]
            screen.rows(f"against {evaluation.against.voice}", rows, columns)
        against = evaluation.against.notes if evaluation.against is not None else []
        for note in [*evaluation.notes, *against]:
            screen.say(note)
        screen.say(f"{evaluation.verdict}; listen: {page}")
    if evaluation.verdict == "failed":
        raise typer.Exit(errors.GateFailed.exit_code)


def _interval(row: dict[str, Any]) -> str:
    """`low to high`; an end that is missing is never."""
    if row["low"] is None and row["high"] is None:
        return "—"
    return " to ".join(
        "never" if end is None else f"{end:.3g}" for end in (row["low"], row["high"])
    )
