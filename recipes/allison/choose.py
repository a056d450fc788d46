"""Is the epoch that was chosen by ear better than the one with the lowest loss?

    python recipes/allison/choose.py SOURCE OUT --base BASE [--clips 30] [--epochs 12] [--cut 0.25]

A run that is made to go wrong: many epochs on few clips of Allison Smith, a quarter of which have
lost the end of their speech while their text kept it, so that the voice learns to stop early. The
held-out clips are cut alike, so the held-out loss does not mind. train keeps every epoch and
chooses one; then that one and the one with the lowest held-out loss speak 24 prompts that train
does not use, and are heard by judges that train does not use:

    words    moonshine tiny (audit.py): word error rate over all prompts
    voice    ERes2Net (../nano/judges.py): mean cosine to 30 recordings that were not learnt

The last line is JSON. `differ` says whether the two are different epochs; only then does `better`
name the one with fewer words wrong, or, within a point of that, the nearer voice.

Limits: BASE must have learnt to speak; of a random one no epoch is heard. One run is one case, not
a proof. The adapters are of a voice that gave no consent to be cloned: they stay in OUT.
"""

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

import audit
import fetch
import numpy as np
import torch
from numpy.typing import NDArray

from orpheus_clone import audio, disk, models, recipe, silence
from orpheus_clone.audio import Waveform
from orpheus_clone.bundle import WEIGHTS_FILE, Adapter, bundle_name
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.hf import HfEngine
from orpheus_clone.errors import NoSpeechError
from orpheus_clone.layout import PreparedDir, RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare.order import Order
from orpheus_clone.prepare.run import prepare
from orpheus_clone.recipe import Recipe, Selection
from orpheus_clone.speech import Speaker, Voice
from orpheus_clone.tokens import SAMPLE_RATE
from orpheus_clone.train import report
from orpheus_clone.train.run import train

sys.path.append(str(Path(__file__).parents[1] / "nano"))
import judges

VOICE = "allison"
DRAWN_S = (1.5, 12.0)
CUT = 0.35
"""Share of its speech that a cut clip has lost, from the end."""
EQUAL_WORDS = 0.01
PROMPTS = 24
UNCHECKED = [
    "prepare.limits.cer_max=null",
    "prepare.limits.unspoken_words_max=null",
    "prepare.heldout_fraction=0.2",
    "train.selection.patience=null",
]
"""prepare would find the clips that were cut."""


@dataclass(frozen=True)
class Verdict:
    """An epoch by the judges that train does not use."""

    epoch: int
    wer: float
    similarity: float


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, cut, prepare, train, speak, judge; the last line is JSON."""
    args = _parser().parse_args(argv)
    base = models.locate(args.base)
    if base.is_random:
        raise SystemExit(f"{args.base} is random and cannot speak; name a base that learnt to")
    drawn = draw(args.source, args.clips, args.seed)
    write(args.source, drawn, args.out / "recordings", args.cut, args.seed)
    settings = recipe.load(args.recipe, [*UNCHECKED, f"train.epochs={args.epochs}", *args.set])
    run = trained(args.out, base, settings)
    note, rows = report.read_rows(run)
    chosen = next(row["epoch"] for row in rows if row["chosen"])
    lowest = min(rows, key=lambda row: row["heldout_loss"])["epoch"]
    voice = audit.allison(args.source, args.seed, set(drawn))
    verdicts = {e: judge(run, base, settings, e, voice) for e in {lowest, chosen}}
    pair = verdicts[lowest], verdicts[chosen]
    print(f"{note}\n{listing(rows, *pair)}\n")
    print(json.dumps({"constructed": "allison", "seed": args.seed} | summary(*pair)))
    return 0


def draw(source: Path, clips: int, seed: int) -> list[str]:
    """Names of so many recordings of a length that teaches."""
    names = sorted(path.stem for path in (source / "audio").glob("*.flac"))
    if not names:
        raise SystemExit(f"{source}: run recipes/allison/fetch.py {source} first")
    shuffled = random.Random(seed).sample(names, len(names))
    fitting = (name for name in shuffled if _is_drawn(fetch.audio_path(source, name)))
    return [name for name, _ in zip(fitting, range(clips), strict=False)]


def write(source: Path, names: Sequence[str], out: Path, cut: float, seed: int) -> None:
    """The corpus as a customer would send it: a share `cut` of the recordings lacks its end."""
    spoken = fetch.parse_transcripts(
        (source / "transcripts.txt").read_text(encoding="utf-8"), "transcripts.txt"
    )
    shortened = set(random.Random(seed).sample(sorted(names), round(cut * len(names))))
    with disk.atomic_dir(out) as folder:
        for name in names:
            samples = audio.read(fetch.audio_path(source, name))
            audio.write(folder / f"{name}.flac", cut_end(samples) if name in shortened else samples)
        lines = "".join(f"{name}|{spoken[name]}\n" for name in names)
        (folder / "metadata.csv").write_text(lines, encoding="utf-8")


def cut_end(samples: Waveform) -> Waveform:
    """Without the last `CUT` of the speech and what follows it."""
    span = silence.speech_span(samples, SAMPLE_RATE)
    end_ms = span.offset_ms - CUT * (span.offset_ms - span.onset_ms)
    return samples[: round(end_ms * SAMPLE_RATE / 1000)]


def trained(out: Path, base: BaseModel, settings: Recipe) -> RunDir:
    """Prepare and train, or go on from what is there."""
    data, run = PreparedDir(out / "data"), RunDir(out / "run")
    prepare(Order([str(out / "recordings")], VOICE, base, recipe=settings), data)
    train(data, run, recipe=settings, base=base, say=lambda line: print(line, file=sys.stderr))
    return run


def judge(
    run: RunDir, base: BaseModel, settings: Recipe, epoch: int, voice: NDArray[np.float32]
) -> Verdict:
    """An epoch's adapter, spoken through and heard."""
    texts = prompts(base)
    spoken = asyncio.run(speak(run.epochs / f"epoch-{epoch}", base, settings, texts))
    heard = [audit.words(samples) if len(samples) else "" for samples in spoken]
    likeness = [float(judges.speaker(samples) @ voice) for samples in spoken if _speaks(samples)]
    return Verdict(
        epoch=epoch,
        wer=round(judges.word_error_rate(texts, heard), 4),
        similarity=round(float(np.mean(likeness)) if likeness else -1.0, 4),
    )


async def speak(
    epoch: Path, base: BaseModel, settings: Recipe, texts: Sequence[str]
) -> list[Waveform]:
    """Every text through the adapter in this folder."""
    digest = disk.sha256_file(epoch / WEIGHTS_FILE)
    voice = Voice(VOICE, Adapter(bundle_name(VOICE, digest), epoch, digest), settings.sampling)
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


def _is_drawn(path: Path) -> bool:
    samples = audio.read(path)
    return DRAWN_S[0] <= len(samples) / SAMPLE_RATE <= DRAWN_S[1] and _speaks(samples)


def _speaks(samples: Waveform) -> bool:
    try:
        silence.speech_span(samples, SAMPLE_RATE)
    except NoSpeechError:
        return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Chosen by ear against chosen by loss.")
    parser.add_argument("source", type=Path, help="what fetch.py wrote")
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
