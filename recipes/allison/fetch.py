"""Fetch 24 minutes of one real speaker, Allison Smith, with transcripts, from Debian packages.

    python recipes/allison/fetch.py OUT_DIR [--minutes N]

    asterisk-core-sounds-en-g722    recordings, 16 kHz G.722       ──▶ OUT_DIR/audio/NAME.flac
    asterisk-core-sounds-en         core-sounds-en.txt.gz          ──▶ OUT_DIR/transcripts.txt
                                    what was asked, and whose it is ──▶ OUT_DIR/source.json

Licence. The recordings are CC BY-SA 3.0, copyright 2003-2010 Allison Smith: name her, and share
what you derive under the same licence. Her licence is not her consent to be cloned: no adapter of
her voice may be committed or released. She is here to measure with.

NAME is the path below the sounds folder with "/" replaced by "-" (`digits-0`). Left out are clips
whose transcript holds a `[...]`, `<...>` or `(...)` mark, which tells of a noise, a silence or a
sign and not of words spoken, and clips under 0.6 s. Transcripts are otherwise as in the package,
misspellings included; the silences in the recordings are kept as well.

`source.json` is written first and `transcripts.txt` last, each file whole or not at all. So a
folder with a transcript is complete, and a run that was killed is completed by the next one.

Limits: needs `apt-get` and `dpkg-deb` (Debian, Ubuntu) and PyAV; nothing is installed.
"""

import argparse
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

AUDIO_PACKAGE = "asterisk-core-sounds-en-g722"
TEXT_PACKAGE = "asterisk-core-sounds-en"
SOUNDS = Path("usr/share/asterisk/sounds/en_US_f_Allison")
TEXTS = Path("usr/share/doc", TEXT_PACKAGE, "core-sounds-en.txt.gz")

RATE_HZ = 16_000
SAMPLES_PER_BYTE = 2
"""G.722 at 64 kbit/s: the size of a file gives its length without decoding it."""
SHORTEST_S = 0.6
SOURCE = "source.json"
MARK = re.compile(r"\[.*?\]|<.*?>|\(.*?\)")


class FetchError(Exception):
    """The recordings cannot be had; the message says what to do next."""


