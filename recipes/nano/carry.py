"""Take nano's training to a machine that nothing else reaches, in small files, and back.

    python recipes/nano/carry.py pack OUT_DIR SPEECH_DIR…    recordings as Opus, 13 MB an hour
    python recipes/nano/carry.py split OUT_DIR FILE…         into pieces of at most 15 MiB
    python recipes/nano/carry.py join OUT_DIR PIECES_DIR     the files that were split
    python recipes/nano/carry.py slim CHECKPOINT OUT         optimiser's memory at half precision
    python recipes/nano/carry.py keep TRAINED_DIR OUT_DIR    weights at half precision, for git

`pack` keeps each folder's name and each file's, so that speakers are told apart there as here. A
slim codec checkpoint goes on nearly as the whole one would: 42 MB instead of 73.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import clips
import soundfile
import torch
from rich.progress import track
from safetensors.torch import load_file, save_file

from orpheus_clone import audio, tokens

PIECE = 15 * 2**20
OPUS_LEVEL = 0.92
"""libsndfile's scale from 0, 256 kbit/s, to 1, 6 kbit/s; this is about 28 kbit/s."""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, do one of the five."""
    parser = argparse.ArgumentParser(description="Carry nano's training elsewhere and back.")
    verbs = parser.add_subparsers(required=True)
    for name, act, many in (("pack", pack, "+"), ("split", split, "+"), ("join", join, 1)):
        verb = verbs.add_parser(name)
        verb.add_argument("out", type=Path)
        verb.add_argument("sources", type=Path, nargs=many)
        verb.set_defaults(act=act)
    for name, one, source in (("slim", slim, "CHECKPOINT"), ("keep", keep, "TRAINED_DIR")):
        verb = verbs.add_parser(name)
        verb.add_argument("sources", type=Path, nargs=1, metavar=source)
        verb.add_argument("out", type=Path)
        verb.set_defaults(act=one)
    args = parser.parse_args(argv)
    args.act(args.out, args.sources)


def pack(out: Path, folders: list[Path]) -> None:
    """Every recording below `folders` into `out`, small."""
    paths = clips.find(folders)
    with ProcessPoolExecutor() as pool:
        sizes = list(track(pool.map(_pack_one, paths, [out] * len(paths)), total=len(paths)))
    print(f"{len(paths)} recordings, {sum(sizes) / 2**20:.1f} MiB", file=sys.stderr)


def split(out: Path, files: list[Path]) -> None:
    """NAME to NAME.000, NAME.001, … in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for file in files:
        content = file.read_bytes()
        for number, start in enumerate(range(0, len(content), PIECE)):
            (out / f"{file.name}.{number:03}").write_bytes(content[start : start + PIECE])


def join(out: Path, folders: list[Path]) -> None:
    """The inverse of `split`."""
    out.mkdir(parents=True, exist_ok=True)
    pieces = sorted(folders[0].glob("*.[0-9][0-9][0-9]"))
    for name in sorted({piece.stem for piece in pieces}):
        content = b"".join(piece.read_bytes() for piece in pieces if piece.stem == name)
        (out / name).write_bytes(content)


def slim(out: Path, checkpoints: list[Path]) -> None:
    """A codec checkpoint whose optimisers remember in bfloat16."""
    state = torch.load(checkpoints[0], map_location="cpu", weights_only=True)
    for memory in (
        *state["optimisers"],
        *([state["critics_optimiser"]] if "critics" in state else []),
    ):
        memory["state"] = _halved(memory["state"])
    torch.save(state, out)


def keep(out: Path, trained: list[Path]) -> None:
    """A trained codec, or a base, at half precision, and the digests of its files."""
    out.mkdir(parents=True, exist_ok=True)
    is_base = (trained[0] / "base.safetensors").is_file()
    weights_name = "base.safetensors" if is_base else "model.safetensors"
    half = torch.bfloat16 if is_base else torch.float16
    weights = load_file(trained[0] / weights_name)
    halved = {n: w.to(half) if w.is_floating_point() else w for n, w in weights.items()}
    save_file(halved, out / weights_name)
    others = ("config.json", "tokenizer.json") if is_base else ("config.json",)
    for name in others:
        (out / name).write_bytes((trained[0] / name).read_bytes())
    names = sorted([*others, weights_name])
    lines = [f"{hashlib.sha256((out / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (out / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def _halved(memory: Any) -> Any:
    if isinstance(memory, dict):
        return {key: _halved(value) for key, value in memory.items()}
    is_moment = isinstance(memory, torch.Tensor) and memory.ndim > 0
    return memory.to(torch.bfloat16) if is_moment else memory


def _pack_one(path: Path, out: Path) -> int:
    packed = out / path.parent.name / f"{path.stem}.ogg"
    if not packed.is_file():
        packed.parent.mkdir(parents=True, exist_ok=True)
        samples = audio.read(path)
        soundfile.write(
            packed,
            samples,
            tokens.SAMPLE_RATE,
            format="OGG",
            subtype="OPUS",
            compression_level=OPUS_LEVEL,
        )
    return packed.stat().st_size


if __name__ == "__main__":
    main()
