"""The commands that release a voice and take it back, and that tell what is released."""

from dataclasses import asdict
from typing import Annotated

import typer

from orpheus_clone.cli.app import app
from orpheus_clone.cli.options import (
    ByOption,
    CanaryOption,
    JsonOption,
    KeyOption,
    RunArg,
    RunBaseOption,
    ServerOption,
    ToOption,
    VoiceArg,
    WhyOption,
    share_of,
)
from orpheus_clone.terminal import Terminal


@app.command()
def publish(
    run_dir: RunArg,
    to: ToOption,
    canary: CanaryOption = None,
    key: KeyOption = None,
    override: Annotated[
        str | None, typer.Option(help="Why a voice with a failed gate may go.", metavar="REASON")
    ] = None,
    by: ByOption = None,
    base: RunBaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Release a proved voice; a voice that failed its gates is refused."""
    from orpheus_clone import models
    from orpheus_clone.layout import RunDir
    from orpheus_clone.publish.run import publish as run

    screen, share = Terminal(as_json=as_json), share_of(canary)
    located = models.here(base or RunDir(run_dir).stamp().base)
    if located is None:
        screen.say("the base is not on this machine: who serves the voice checks that it fits")
    published = run(
        RunDir(run_dir),
        to,
        key=key,
        override_reason=override,
        canary=share,
        by=by,
        base=located,
    )
    said = "published" if published.is_new else "this is what the name means there already"
    screen.result(asdict(published), f"{published.voice}: {said}")


@app.command()
def promote(
    voice: VoiceArg,
    to: ToOption,
    key: KeyOption = None,
    by: ByOption = None,
    why: WhyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let every session speak with a voice's canary."""
    from orpheus_clone.publish.place import Signed, open_place

    bundle = open_place(to, key).promote(voice, Signed(by, why))
    Terminal(as_json=as_json).result({"voice": voice, "bundle": bundle}, f"{voice}: promoted")


@app.command()
def rollback(
    voice: VoiceArg,
    to: ToOption,
    key: KeyOption = None,
    by: ByOption = None,
    why: WhyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back what was released last: a canary, or else the current bundle."""
    from orpheus_clone.publish.place import Signed, open_place

    bundle = open_place(to, key).rollback(voice, Signed(by, why))
    Terminal(as_json=as_json).result({"voice": voice, "bundle": bundle}, f"{voice}: rolled back")


@app.command()
def unpublish(
    voice: VoiceArg,
    to: ToOption,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget",
            help="Delete its bundles too, as when a consent is withdrawn; for good. Other nodes "
            "delete their copies when they are next asked for the voice, or start; a hub's history "
            "and a cloud's versions stay until they are deleted there.",
        ),
    ] = False,
    key: KeyOption = None,
    by: ByOption = None,
    why: WhyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a voice's name mean nothing; sessions that are being spoken go on to their end."""
    from orpheus_clone.publish.place import Signed, open_place

    open_place(to, key).unpublish(voice, forget, Signed(by, why))
    result = {"voice": voice, "bundle": None, "forgotten": forget}
    Terminal(as_json=as_json).result(result, f"{voice}: unpublished")


@app.command()
def voices(
    server: ServerOption,
    history: Annotated[
        str | None,
        typer.Option(help="Who moved this voice's pointer, when and why.", metavar="VOICE"),
    ] = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """What can be spoken with, and what was proved of it."""
    from orpheus_clone.publish.place import open_place

    screen, place = Terminal(as_json=as_json), open_place(server, key)
    if history is not None:
        columns = ["at", "by", "did", "from", "to", "canary", "why"]
        screen.rows("moves", place.history(history), columns)
        return
    columns = ["id", "kind", "language", "proof", "bundle", "canary", "consent"]
    known = place.voices()
    screen.rows("voices", known, columns)
    for broken in (entry for entry in known if "error" in entry):
        screen.say(f"{broken['id']}: {broken['error']}")
