"""The commands that speak, and those that tell: serve, say, models, doctor, bench."""

import asyncio
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orpheus_clone import errors
from orpheus_clone.cli.app import app, models_app
from orpheus_clone.cli.options import (
    BaseOption,
    EngineOption,
    JsonOption,
    KeyOption,
    KeysOption,
    checked_engine,
    locate_base,
)
from orpheus_clone.terminal import Terminal

if TYPE_CHECKING:
    from orpheus_clone.models import BaseModel


@app.command()
def serve(
    base: BaseOption,
    host: Annotated[
        str, typer.Option(help="Address; beyond loopback only with --keys.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")
    ] = 8000,
    store: Annotated[
        str, typer.Option(help="Where voices are kept: a directory, s3://, gs://, az:// or hf://…")
    ] = "voices",
    engine: EngineOption = "auto",
    max_adapters: Annotated[int, typer.Option(min=1, help="Voices in the engine at a time.")] = 4,
    allow_unproven: Annotated[
        bool, typer.Option(help="Take voices whose gates were not measured.")
    ] = False,
    admit_all: Annotated[
        bool, typer.Option(help="Take sessions that would not be real time, too.")
    ] = False,
    max_sessions: Annotated[
        int | None, typer.Option(min=1, help="Sessions at a time, silent sockets too.")
    ] = None,
    drain_seconds: Annotated[
        float,
        typer.Option(
            min=0,
            help="For what is being heard, after SIGTERM or Ctrl-C; a second one ends at once.",
        ),
    ] = 25.0,
    redis_url: Annotated[
        str | None,
        typer.Option(
            envvar="ORPHEUS_CLONE_REDIS_URL", help="Redis that tells nodes of each other."
        ),
    ] = None,
    node_id: Annotated[
        str | None, typer.Option(help="This node's name on the ring; its URL.")
    ] = None,
    node_url: Annotated[str | None, typer.Option(help="Where other nodes reach this one.")] = None,
    keys: KeysOption = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate (PEM) to speak HTTPS with.", metavar="FILE")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Its key, if that is in a file of its own.", metavar="FILE")
    ] = None,
    tls_ca: Annotated[
        Path | None,
        typer.Option(help="Authority of other nodes' certificates; the system's.", metavar="FILE"),
    ] = None,
    log: Annotated[str, typer.Option(help="text or json.", metavar="FORMAT")] = "text",
    as_json: JsonOption = False,
) -> None:
    """Run a node.

    It measures how fast it speaks, and takes a session if all it has would still be real time;
    others get 503 with Retry-After. With nobody to be heard it takes one in any case, so that a
    machine that is too slow for real time speaks to one at a time; --admit-all takes everybody.

    Nodes on several machines know each other by $ORPHEUS_CLONE_NODE_SECRET. Spans are written where
    OpenTelemetry's variables say ($OTEL_EXPORTER_OTLP_ENDPOINT).
    """
    from orpheus_clone.serve.logs import checked_format
    from orpheus_clone.serve.run import Settings
    from orpheus_clone.serve.run import serve as run
    from orpheus_clone.serve.tls import Tls

    screen = Terminal(as_json=as_json)
    located = locate_base(base, screen)
    settings = Settings(
        host=host,
        port=port,
        store=store,
        engine=checked_engine(engine),
        max_adapters=max_adapters,
        allows_unproven=allow_unproven,
        redis_url=redis_url,
        node_id=node_id,
        node_url=node_url,
        keys=keys,
        tls=Tls(tls_cert, tls_key, tls_ca),
        log=checked_format(log),
        admits_all=admit_all,
        max_sessions=max_sessions,
        drain_seconds=drain_seconds,
    )
    with ExitStack() as starting:
        starting.enter_context(screen.wait(f"starting a node of {located.name}"))

        def ready(url: str) -> None:
            starting.close()
            screen.result({"url": url}, "speaking")
            screen.say(f'try: orpheus-clone say "Hello." --voice VOICE --server {url}')

        asyncio.run(run(located, settings, ready, screen.say))


