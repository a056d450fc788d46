"""The torture set as files: the corpus, its labels, and an interview.

`kind` of a label is the reason that prepare should give, as in its rejected.jsonl; "" where it
should keep the clip. `also` are reasons that are true as well.
"""

import io
import json
from pathlib import Path

import damage
import numpy as np
import soundfile
import voices
from draw import CASES, FEWEST_WORDS, Item, draw
from numpy.random import Generator
from numpy.typing import NDArray
from voices import Voice

from orpheus_clone import audio
from orpheus_clone.audio import Waveform
from orpheus_clone.tokens import SAMPLE_RATE

INTERVIEW_TURNS = 24
INTERVIEW_LEVEL_DBFS = -23.0
SENTENCES = {"host": (2, 5), "guest": (1, 3)}
"""Of a turn, at least and less than: the host speaks most."""


def compose(out: Path, cast: dict[str, Voice], wanted: str, seed: int, clips: int) -> list[Item]:
    """Write the set of about `clips` clips; SystemExit where `out` is not empty or speech lacks."""
    if out.exists() and any(out.iterdir()):
        raise SystemExit(f"{out} is not empty; name a new folder")
    if wanted not in cast:
        raise SystemExit(f"there is no voice {wanted!r}, only {', '.join(sorted(cast))}")
    others = [voice for name, voice in sorted(cast.items()) if name != wanted]
    items = draw(cast[wanted], others, seed, clips)
    _write(out, items, np.random.default_rng([seed, 1]))
    _write_interview(out / "interview", cast[wanted], others, np.random.default_rng([seed, 2]))
    about = {"seed": seed, "wanted": wanted, "clips": clips, "speech": voices.__doc__}
    (out / "set.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return items


def _write(out: Path, items: list[Item], rng: Generator) -> None:
    (out / "clips").mkdir(parents=True)
    labels, claims = [], []
    for n, i in enumerate(rng.permutation(len(items)), start=1):
        item, name = items[i], f"t{n:04}"
        kind = CASES[item.case].kind
        _write_flac(out / "clips" / f"{name}.flac", item.samples)
        if item.text is not None:
            claims.append(f"{name}|{item.text}\n")
        expected = "reject" if kind else "keep"
        label = {"id": name, "case": item.case, "expected": expected, "kind": kind}
        rest = {"also": item.also, **_rounded(item.amounts)}
        labels.append(json.dumps(label | rest, ensure_ascii=False) + "\n")
    (out / "clips" / "metadata.csv").write_text("".join(claims), encoding="utf-8")
    (out / "labels.jsonl").write_text("".join(labels), encoding="utf-8")


def _write_interview(out: Path, host: Voice, others: list[Voice], rng: Generator) -> None:
    """A host of two to four sentences a turn, a guest of one or two; one room, one language."""
    enough = [v for v in others if len(v.utterances) >= 10 and all(u.text for u in v.utterances)]
    guest = enough[int(rng.integers(len(enough)))]
    spoken = {
        "host": [u for u in host.utterances if u.text and len(u.text.split()) >= FEWEST_WORDS],
        "guest": list(guest.utterances),
    }
    parts, turns, at = [_room(rng.uniform(0.5, 2), rng)], [], 0
    at = len(parts[0])
    for n in range(INTERVIEW_TURNS):
        role = ("host", "guest")[n % 2]
        for i in rng.choice(
            len(spoken[role]), size=int(rng.integers(*SENTENCES[role])), replace=False
        ):
            u = spoken[role][i]
            speech = audio.read(u.path)
            gain_db = INTERVIEW_LEVEL_DBFS + rng.uniform(-2, 2) - damage.speech_dbfs(speech)
            pause = _room(rng.uniform(0.3, 1.2), rng)
            parts += [np.asarray(speech * 10 ** (gain_db / 20), np.float32), pause]
            span = (at, at + len(speech))
            turns.append({"start": span[0], "end": span[1], "role": role, "text": u.text})
            at = span[1] + len(pause)
    whole = np.concatenate(parts)
    room = damage.at_dbfs(damage.coloured(len(whole), 0.5, rng), -66)
    out.mkdir(parents=True)
    _write_flac(out / "interview.flac", damage.within_scale(whole + room))
    lines = [
        {
            "start_s": round(turn.pop("start") / SAMPLE_RATE, 3),
            "end_s": round(turn.pop("end") / SAMPLE_RATE, 3),
            "voice": host.name if turn["role"] == "host" else guest.name,
            **turn,
        }
        for turn in turns
    ]
    rows = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (out / "turns.jsonl").write_text(rows, encoding="utf-8")


def _room(seconds: float, rng: Generator) -> Waveform:
    return damage.at_dbfs(damage.coloured(round(seconds * SAMPLE_RATE), 0.5, rng), -70)


def _write_flac(path: Path, samples: NDArray[np.float32]) -> None:
    """16 bits, (samples,) or (samples, channels); what is beyond full scale is a bug here."""
    if np.abs(samples).max(initial=0) > 1:
        raise AssertionError(f"{path.name}: beyond full scale")
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, SAMPLE_RATE, subtype="PCM_16", format="FLAC")
    path.write_bytes(encoded.getbuffer())


def _rounded(amounts: dict[str, float | str]) -> dict[str, float | str]:
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in amounts.items()}