@dataclass(frozen=True)
class Clip:
    """One recording in the unpacked packages, with what is said in it."""

    name: str
    text: str
    source: Path

    @property
    def seconds(self) -> float:
        """Length in seconds, of the silences too."""
        return self.source.stat().st_size * SAMPLES_PER_BYTE / RATE_HZ


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, fetch, say what lies there; exit code 1 where it cannot be had."""
    args = _parser().parse_args(argv)
    try:
        fetched = fetch(args.out_dir, args.minutes)
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{summary(args.out_dir)}{'' if fetched else ' (already there, nothing to do)'}")
    return 0


def fetch(out: Path, minutes: float | None = None) -> bool:
    """Fill `out` with `minutes` of clips, or all; False where everything lay there already."""
    source = _source_json(minutes)
    _refuse_other_content(out, source)
    if is_complete(out):
        return False
    _refuse_other_systems()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for package in (AUDIO_PACKAGE, TEXT_PACKAGE):
            run(["dpkg-deb", "-x", str(download(package, root)), str(root)], root)
        clips = select(spoken_clips(root), minutes)
        (out / "audio").mkdir(parents=True, exist_ok=True)
        _write_whole(out / SOURCE, lambda part: part.write_text(source, encoding="utf-8"))
        for clip in clips:
            _write_audio(clip, audio_path(out, clip.name))
    lines = "".join(f"{clip.name}: {clip.text}\n" for clip in clips)
    _write_whole(out / "transcripts.txt", lambda part: part.write_text(lines, encoding="utf-8"))
    return True


def audio_path(out: Path, name: str) -> Path:
    """Where the clip called `name` lies."""
    return out / "audio" / f"{name}.flac"


def is_complete(out: Path) -> bool:
    """Whether the transcripts, and every clip that they name, lie in `out`."""
    return (out / "transcripts.txt").is_file() and all(
        audio_path(out, name).is_file() for name in _names(out)
    )


def summary(out: Path) -> str:
    """`537 clips, 24.0 minutes in OUT_DIR`, as measured from the files."""
    frames = [soundfile.info(audio_path(out, name)).frames for name in _names(out)]
    return f"{len(frames)} clips, {sum(frames) / RATE_HZ / 60:.1f} minutes in {out}"


def select(clips: Sequence[Clip], minutes: float | None) -> list[Clip]:
    """The clips by name: all, or as many as reach `minutes`, drawn in order of their hash."""
    chosen: list[Clip] = []
    wanted_s = float("inf") if minutes is None else minutes * 60
    for clip in sorted(clips, key=lambda clip: hashlib.sha256(clip.name.encode()).digest()):
        if wanted_s <= 0:
            break
        chosen.append(clip)
        wanted_s -= clip.seconds
    return sorted(chosen, key=lambda clip: clip.name)


def spoken_clips(root: Path) -> list[Clip]:
    """Clips of words, 0.6 s or longer, in the packages unpacked at `root`."""
    for part in (TEXTS, SOUNDS):
        if not (root / part).exists():
            raise FetchError(f"the packages hold no {part}; this script knows their version 1.6.1")
    texts = parse_transcripts(gzip.decompress((root / TEXTS).read_bytes()).decode(), TEXTS.name)
    words = {path: text for path, text in texts.items() if text and not MARK.search(text)}
    clips = [
        Clip(path.replace("/", "-"), text, root / SOUNDS / f"{path}.g722")
        for path, text in words.items()
    ]
    recorded = [clip for clip in clips if clip.source.is_file()]
    long_enough = [clip for clip in recorded if clip.seconds >= SHORTEST_S]
    print(
        f"left out of {len(texts)} transcripts: {len(texts) - len(words)} that are not words, "
        f"{len(clips) - len(recorded)} without a recording, "
        f"{len(recorded) - len(long_enough)} under {SHORTEST_S} s",
        file=sys.stderr,
    )
    return long_enough


def parse_transcripts(table: str, name: str) -> dict[str, str]:
    """`path: text` lines as a dictionary, runs of spaces as one; `;` begins a comment."""
    texts: dict[str, str] = {}
    for number, line in enumerate(table.splitlines(), start=1):
        if not line.strip() or line.startswith(";"):
            continue
        path, colon, text = line.partition(":")
        if not colon:
            raise FetchError(f"{name}:{number}: no colon in {line!r}; expected `name: text`")
        texts[path.strip()] = " ".join(text.split())
    return texts


def decode_g722(path: Path) -> NDArray[np.int16]:
    """A raw G.722 file as 16 kHz mono, shape (samples,); two samples a byte, or FetchError."""
    with av.open(str(path), format="g722") as container:
        blocks = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    samples = np.concatenate(blocks).astype(np.int16, casting="safe")
    if len(samples) != path.stat().st_size * SAMPLES_PER_BYTE:
        raise FetchError(f"{path.name}: decoded to {len(samples)} samples, not two a byte")
    return samples


def _source_json(minutes: float | None) -> str:
    source = {
        "speaker": "Allison Smith",
        "licence": "CC BY-SA 3.0; a licence to the recordings, not consent to be cloned",
        "changes": "decoded from G.722 to FLAC; a selection of the clips",
        "packages": [AUDIO_PACKAGE, TEXT_PACKAGE],
        "minutes": minutes,
    }
    return json.dumps(source, indent=2) + "\n"


def _refuse_other_content(out: Path, source: str) -> None:
    """FetchError unless `out` is new, empty, or was begun by the same request."""
    if out.exists() and not out.is_dir():
        raise FetchError(f"{out} is a file; name a folder")
    record = out / SOURCE
    if record.is_file():
        if record.read_text(encoding="utf-8") != source:
            raise FetchError(
                f"{out} was begun with another --minutes ({record}); name a new folder"
            )
    elif out.is_dir() and {path.name for path in out.iterdir()} - {"audio", f"{SOURCE}.part"}:
        raise FetchError(f"{out} is not empty and not from this script; name a new folder")


def _refuse_other_systems() -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise FetchError(f"{tool} is not on this machine; run this on Debian or Ubuntu")


def download(package: str, folder: Path) -> Path:
    """The package's .deb; where apt does not have it, root refreshes apt's lists once."""
    command = ["apt-get", "download", package]
    try:
        run(command, folder)
    except FetchError as error:
        if os.geteuid() != 0:
            raise FetchError(f"{error}\nrun `sudo apt-get update` first, then this again") from None
        print(f"{error}\nrunning `apt-get update` once", file=sys.stderr)
        # Its exit status also tells of sources that are of no use here: let the download judge.
        subprocess.run(["apt-get", "update"], capture_output=True, check=False)
        run(command, folder)
    return next(folder.glob(f"{package}_*.deb"))


def run(command: list[str], folder: Path) -> None:
    """Run a command in `folder`; FetchError with what it said where it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FetchError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")


def _write_audio(clip: Clip, path: Path) -> None:
    if path.is_file():
        return
    samples = decode_g722(clip.source)
    _write_whole(
        path, lambda part: soundfile.write(part, samples, RATE_HZ, "PCM_16", format="FLAC")
    )


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """`write` beside `path`, then rename: a killed run leaves no half file under the name."""
    part = path.with_name(f"{path.name}.part")
    write(part)
    part.replace(path)


def _names(out: Path) -> list[str]:
    lines = (out / "transcripts.txt").read_text(encoding="utf-8").splitlines()
    return [line.partition(":")[0] for line in lines]


def _minutes(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of minutes")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Fetch the recordings of Allison Smith (CC BY-SA 3.0; not to be released as a "
        "voice) with their transcripts."
    )
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="folder to fill")
    parser.add_argument(
        "--minutes", type=_minutes, metavar="N", help="keep a fixed slice of N minutes, not all 24"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
