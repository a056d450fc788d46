"""The command line: parse, call one function, print what it returns.

Heavy imports are inside the commands, so that --help and completion are instant. Results go to
stdout (with --json, one object), talk goes to stderr. Exit codes are in errors.py.
"""

import asyncio
import sys
import traceback
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from orpheus_clone import __version__, errors, terminal
from orpheus_clone.terminal import Terminal

if TYPE_CHECKING:
    from orpheus_clone.engine import EngineName
    from orpheus_clone.models import BaseModel
    from orpheus_clone.recipe import Recipe

EXIT_CODES = """Exit codes: 0 done, 1 a gate failed, 2 wrong usage or recipe, 3 unusable recordings
or text, 4 a model, run or bundle is missing or altered, 5 training cannot go on, 6 engine or node,
7 the machine lacks something, 70 a bug of ours, 130 interrupted."""

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

AudioArg = Annotated[
    list[str], typer.Argument(help="Audio files, folders or globs.", metavar="AUDIO…")
]
VoiceOption = Annotated[str, typer.Option("--voice", help="The voice's name: a-z, 0-9, _ and -.")]
OutOption = Annotated[Path, typer.Option("--out", help="Directory to write.")]
RunArg = Annotated[Path, typer.Argument(help="A run that train made.", metavar="RUN_DIR")]
TranscriptsOption = Annotated[
    Path | None,
    typer.Option(
        help="metadata.csv, `name: text` lines, or JSONL. Found beside AUDIO if left out."
    ),
]
BaseOption = Annotated[str, typer.Option("--base", help="nano, orpheus-3b, or a directory.")]
RunBaseOption = Annotated[
    str | None, typer.Option("--base", help="The base model, if it is not where train found it.")
]
LanguageOption = Annotated[str, typer.Option(help="Language of the recordings.")]
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
ServerOption = Annotated[str, typer.Option("--server", help="URL of a node.")]

_INTERRUPTED = 130
_EXTRAS = dict.fromkeys(
    ("accelerate", "av", "datasets", "librosa", "matplotlib", "peft"), "train"
) | dict.fromkeys(("fastapi", "prometheus_client", "redis", "uvicorn"), "serve")
"""Which extra brings a package that some commands import."""


def main() -> None:
    """Entry point: deliberate errors become a line and an exit code, bugs keep their traceback."""
    try:
        app()
    except errors.OrpheusCloneError as error:
        terminal.print_error(str(error))
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # typer has caught the KeyboardInterrupt
            terminal.print_error("interrupted; run the same command again to go on")
        raise
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            _report_bug()
        terminal.print_error(
            f"this needs the package {error.name}: pip install 'orpheus-clone[{extra}]'"
        )
        sys.exit(errors.MachineError.exit_code)
    except Exception:
        _report_bug()


def _report_bug() -> NoReturn:
    traceback.print_exc()
    terminal.print_error("this is a bug of orpheus-clone; please report it with the lines above")
    sys.exit(errors.OrpheusCloneError.exit_code)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Half an hour of speech to an Orpheus voice, proved, published and served."""
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def prepare(
    audio: AudioArg,
    voice: VoiceOption,
    out: OutOption,
    transcripts: TranscriptsOption = None,
    base: BaseOption = "orpheus-3b",
    language: LanguageOption = "en",
    consent: ConsentOption = None,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a corpus of recordings: trimmed, tokenized, checked, split."""
    from orpheus_clone.layout import PreparedDir
    from orpheus_clone.prepare.run import prepare as run

    screen = Terminal(as_json=as_json)
    settings, located = _recipe(recipe, overrides), _locate(base, screen)
    with screen.bar("prepare") as bar:
        stamp = run(
            audio,
            voice,
            PreparedDir(out),
            transcripts=transcripts,
            base=located,
            language=language,
            recipe=settings,
            consent=consent,
            progress=bar,
        )
    if stamp.rejected:
        screen.say(f"{stamp.rejected} not kept: the reasons are in {out / 'rejected.jsonl'}")
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
    """Fit a LoRA adapter; killed, it goes on from the last checkpoint."""
    from orpheus_clone.layout import PreparedDir, RunDir
    from orpheus_clone.train.run import is_done
    from orpheus_clone.train.run import train as run

    screen, data = Terminal(as_json=as_json), PreparedDir(data_dir)
    settings = _recipe(recipe, overrides)
    located = _locate(base or data.stamp().base, screen)
    if RunDir(out).stamp_file.is_file() and not is_done(data, RunDir(out), settings, located):
        screen.say(f"{out} holds a run of another recipe, corpus or base: training anew")
    with screen.training() as report:
        stamp = run(data, RunDir(out), recipe=settings, base=located, report=report)
    screen.result(asdict(stamp) | {"out": str(out)}, f"{stamp.voice}: trained")