@app.command()
def say(
    text: Annotated[str, typer.Argument(help="What to say; - for what comes on stdin.")],
    voice: Annotated[
        str | None, typer.Option(help="The voice's name; a run's own, with --run, if left out.")
    ] = None,
    server: Annotated[str | None, typer.Option(help="URL of a node that speaks.")] = None,
    run: Annotated[Path | None, typer.Option("--run", help="A run of yours, spoken here.")] = None,
    base: BaseOption = "orpheus-3b",
    output: Annotated[Path, typer.Option("-o", "--output", help="Sound file to write.")] = Path(
        "out.wav"
    ),
    engine: EngineOption = "auto",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Speak: through a node, with a run's adapter, or in a stock voice of the base."""
    from orpheus_clone import audio
    from orpheus_clone.say import base_of, check_is_known, here, through_node, voice_of
    from orpheus_clone.tokens import SAMPLE_RATE

    screen = Terminal(as_json=as_json)
    if server is not None and run is not None:
        raise errors.RecipeError("--server and --run exclude each other")
    voice = voice or voice_of(run)
    audio.checked_output(output)
    text = sys.stdin.read() if text == "-" else text
    if server is not None:
        samples = through_node(text, voice, server, key)
    else:
        check_is_known(voice, base, run)
        located = locate_base(base_of(run) or base, screen)
        with screen.wait("starting an engine, and speaking"):
            speaking = here(text, voice, run, located, checked_engine(engine), screen.say)
            samples = asyncio.run(speaking)
    audio.write(output, samples)
    seconds = round(len(samples) / SAMPLE_RATE, 3)
    screen.result({"voice": voice, "seconds": seconds, "output": str(output)})


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the base models that are known by name."""
    if context.invoked_subcommand is None:
        from orpheus_clone.models import KNOWN, describe

        rows = [describe(known) for known in KNOWN.values()]
        Terminal(as_json=as_json).rows("models", rows, ["name", "here", "about", "licence", "hubs"])


@models_app.command(name="get")
def models_get(
    name: Annotated[str, typer.Argument(help="nano, orpheus-3b, or a directory to check.")],
    as_json: JsonOption = False,
) -> None:
    """Fetch or make a base model, and say where it is and what its digest is."""
    screen = Terminal(as_json=as_json)
    screen.result(_facts(locate_base(name, screen)), name)


@models_app.command(name="optimise")
def models_optimise(
    name: Annotated[str, typer.Argument(help="nano, orpheus-3b, or a directory.")],
    out: Annotated[Path, typer.Option(help="Directory to write.")],
    as_json: JsonOption = False,
) -> None:
    """Write a base model with a head for audio alone: less to compute for each token.

    The vllm engine does this by itself, once, into the cache; with this you choose where. Use the
    directory as --base. Voices made with the stock model fit it.
    """
    from orpheus_clone.models import optimise

    screen = Terminal(as_json=as_json)
    base = locate_base(name, screen)
    with screen.wait(f"writing {out}"):
        made = optimise(base, out)
    screen.result(_facts(made), name)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """What this machine can do, and what it lacks."""
    from orpheus_clone.doctor import examine

    found = examine()
    screen = Terminal(as_json=as_json)
    screen.rows("checks", [asdict(check) for check in found], ["name", "found", "means"])
    if any(check.is_fatal for check in found):
        raise errors.MachineError("something that every command needs is missing; see above")


@app.command()
def bench(
    name: Annotated[
        str,
        typer.Argument(help="decode, generate, first_audio, prepare, train, ring, serve or fleet."),
    ],
    asr: Annotated[
        str | None, typer.Option(help="Of prepare: the Whisper that both sides hear with.")
    ] = None,
    recordings: Annotated[
        Path | None, typer.Option(help="Of prepare: a folder of speech in place of data_samples.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Of fleet: where its cells are kept; what is there is not repeated."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=1, help="Of fleet: begin nothing that takes longer.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Only the JSON line.")] = False,
) -> None:
    """Two things side by side in one run; the last line is JSON."""
    from orpheus_clone.bench import Options, run

    screen = Terminal(as_json=as_json)
    with screen.wait(f"bench {name}: some minutes on a CPU"):
        result = run(name, Options(asr, recordings, out, minutes))
    if not as_json:
        screen.rows("rows", result.rows, list(result.rows[0]))
    Terminal(as_json=True).result(result.line)


def _facts(base: "BaseModel") -> dict[str, object]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(base).items()}
