"""The options that several commands share, each declared once, and what they mean."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orpheus_clone.errors import RecipeError
from orpheus_clone.terminal import Terminal

if TYPE_CHECKING:
    from orpheus_clone.engine import EngineName
    from orpheus_clone.models import BaseModel
    from orpheus_clone.recipe import Recipe

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)%")

AudioArg = Annotated[
    list[str] | None,
    typer.Argument(
        help="Audio or video files, folders, globs, or a datasets directory.", metavar="AUDIO…"
    ),
]
VoiceOption = Annotated[str, typer.Option("--voice", help="The voice's name: a-z, 0-9, _ and -.")]
OutOption = Annotated[Path, typer.Option("--out", help="Directory to write.")]
RunArg = Annotated[Path, typer.Argument(help="A run that train made.", metavar="RUN_DIR")]
TranscriptsOption = Annotated[
    Path | None,
    typer.Option(
        help="CSV, `name: text` lines, JSONL, SRT, VTT or TextGrid. Found beside AUDIO if left out."
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        help="Which columns of a CSV or dataset hold what.", metavar="audio=NAME,text=NAME"
    ),
]
SpeakerOption = Annotated[
    Path | None,
    typer.Option(help="A recording of the speaker that is wanted; the one who speaks most if not."),
]
BaseOption = Annotated[str, typer.Option("--base", help="nano, orpheus-3b, or a directory.")]
RunBaseOption = Annotated[
    str | None, typer.Option("--base", help="The base model, if it is not where train found it.")
]
LanguageOption = Annotated[
    str, typer.Option(help="Language of the recordings; auto: the one that is heard.")
]
ConsentOption = Annotated[
    Path | None,
    typer.Option(help="The speaker's consent, text or JSON; it travels with the voice."),
]
RecipeOption = Annotated[
    Path | None, typer.Option("--recipe", help="A recipe of recipes/, or yours.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override, as in train.epochs=5.", metavar="KEY=VALUE"),
]
EngineOption = Annotated[
    str, typer.Option("--engine", help="vllm, hf, or auto: vllm if it is installed.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
KeyOption = Annotated[
    str | None,
    typer.Option(envvar="ORPHEUS_CLONE_KEY", help="Bearer key of the node.", show_default=False),
]
KeysOption = Annotated[
    Path | None,
    typer.Option(
        envvar="ORPHEUS_CLONE_KEYS",
        help="File of the keys that clients must show; see orpheus-clone key.",
        metavar="FILE",
        show_default=False,
    ),
]
_PLACES = "URL of a node (any of a fleet), or a store: a directory, s3://, gs://, az:// or hf://…"
ToOption = Annotated[str, typer.Option("--to", help=_PLACES)]
ServerOption = Annotated[str, typer.Option("--server", "--to", help=_PLACES)]
ByOption = Annotated[
    str | None, typer.Option("--by", help="Who does it, for the log; user@host if left out.")
]
CanaryOption = Annotated[
    str | None,
    typer.Option(
        help="Only for this share of the sessions, until it is promoted or rolled back.",
        metavar="10%",
    ),
]
WhyOption = Annotated[str | None, typer.Option("--why", help="For the log.", metavar="REASON")]
VoiceArg = Annotated[str, typer.Argument(help="The voice's name.", metavar="VOICE")]


def read_recipe(path: Path | None, overrides: list[str] | None) -> "Recipe":
    """The recipe of --recipe and --set."""
    from orpheus_clone.recipe import load

    return load(path, overrides or ())


def locate_base(base: str, screen: Terminal) -> "BaseModel":
    """The base model of --base; what takes long is said on the screen."""
    from orpheus_clone.models import locate

    return locate(base, screen.say)


def checked_engine(name: str) -> "EngineName":
    """The engine of --engine."""
    from orpheus_clone.engine import checked_name

    return checked_name(name)


def share_of(canary: str | None) -> float | None:
    """The share of --canary: 10% is 0.1."""
    if canary is None:
        return None
    written = _PERCENT.fullmatch(canary)
    share = float(written[1]) / 100 if written else -1
    if not 0 <= share <= 1:
        raise RecipeError(f"--canary {canary}: expected a share of sessions, as in 10%")
    return share