@app.command(name="eval")
def evaluate(
    run_dir: RunArg,
    engine: EngineOption = "auto",
    base: RunBaseOption = None,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Speak, measure and judge; exit code 1 when a gate fails."""
    from orpheus_clone.layout import RunDir, read_json, write_text
    from orpheus_clone.pipeline import evaluate_run
    from orpheus_clone.recipe import dump

    screen, run = Terminal(as_json=as_json), RunDir(run_dir)
    located = _locate(base or run.stamp().base, screen)
    # How the voice was trained, and what may be published, stay as they were.
    asked = _recipe(recipe or run.recipe, overrides)
    settings = _recipe(run.recipe, None).model_copy(
        update={"eval": asked.eval, "sampling": asked.sampling}
    )
    asyncio.run(evaluate_run(run, located, settings, _engine(engine), screen, is_forced=True))
    write_text(run.recipe, dump(settings))
    report = read_json(run.report, "run eval again")
    if as_json:
        shown = {name: report[name] for name in ("voice", "verdict", "gates", "summary")}
        screen.result(shown | {"report": str(run.eval / "report.html")})
    else:
        screen.rows("gates", report["gates"], ["name", "status", "value", "limit", "unit", "why"])
        screen.say(f"{report['verdict']}; listen: {run.eval / 'report.html'}")
    if report["verdict"] == "failed":
        raise typer.Exit(errors.GateFailed.exit_code)


@app.command()
def publish(
    run_dir: RunArg,
    to: Annotated[str, typer.Option(help="URL of a node, or the directory of a store.")],
    key: KeyOption = None,
    override: Annotated[
        str | None, typer.Option(help="Why a voice with a failed gate may go.", metavar="REASON")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Release a proved voice; a voice that failed its gates is refused."""
    from orpheus_clone.layout import RunDir
    from orpheus_clone.publish.run import publish as run

    published = run(RunDir(run_dir), to, key=key, override_reason=override)
    Terminal(as_json=as_json).result(asdict(published), f"{published.voice}: published")


@app.command()
def rollback(
    voice: Annotated[str, typer.Argument(help="The voice's name.")],
    to: Annotated[str, typer.Option(help="URL of a node, or the directory of a store.")],
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a voice's name mean its bundle before the current one."""
    from orpheus_clone.publish.run import rollback as run

    Terminal(as_json=as_json).result({"voice": voice, "bundle": run(voice, to, key=key)})


@app.command()
def serve(
    base: BaseOption,
    host: Annotated[
        str, typer.Option(help="Address; beyond loopback only with keys.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")
    ] = 8000,
    store: Annotated[Path, typer.Option(help="Where voices are kept.")] = Path("voices"),
    engine: EngineOption = "auto",
    max_adapters: Annotated[int, typer.Option(min=1, help="Voices in the engine at a time.")] = 4,
    allow_unproven: Annotated[
        bool, typer.Option(help="Take voices whose gates were not measured.")
    ] = False,
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
    as_json: JsonOption = False,
) -> None:
    """Run a node. Keys that clients must show come from $ORPHEUS_CLONE_KEYS."""
    from orpheus_clone.serve.run import Settings
    from orpheus_clone.serve.run import serve as run

    screen = Terminal(as_json=as_json)
    located = _locate(base, screen)
    settings = Settings(
        host=host,
        port=port,
        store=store,
        engine=_engine(engine),
        max_adapters=max_adapters,
        allows_unproven=allow_unproven,
        redis_url=redis_url,
        node_id=node_id,
        node_url=node_url,
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
        located = _locate(base_of(run) or base, screen)
        with screen.wait("starting an engine, and speaking"):
            speaking = here(text, voice, run, located, _engine(engine), screen.say)
            samples = asyncio.run(speaking)
    audio.write(output, samples)
    seconds = round(len(samples) / SAMPLE_RATE, 3)
    screen.result({"voice": voice, "seconds": seconds, "output": str(output)})


@app.command()
def clone(
    audio: AudioArg,
    voice: VoiceOption,
    out: OutOption,
    publish_to: Annotated[str | None, typer.Option(help="URL of a node, or a store.")] = None,
    transcripts: TranscriptsOption = None,
    base: BaseOption = "orpheus-3b",
    language: LanguageOption = "en",
    consent: ConsentOption = None,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    engine: EngineOption = "auto",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """prepare, train, eval and publish in one; killed anywhere, run it again."""
    from orpheus_clone.pipeline import clone as run

    screen = Terminal(as_json=as_json)
    settings, located = _recipe(recipe, overrides), _locate(base, screen)
    cloned = run(
        audio,
        voice,
        out,
        base=located,
        recipe=settings,
        screen=screen,
        engine=_engine(engine),
        transcripts=transcripts,
        language=language,
        consent=consent,
        publish_to=publish_to,
        key=key,
    )
    screen.result(asdict(cloned), f"{voice}: cloned")


@app.command()
def voices(server: ServerOption, key: KeyOption = None, as_json: JsonOption = False) -> None:
    """What a node can speak with, and what was proved of it."""
    from orpheus_clone.client import NodeClient

    columns = ["id", "kind", "language", "proof", "bundle", "consent"]
    Terminal(as_json=as_json).rows("voices", NodeClient(server, key).voices(), columns)


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
    facts = {
        k: str(v) if isinstance(v, Path) else v for k, v in asdict(_locate(name, screen)).items()
    }
    screen.result(facts, name)


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
    base = _locate(name, screen)
    with screen.wait(f"writing {out}"):
        made = optimise(base, out)
    screen.result({k: str(v) if isinstance(v, Path) else v for k, v in asdict(made).items()}, name)


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
    name: Annotated[str, typer.Argument(help="decode, generate or first_audio.")],
    as_json: Annotated[bool, typer.Option("--json", help="Only the JSON line.")] = False,
) -> None:
    """Two things side by side in one run; the last line is JSON."""
    from orpheus_clone.bench import run

    screen = Terminal(as_json=as_json)
    with screen.wait(f"bench {name}: a minute or two on a CPU"):
        result = run(name)
    if not as_json:
        screen.rows("rows", result.rows, list(result.rows[0]))
    Terminal(as_json=True).result(result.line)


def _recipe(path: Path | None, overrides: list[str] | None) -> "Recipe":
    from orpheus_clone.recipe import load

    return load(path, overrides or ())


def _locate(base: str, screen: Terminal) -> "BaseModel":
    from orpheus_clone.models import locate

    return locate(base, screen.say)


def _engine(name: str) -> "EngineName":
    from orpheus_clone.engine import checked_name

    return checked_name(name)
