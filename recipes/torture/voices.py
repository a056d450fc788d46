"""Free speech to build the torture set of: who speaks, and what is said.

    allison      Allison Smith, real, Debian asterisk-core-sounds-en-g722       CC BY-SA 3.0
    june carlo   June Wallack (French), Carlo Flora (Italian), real, the same   CC BY-SA 3.0
    ivrvoice     a woman of ivrvoice.ru (Russian), real, the same               CC BY 3.0
    slt rms awb  flite's voices, speaking the sentences of data_samples         free, BSD-like
    bm_george    data_samples, synthetic                                        Apache-2.0
    --speech     Kokoro's clips.jsonl (voice, text), and files that are called
                 librispeech_PART__…SPEAKER-CHAPTER-NUMBER (no texts)

Debian's Spanish prompts are Allison Smith's too, so they are not among the others. Packages are
unpacked into a cache, never installed. Who has no English text here gets no transcript at all.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import librosa
import numpy as np
import soundfile

from orpheus_clone import audio
from orpheus_clone.tokens import SAMPLE_RATE

_RECIPES = Path(__file__).parents[1]
SAMPLES = _RECIPES.parent / "data_samples"
sys.path.insert(0, str(_RECIPES / "allison"))
import fetch  # noqa: E402

SECONDS = (1.0, 15.0)
"""Clips outside of these are left out."""
FLITE_VOICES = {"slt": "f", "rms": "m", "awb": "m"}
FOREIGN = {
    "june": ("fr", "fr_CA_f_June", "f"),
    "carlo": ("it", "it_IT_m_Carlo", "m"),
    "ivrvoice": ("ru", "ru_RU_f_IvrvoiceRU", "f"),
}
LOW_HZ, HIGH_HZ = 150.0, 170.0
"""Median pitch below the first: taken for a man; above the second: a woman; between: left out."""
G722_BYTES_A_SECOND = 8000


@dataclass(frozen=True)
class Utterance:
    """A clean clip of one person, and what is said in it if anybody knows."""

    path: Path
    text: str | None


@dataclass(frozen=True)
class Voice:
    """One person, or one synthetic voice."""

    name: str
    sex: str
    """f or m, as one hears it."""
    utterances: tuple[Utterance, ...]


def free_voices(store: Path) -> dict[str, Voice]:
    """What every machine with Debian's packages has; `store` keeps what was fetched."""
    store = store.resolve()  # dpkg runs elsewhere
    fetch.fetch(store / "allison" / "source")
    root = _unpacked(store / "torture" / "debian")
    voices = [_allison(store / "allison" / "source"), _samples()]
    voices += [_flite(name, sex, root) for name, sex in FLITE_VOICES.items()]
    voices += [_foreign(name, folder, sex, root) for name, (_, folder, sex) in FOREIGN.items()]
    return {voice.name: voice for voice in voices}


def folder_voices(folder: Path) -> dict[str, Voice]:
    """Kokoro's and LibriSpeech's voices anywhere under `folder`; SystemExit where there are none.

    A speaker of LibriSpeech whose pitch does not tell a man from a woman is left out.
    """
    voices = {
        voice.name: voice
        for table in sorted(folder.rglob("clips.jsonl"))
        for voice in _kokoro(table)
    }
    by_speaker: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("librispeech_*__*-*-*")):
        by_speaker[path.stem.split("__")[-1].split("-")[0]].append(path)
    for speaker, paths in by_speaker.items():
        utterances = _fitting([Utterance(path, None) for path in paths])
        sex = sex_by_pitch(utterances[0].path) if utterances else None
        if sex is not None:
            voices[speaker] = Voice(speaker, sex, utterances)
    if not voices:
        raise SystemExit(f"{folder}: no clips.jsonl of Kokoro's and no librispeech_*__*-*-* in it")
    return voices


@cache
def sex_by_pitch(path: Path) -> str | None:
    """f or m by the median pitch of the first 6 s; None where it lies between."""
    speech = audio.read(path)[: 6 * SAMPLE_RATE]
    hertz = librosa.yin(speech, fmin=65, fmax=400, sr=SAMPLE_RATE, frame_length=2048)
    loud = librosa.feature.rms(y=speech, frame_length=2048)[0]
    voiced = hertz[loud[: len(hertz)] > np.percentile(loud, 60)]
    median = float(np.median(voiced))
    return "m" if median < LOW_HZ else "f" if median > HIGH_HZ else None


def _allison(source: Path) -> Voice:
    table = (source / "transcripts.txt").read_text(encoding="utf-8")
    spoken = fetch.parse_transcripts(table, "transcripts.txt")
    clips = [Utterance(fetch.audio_path(source, name), text) for name, text in spoken.items()]
    return Voice("allison", "f", _fitting(clips))


def _samples() -> Voice:
    clips = [Utterance(SAMPLES / f"{name}.flac", text) for name, text in _sentences().items()]
    return Voice("bm_george", "m", _fitting(clips))


def _sentences() -> dict[str, str]:
    lines = (SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()
    return {name: text for name, _, text in (line.partition("|") for line in lines)}


def _foreign(name: str, folder: str, sex: str, root: Path) -> Voice:
    """Whole sentences only: the prompts that lie at the top."""
    prompts = sorted((root / "usr/share/asterisk/sounds" / folder).glob("*.g722"))
    return Voice(name, sex, _fitting([Utterance(path, None) for path in prompts]))


def _flite(name: str, sex: str, root: Path) -> Voice:
    """Spoken once, into the cache."""
    folder = root.parent / "flite" / name
    folder.mkdir(parents=True, exist_ok=True)
    spoken = _sentences()
    libraries = next((root / "usr/lib").glob("*/libflite.so.1")).parent
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
    for number, text in spoken.items():
        path = folder / f"{number}.wav"
        if not path.is_file():
            part = path.with_suffix(".part")
            command = [str(root / "usr/bin/flite"), "-voice", name, "-t", text, "-o", str(part)]
            subprocess.run(command, env=environment, check=True)
            part.replace(path)
    clips = [Utterance(folder / f"{number}.wav", text) for number, text in spoken.items()]
    return Voice(name, sex, _fitting(clips))


def _kokoro(table: Path) -> list[Voice]:
    """Voices are called af_heart, bm_george: the second letter is the sex."""
    by_voice: dict[str, list[Utterance]] = defaultdict(list)
    for line in table.read_text(encoding="utf-8").splitlines():
        clip = json.loads(line)
        by_voice[clip["voice"]].append(Utterance(table.parent / clip["audio"], clip["text"]))
    return [Voice(name, name[1], _fitting(clips)) for name, clips in by_voice.items()]


def _fitting(clips: list[Utterance]) -> tuple[Utterance, ...]:
    return tuple(clip for clip in clips if SECONDS[0] <= seconds(clip.path) <= SECONDS[1])


def seconds(path: Path) -> float:
    """How long a clip is."""
    if path.suffix == ".g722":
        return path.stat().st_size / G722_BYTES_A_SECOND
    return float(soundfile.info(path).duration)


def _unpacked(root: Path) -> Path:
    """Debian's packages unpacked, once."""
    packages = [
        "flite",
        "libflite1",
        *(f"asterisk-core-sounds-{x[0]}-g722" for x in FOREIGN.values()),
    ]
    root.mkdir(parents=True, exist_ok=True)
    for package in packages:
        done = root / f".{package}"
        if not done.is_file():
            deb = fetch.download(package, root)
            fetch.run(["dpkg-deb", "-x", str(deb), str(root)], root)
            deb.unlink()
            done.touch()
    return root
