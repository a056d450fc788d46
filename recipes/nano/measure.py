"""Measure nano: its codec, its stock voices, and a clone of somebody whom it has never heard.

    python recipes/nano/measure.py OUT_DIR --allison DIR --judges JUDGES [--only codec|base|clone]

DIR is what `recipes/allison/fetch.py` made: 24 minutes of Allison Smith (CC BY-SA 3.0), of whom
no recording trains nano; JUDGES is what `recipes/fetch_judges.py` laid out, by which the clone is
prepared and its epoch chosen. Every part runs the product's own commands and code. What was
spoken is kept in OUT_DIR, to be listened to. The last line is JSON:

    codec_wer_added         WER of her clips through the codec less WER of the clips
    codec_similarity        speaker similarity of a clip through the codec to the clip, mean
    base_wer                stock voices, the rung's sentences (rung1.txt: 200 words)
    base_stop_rate          share of those that ended by themselves
    stock_head_silence_p50_ms   before the first word of the stock voices
    clone_similarity        of what the clone says to her held-out clips, mean
    clone_over_stock        that, less the nearest stock voice's
    clone_wer clone_head_silence_p50_ms clone_stop_rate     as above, of the clone

Judges are in judges.py. WER is of the whole set, not a mean of clips.
"""

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import judges
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from orpheus_clone import audio, disk, manifest, models, recipe, silence, tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine import open_engine
from orpheus_clone.errors import GateFailed, NoSpeechError
from orpheus_clone.eval.speed import Utterance, speak_all
from orpheus_clone.layout import PreparedDir, RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare import transcripts
from orpheus_clone.speech import Speaker, Voice, voice_of_run

HERE = Path(__file__).parent
RUNG1_SHA256 = "1b9dbd3936f50302591600b0748ee8e0552b471f4b1a0148fc947997656763a2"
CODEC_CLIPS = 60
SHORTEST_S = 2.0
"""Shorter clips tell a judge of speakers too little."""
MAX_SECONDS = 12.0
RECIPE = HERE / "clone.yaml"


def main() -> None:
    """Parse, measure, print one line."""
    parser = argparse.ArgumentParser(description="Measure nano.")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--allison", type=Path, required=True, help="what allison/fetch.py made")
    parser.add_argument("--judges", type=Path, required=True, help="what fetch_judges.py laid out")
    parser.add_argument("--base", default="nano")
    parser.add_argument("--only", choices=("codec", "base", "clone"))
    parser.add_argument("--lines", type=int, default=50)
    args = parser.parse_args()
    base = models.locate(args.base, print)
    figures: dict[str, Any] = {"rung": 1}
    if args.only in (None, "codec"):
        figures |= codec_figures(base, args.allison, args.out_dir / "codec")
    if args.only in (None, "base"):
        figures |= asyncio.run(stock_figures(base, args.out_dir / "stock", args.lines))
    if args.only in (None, "clone"):
        figures |= clone_figures(base, args.allison, args.judges, args.out_dir, args.lines)
    print(json.dumps(figures))


def rung(lines: int) -> list[str]:
    """The first `lines` sentences of the rung; no other file will do."""
    path = HERE / "rung1.txt"
    if disk.sha256_file(path) != RUNG1_SHA256:
        raise SystemExit(f"{path} is not the set that nano is measured with")
    return path.read_text(encoding="utf-8").splitlines()[:lines]


