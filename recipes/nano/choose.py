"""Is the epoch that was chosen by ear better than the one with the lowest loss?

    python recipes/nano/choose.py CORPUS OUT --base BASE [--clips 30] [--epochs 12] [--cut 0.25]

A run that is made to go wrong: many epochs on few clips of a prepared CORPUS, a quarter of which
have lost the end of their speech while their text kept it. The held-out clips are cut alike, so
the held-out loss does not mind. train keeps every epoch and chooses one; then that one and the one
with the lowest held-out loss speak 24 prompts that train does not use, and are heard by judges
that train does not use:

    words    moonshine tiny (../allison/audit.py): word error rate over all prompts
    voice    ERes2Net (judges.py): mean cosine to 30 clips of CORPUS that were not learnt

The last line is JSON. `differ` says whether the two are different epochs; only then does `better`
name the one with fewer words wrong, or, within a point of that, the nearer voice.

Limits: BASE must have learnt to speak, and the voice of CORPUS must be one that it can learn; of
others no epoch says words. spoken.py makes one for nano. One run is one case, not a proof.
"""

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path

import datasets
import judges
import numpy as np
import torch
from numpy.typing import NDArray

from orpheus_clone import audio, disk, layout, manifest, models, recipe, silence
from orpheus_clone.audio import Waveform
from orpheus_clone.bundle import WEIGHTS_FILE, Adapter, bundle_name
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.hf import HfEngine
from orpheus_clone.errors import NoSpeechError
from orpheus_clone.layout import PreparedDir, RunDir
from orpheus_clone.manifest import Clip
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare import corpus
from orpheus_clone.prepare.encode import Encoded
from orpheus_clone.recipe import Recipe, Selection
from orpheus_clone.speech import Speaker, Voice
from orpheus_clone.tokens import FRAME, FRAME_SAMPLES, SAMPLE_RATE, Codes
from orpheus_clone.train import report
from orpheus_clone.train.run import train

sys.path.append(str(Path(__file__).parents[1] / "allison"))
import audit

HELDOUT = 5
"""One clip in so many is held out."""
REFERENCES = 30
CUT = 0.35
"""Share of its frames that a cut clip has lost, from the end."""
EQUAL_WORDS = 0.01
PROMPTS = 24


@dataclass(frozen=True)
class Verdict:
    """An epoch by the judges that train does not use."""

    epoch: int
    wer: float
    similarity: float


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, cut, train, speak, judge; the last line is JSON."""
    args = _parser().parse_args(argv)
    base = models.locate(args.base)
    if base.is_random:
        raise SystemExit(f"{args.base} is random and cannot speak; name a base that learnt to")
    settings = recipe.load(
        args.recipe,
        ["train.selection.patience=null", f"train.epochs={args.epochs}", *args.set],
    )
    source, data, run = (
        PreparedDir(args.corpus),
        PreparedDir(args.out / "data"),
        RunDir(args.out / "run"),
    )
    others = draw(source, data, args.clips, args.cut, args.seed)
    train(data, run, recipe=settings, base=base, say=lambda line: print(line, file=sys.stderr))
    note, rows = report.read_rows(run)
    chosen = next(row["epoch"] for row in rows if row["chosen"])
    lowest = min(rows, key=lambda row: row["heldout_loss"])["epoch"]
    voice = voice_of(source, others[:REFERENCES])
    verdicts = {e: judge(run, base, settings, e, voice) for e in {lowest, chosen}}
    pair = verdicts[lowest], verdicts[chosen]
    print(f"{note}\n{listing(rows, *pair)}\n")
    print(json.dumps({"constructed": source.stamp().voice, "seed": args.seed} | summary(*pair)))
    return 0


def draw(source: PreparedDir, out: PreparedDir, count: int, cut: float, seed: int) -> list[Clip]:
    """Write `count` clips of the corpus, a share `cut` of them cut short; the others."""
    clips, codes = manifest.read_clips(source.clips), codes_of(source)
    random.Random(seed).shuffle(clips)
    drawn = [
        shortened(clip) if is_short else clip
        for clip, is_short in zip(clips[:count], _spread(count, cut), strict=True)
    ]
    split: dict[bool, manifest.Split] = {True: "heldout", False: "train"}
    drawn = [replace(clip, split=split[n % HELDOUT == 0]) for n, clip in enumerate(drawn)]
    for clip in drawn:
        samples = audio.read(source.audio / f"{clip.key}.flac")
        audio.write(out.audio / f"{clip.key}.flac", samples[: clip.frames * FRAME_SAMPLES])
    encoded = [Encoded(codes[clip.id][: clip.frames], 0, 0, 0.0, 0.0) for clip in drawn]
    corpus.write_dataset(out, drawn, encoded)
    manifest.write_clips(out.clips, drawn)
    digest = disk.sha256_json([source.stamp().data_digest, count, cut, seed])
    layout.write_stamp(out.stamp_file, replace(source.stamp(), clips=count, data_digest=digest))
    return clips[count:]


def codes_of(corpus: PreparedDir) -> dict[str, Codes]:
    """Of each clip, by its id, shape (frames, 7)."""
    rows = datasets.concatenate_datasets(
        list(datasets.load_from_disk(str(corpus.dataset)).values())
    )
    return {row["id"]: np.array(row["codes"], np.int64).reshape(-1, FRAME) for row in rows}


def voice_of(corpus: PreparedDir, clips: Sequence[Clip]) -> NDArray[np.float32]:
    """The unit vector of the voice in these clips."""
    found = [judges.speaker(audio.read(corpus.audio / f"{clip.key}.flac")) for clip in clips]
    mean = np.mean(found, axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def _spread(count: int, share: float) -> list[bool]:
    """Which of `count` are cut: evenly, so that of those held out as many are."""
    groups = (n // HELDOUT for n in range(count))
    return [int((group + 1) * share) > int(group * share) for group in groups]


def shortened(clip: Clip) -> Clip:
    """Without the last `CUT` of it."""
    frames = round((1 - CUT) * clip.frames)
    seconds = frames * FRAME_SAMPLES / SAMPLE_RATE
    return replace(clip, frames=frames, seconds=seconds, end_s=clip.start_s + seconds)


def judge(
    run: RunDir, base: BaseModel, settings: Recipe, epoch: int, voice: NDArray[np.float32]
) -> Verdict:
    """An epoch's adapter, spoken through and heard."""
    texts = prompts(base)
    spoken = asyncio.run(speak(run, epoch, base, settings, texts))
    heard = [audit.words(samples) if len(samples) else "" for samples in spoken]
    likeness = [float(judges.speaker(samples) @ voice) for samples in spoken if _speaks(samples)]
    return Verdict(
        epoch=epoch,
        wer=round(judges.word_error_rate(texts, heard), 4),
        similarity=round(float(np.mean(likeness)) if likeness else -1.0, 4),
    )


