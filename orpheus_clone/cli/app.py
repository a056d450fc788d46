"""The application that the commands belong to."""

from typing import Annotated

import typer

from orpheus_clone import __version__

EXIT_CODES = """Exit codes: 0 done, 1 a gate failed, 2 wrong usage or recipe, 3 unusable recordings
or text, 4 a model, run or bundle is missing or altered, 5 training cannot go on, 6 engine or node,
7 the machine lacks something, 70 a bug of ours, 130 interrupted, 143 ended by SIGTERM."""

app = typer.Typer(
    name="orpheus-clone",
    help="Half an hour of speech to an Orpheus voice, proved, published and served.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(help="Base models by name: list them, fetch one.")
app.add_typer(models_app, name="models")


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Half an hour of speech to an Orpheus voice, proved, published and served."""
    if version:
        print(__version__)
        raise typer.Exit