def codec_figures(base: BaseModel, allison: Path, out: Path) -> dict[str, float]:
    """Real speech through the codec and back: words lost, identity kept."""
    recordings = transcripts.find_recordings([str(allison / "audio")])
    matched, _ = transcripts.match(recordings, allison / "transcripts.txt")
    codec = Codec(base.codec_path)
    said, before, after, alike = [], [], [], []
    long = [r for r in matched if len(audio.read(r.path)) > SHORTEST_S * tokens.SAMPLE_RATE]
    for recording in track(long[:: max(1, len(long) // CODEC_CLIPS)], "codec"):
        original = audio.read(recording.path)
        original = original[: len(original) // tokens.FRAME_SAMPLES * tokens.FRAME_SAMPLES]
        decoded = codec.decode(codec.encode(original))
        audio.write(out / f"{recording.id}.flac", np.clip(decoded, -1, 1))
        said.append(recording.text or "")
        before.append(judges.words(original))
        after.append(judges.words(decoded))
        alike.append(float(judges.speaker(original) @ judges.speaker(decoded)))
    wer = judges.word_error_rate(said, before)
    return {
        "codec_wer_original": round(wer, 4),
        "codec_wer_added": round(judges.word_error_rate(said, after) - wer, 4),
        "codec_similarity": round(float(np.mean(alike)), 3),
    }


async def stock_figures(base: BaseModel, out: Path, lines: int) -> dict[str, float]:
    """Every stock voice says its share of the sentences."""
    spoken: list[Utterance] = []
    shares = np.array_split(np.array(rung(lines), dtype=object), len(base.voices))
    for name, share in zip(base.voices, shares, strict=True):
        heard = await _speak(base, Voice(name, sampling=SAMPLING), list(share), out / name)
        spoken += heard
    return _figures(spoken, "base") | {"stock_head_silence_p50_ms": _head_p50(spoken)}


def clone_figures(
    base: BaseModel, allison: Path, asked: Path, out: Path, lines: int
) -> dict[str, float]:
    """Clone her with the product's command; the clone and the stock voices against her."""
    command = ["clone", str(allison / "audio"), "--voice", "allison", "--base", base.name]
    command += ["--out", str(out / "allison"), "--recipe", str(RECIPE)]
    models_of = {"asr": asked / "whisper-base", "speaker": asked / "ecapa"}
    command += [p for what, path in models_of.items() for p in ("--set", f"judges.{what}={path}")]
    done = subprocess.run([sys.executable, "-m", "orpheus_clone", *command], check=False)
    if done.returncode not in (0, GateFailed.exit_code):  # what the gates say is measured here
        sys.exit(done.returncode)
    run = RunDir(out / "allison" / "run")
    voice = voice_of_run(run, SAMPLING)
    spoken = asyncio.run(_speak(base, voice, rung(lines), out / "clone"))
    data = PreparedDir(out / "allison" / "data")
    her = _voice_print(
        [
            audio.read(data.audio / f"{clip.key}.flac")
            for clip in manifest.read_clips(data.clips)
            if clip.split == "heldout" and clip.seconds > SHORTEST_S
        ]
    )
    alike = float(np.mean([judges.speaker(u.samples) @ her for u in spoken]))
    stock = {
        name: _voice_print([audio.read(path) for path in sorted((out / "stock" / name).iterdir())])
        for name in base.voices
    }
    nearest = max(float(vector @ her) for vector in stock.values())
    figures = _figures(spoken, "clone") | {"clone_head_silence_p50_ms": _head_p50(spoken)}
    return figures | {
        "clone_similarity": round(alike, 3),
        "clone_over_stock": round(alike - nearest, 3),
    }


SAMPLING = recipe.load(RECIPE).sampling


async def _speak(
    base: BaseModel, voice: Voice, sentences: Sequence[str], out: Path
) -> list[Utterance]:
    engine = open_engine("auto", base)
    try:
        if voice.adapter is not None:
            await engine.load(voice.adapter)
        speaker = Speaker(engine, Codec(base.codec_path), base)
        spoken = await speak_all(
            speaker, [voice], sentences, concurrency=4, max_seconds=MAX_SECONDS
        )
    finally:
        await engine.close()
    for number, utterance in enumerate(spoken):
        audio.write(out / f"{number:02}.flac", np.clip(utterance.samples, -1, 1))
    return spoken


def _figures(spoken: Sequence[Utterance], who: str) -> dict[str, float]:
    heard = [judges.words(u.samples) for u in track(spoken, f"listening to {who}")]
    for utterance, words in zip(spoken, heard, strict=True):
        print(f"{utterance.text} │ {words}", file=sys.stderr)
    return {
        f"{who}_wer": round(judges.word_error_rate([u.text for u in spoken], heard), 4),
        f"{who}_stop_rate": sum(u.finish == "stop" for u in spoken) / len(spoken),
    }


def _head_p50(spoken: Sequence[Utterance]) -> float:
    """The median silence before the first word, in ms; an utterance without speech is all of it."""
    heads = []
    for utterance in spoken:
        head_ms = 1000 * len(utterance.samples) / tokens.SAMPLE_RATE
        with contextlib.suppress(NoSpeechError):
            head_ms = silence.speech_span(utterance.samples, tokens.SAMPLE_RATE).head_ms
        heads.append(head_ms + utterance.dropped_ms)
    return round(float(np.median(heads)), 1)


def _voice_print(recordings: Sequence[Waveform]) -> NDArray[np.float32]:
    """One unit vector for a speaker: the mean of the recordings' vectors."""
    mean = np.mean([judges.speaker(samples) for samples in recordings], axis=0)
    unit: NDArray[np.float32] = mean / np.linalg.norm(mean)
    return unit


if __name__ == "__main__":
    main()
