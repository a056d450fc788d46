"""The commands that make a voice: prepare, train, and clone, which is all to the end."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orpheus_clone import errors
from orpheus_clone.cli.app import app
from orpheus_clone.cli.options import (
    AudioArg,
    BaseOption,
    ByOption,
    CanaryOption,
    ColumnsOption,
    ConsentOption,
    EngineOption,
    JsonOption,
    KeyOption,
    LanguageOption,
    OutOption,
    RecipeOption,
    RunBaseOption,
    SetOption,
    SpeakerOption,
    TranscriptsOption,
    VoiceOption,
    checked_engine,
    locate_base,
    read_recipe,
    share_of,
)
from orpheus_clone.terminal import Terminal

if TYPE_CHECKING:
    from orpheus_clone.models import BaseModel
    from orpheus_clone.prepare.order import Order
    from orpheus_clone.recipe import Recipe


@app.command()
def prepare(
    out: OutOption,
    audio: AudioArg = None,
    voice: VoiceOption = "",
    transcripts: TranscriptsOption = None,
    columns: ColumnsOption = None,
    base: BaseOption = "orpheus-3b",
    language: LanguageOption = "en",
    speaker: SpeakerOption = None,
    consent: ConsentOption = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="Many speakers at once, a JSON line each: voice, audio, and what other options "
            "say; each into OUT/VOICE. Needs the extra ray."
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster, for --manifest; this machine if left out.")
    ] = None,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a corpus of recordings: cut, checked, trimmed, tokenized, split; with a report."""
    from orpheus_clone.layout import PreparedDir
    from orpheus_clone.prepare.run import prepare as run

    screen = Terminal(as_json=as_json)
    settings, located = read_recipe(recipe, overrides), locate_base(base, screen)
    if manifest is not None:
        if audio or voice or transcripts or columns or speaker or consent or language != "en":
            raise errors.RecipeError(
                "the lines of --manifest say voice, audio, transcripts, columns, language, speaker "
                "and consent; leave those options out"
            )
        _prepare_many(manifest, out, settings, located, address, screen)
        return
    order = _order(
        audio, voice, transcripts, columns, language, speaker, consent, settings, located
    )
    with screen.stages() as progress:
        stamp = run(order, PreparedDir(out), progress)
    for note in stamp.notes:
        screen.say(note)
    if stamp.rejected:
        screen.say(f"{stamp.rejected} not kept: the reasons are in {out / 'rejected.jsonl'}")
    screen.say(f"look at it, listen to it: {PreparedDir(out).report}")
    screen.result(asdict(stamp) | {"out": str(out)}, f"{voice}: prepared")


@app.command()
def train(
    data_dir: Annotated[Path, typer.Argument(help="What prepare made.")],
    out: OutOption,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    base: RunBaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a LoRA adapter; killed, it goes on from the last checkpoint.

    On several GPUs: accelerate launch --multi_gpu -m orpheus_clone train …
    """
    from orpheus_clone.layout import PreparedDir, RunDir
    from orpheus_clone.train.report import by_figure, read_rows
    from orpheus_clone.train.run import is_done
    from orpheus_clone.train.run import train as run

    screen, data = Terminal(as_json=as_json), PreparedDir(data_dir)
    settings = read_recipe(recipe, overrides)
    located = locate_base(base or data.stamp().base, screen)
    if RunDir(out).stamp_file.is_file() and not is_done(data, RunDir(out), settings, located):
        screen.say(f"{out} holds a run of another recipe, corpus or base: training anew")
    with screen.training() as report:
        stamp = run(data, RunDir(out), recipe=settings, base=located, report=report, say=report)
    if os.environ.get("RANK", "0") != "0":  # of several processes one tells the result
        return
    chosen, rows = read_rows(RunDir(out))
    told = asdict(stamp) | {"chosen": chosen, "out": str(out)}
    if as_json:
        screen.result(told | {"table": rows})
        return
    table = by_figure(rows)
    screen.rows("epochs", table, list(table[0]))
    screen.say(f"epoch {stamp.epoch}: {chosen}; see {RunDir(out).train_report}")
    screen.result(told, f"{stamp.voice}: trained")


@app.command()
def clone(
    out: OutOption,
    audio: AudioArg,
    voice: VoiceOption,
    publish_to: Annotated[
        str | None,
        typer.Option(help="URL of a node, or a store: asked first, published to last."),
    ] = None,
    canary: CanaryOption = None,
    by: ByOption = None,
    transcripts: TranscriptsOption = None,
    columns: ColumnsOption = None,
    base: BaseOption = "orpheus-3b",
    language: LanguageOption = "en",
    speaker: SpeakerOption = None,
    consent: ConsentOption = None,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    engine: EngineOption = "auto",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """prepare, train, eval and publish in one; killed anywhere, run it again."""
    from orpheus_clone.pipeline import clone as run

    screen, share = Terminal(as_json=as_json), share_of(canary)
    if publish_to is None and (share is not None or by):
        raise errors.RecipeError("--canary and --by are about what --publish-to publishes")
    settings, located = read_recipe(recipe, overrides), locate_base(base, screen)
    order = _order(
        audio, voice, transcripts, columns, language, speaker, consent, settings, located
    )
    cloned = run(
        order,
        out,
        screen=screen,
        engine=checked_engine(engine),
        publish_to=publish_to,
        key=key,
        canary=share,
        by=by,
    )
    screen.result(asdict(cloned), f"{voice}: cloned")


def _order(
    audio: list[str] | None,
    voice: str,
    transcripts: Path | None,
    columns: str | None,
    language: str,
    speaker: Path | None,
    consent: Path | None,
    settings: "Recipe",
    base: "BaseModel",
) -> "Order":
    from orpheus_clone.prepare.order import Order, parse_columns

    if not audio or not voice:
        raise errors.RecipeError("name AUDIO and --voice, or many speakers with --manifest")
    return Order(
        places=audio,
        voice=voice,
        base=base,
        recipe=settings,
        language=None if language == "auto" else language,
        transcripts=transcripts,
        columns=parse_columns(columns),
        speaker=speaker,
        consent=consent,
    )


def _prepare_many(
    manifest: Path,
    out: Path,
    settings: "Recipe",
    base: "BaseModel",
    address: str | None,
    screen: Terminal,
) -> None:
    from orpheus_clone.prepare.many import prepare_many

    with screen.stages() as progress:
        rows = prepare_many(manifest, out, settings, base, address, progress)
    screen.rows("speakers", rows, ["voice", "clips", "minutes", "rejected", "error"])
    failed = [row for row in rows if row["error"]]
    if failed:
        raise errors.DataError(f"{len(failed)} of {len(rows)} speakers could not be prepared")