async def speak(
    run: RunDir, epoch: int, base: BaseModel, settings: Recipe, texts: Sequence[str]
) -> list[Waveform]:
    """Every text through that epoch's adapter."""
    name, folder = run.stamp().voice, run.epochs / f"epoch-{epoch}"
    digest = disk.sha256_file(folder / WEIGHTS_FILE)
    voice = Voice(name, Adapter(bundle_name(name, digest), folder, digest), settings.sampling)
    torch.manual_seed(0)  # the codec's noise
    engine = HfEngine(base)
    speaker = Speaker(engine, Codec(base.codec_path), base, is_exact=True)
    try:
        return [await speaker.say(text, voice, seed=1000 + n) for n, text in enumerate(texts)]
    finally:
        await engine.close()


def prompts(base: BaseModel) -> list[str]:
    """Sentences that train did not use, evenly drawn: eval's, or those that the base can say."""
    used, lines = (
        (files(f"orpheus_clone.{verb}") / "prompts.txt").read_text(encoding="utf-8").splitlines()
        for verb in ("train", "eval")
    )
    if base.prompts:
        used, lines = list(base.prompts[: Selection().prompts]), list(base.prompts)
    fresh = [line for line in lines if line not in used]
    return [fresh[i * len(fresh) // PROMPTS] for i in range(PROMPTS)]


def summary(lowest: Verdict, chosen: Verdict) -> dict[str, object]:
    """The last line."""
    better = None
    if lowest.epoch != chosen.epoch:
        better = "chosen" if is_better(chosen, lowest) else "lowest_loss"
    return {
        "lowest_loss": asdict(lowest),
        "chosen": asdict(chosen),
        "differ": lowest.epoch != chosen.epoch,
        "better": better,
    }


def is_better(one: Verdict, other: Verdict) -> bool:
    """Fewer words wrong, or as many and nearer to the voice."""
    if abs(one.wer - other.wer) > EQUAL_WORDS:
        return one.wer < other.wer
    return one.similarity > other.similarity


def listing(rows: Sequence[dict[str, object]], lowest: Verdict, chosen: Verdict) -> str:
    """A line for each epoch, and one for each that was judged."""
    names = ("epoch", "heldout_loss", "stop_rate", "wer", "coverage", "similarity", "chosen")
    lines = ["  ".join(f"{name:>12}" for name in names)]
    lines += ["  ".join(f"{_shown(row[name]):>12}" for name in names) for row in rows]
    for name, verdict in (("lowest loss", lowest), ("chosen", chosen)):
        lines.append(
            f"{name}: epoch {verdict.epoch}, by judges that train does not use: "
            f"WER {verdict.wer:.1%}, similarity {verdict.similarity:.3f}"
        )
    return "\n".join(lines)


def _shown(value: object) -> str:
    if value is None:
        return "—"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _speaks(samples: Waveform) -> bool:
    try:
        silence.speech_span(samples, SAMPLE_RATE)
    except NoSpeechError:
        return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Chosen by ear against chosen by loss.")
    parser.add_argument("corpus", type=Path, help="what `orpheus-clone prepare` wrote")
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", required=True, help="a base that speaks: a name or a directory")
    parser.add_argument("--recipe", type=Path, help="recipes/nano/clone.yaml for nano")
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--cut", type=float, default=0.25, help="share of the clips cut short")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
