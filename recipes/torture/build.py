"""Build the torture set: a corpus with every fault we look for, each known and labelled.

    python recipes/torture/build.py OUT_DIR --seed N [--speech FOLDER] [--wanted VOICE]

    OUT_DIR/clips/NAME.flac      the corpus; names say nothing
    OUT_DIR/metadata.csv         name|what it is claimed to say; foreign speakers have no line
    OUT_DIR/labels.jsonl         {"id", "case", "expected": keep or reject, "kind", …amounts}
    OUT_DIR/interview/           interview.flac, a host (the wanted) and a guest taking turns,
                                 without transcript; turns.jsonl: who speaks when, and what
    OUT_DIR/set.json             seed, wanted speaker, whose speech it is

`kind` is the reason that prepare should give, as in its rejected.jsonl; "" where it should keep
the clip. Everything follows from the seed: another draws other clips and other amounts.
"""

import argparse
import io
import json
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import damage
import misquote
import numpy as np
import soundfile
import voices
from damage import Damaged
from numpy.random import Generator
from numpy.typing import NDArray
from voices import Utterance, Voice

from orpheus_clone import audio
from orpheus_clone.audio import Waveform
from orpheus_clone.tokens import SAMPLE_RATE

FEWEST_WORDS = 2
"""Of a clip of the wanted speaker: one word alone is nothing that an ASR can be held to."""
INTERVIEW_TURNS = 24
INTERVIEW_LEVEL_DBFS = -23.0


@dataclass(frozen=True)
class Case:
    """One kind of clip: how many of 200, and what prepare should say of it."""

    count: int
    kind: str = ""
    damage: Callable[[Waveform, Generator], Damaged] | None = None
    fewest_words: int = FEWEST_WORDS


CASES = {
    "clean": Case(88),
    "other_sex": Case(12, "other_speaker"),
    "same_sex": Case(12, "other_speaker"),
    "two_joined": Case(5, "two_speakers"),
    "two_overlapped": Case(5, "two_speakers"),
    "music": Case(7, "music", damage.music),
    "white_noise": Case(5, "noisy", damage.white_noise),
    "fan_noise": Case(5, "noisy", damage.fan_noise),
    "telephone": Case(7, "narrowband", damage.telephone),
    "clipped": Case(7, "clipped", damage.clipped),
    "opposite_polarity": Case(4, "", damage.opposite_polarity),
    "one_channel": Case(4, "", damage.one_channel),
    "head_600ms": Case(3, "", damage.head_600ms),
    "head_3s": Case(3, "", damage.head_3s),
    "silence": Case(4, "no_speech", damage.only_silence),
    "gated": Case(5, "digital_silence", damage.gated),
    "swapped": Case(7, "wrong_text"),
    "changed": Case(7, "wrong_text", None, misquote.FEWEST_WORDS),
    "cut": Case(7, "wrong_text", None, misquote.FEWEST_WORDS),
    "dc_offset": Case(2, "", damage.dc_offset),
    "hum": Case(2, "", damage.hum),
}


@dataclass(frozen=True)
class Item:
    """A clip of the set before it has a name."""

    case: str
    samples: NDArray[np.float32]
    text: str | None
    amounts: dict[str, float | str] = field(default_factory=dict)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, gather the speech, build, say what lies there."""
    args = _parser().parse_args(argv)
    cast = voices.free_voices(args.store)
    if args.speech is not None:
        cast |= voices.folder_voices(args.speech)
    items = build(args.out_dir, cast, args.wanted, args.seed, args.clips)
    faulty = sum(bool(CASES[item.case].kind) for item in items)
    print(f"{len(items)} clips, {faulty} to be rejected, and an interview in {args.out_dir}")
    return 0


def build(out: Path, cast: dict[str, Voice], wanted: str, seed: int, clips: int) -> list[Item]:
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


def draw(wanted: Voice, others: list[Voice], seed: int, clips: int) -> list[Item]:
    """The clips of all cases; each case has numbers of its own, so that none moves another."""
    pool = Pool(wanted, np.random.default_rng([seed, 0]))
    items: list[Item] = []
    for name in sorted(CASES, key=lambda name: -CASES[name].fewest_words):
        count = max(1, round(CASES[name].count * clips / 200))
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        items += _drawn(name, count, pool, others, rng)
    return items


class Pool:
    """The wanted speaker's clips, each given away once."""

    def __init__(self, voice: Voice, rng: Generator) -> None:
        fit = [u for u in voice.utterances if u.text and _is_plain(u.text)]
        self.sex = voice.sex
        self._left = [fit[i] for i in rng.permutation(len(fit))]
        self.vocabulary = sorted({w for u in fit for w in misquote.words(u.text or "")})
        self.vocabulary = [word for word in self.vocabulary if misquote.is_content(word)]

    def take(self, count: int, fewest_words: int = FEWEST_WORDS) -> list[tuple[Waveform, str]]:
        """So many (speech, text); SystemExit where they have run out."""
        long = [u for u in self._left if len((u.text or "").split()) >= fewest_words]
        if len(long) < count:
            raise SystemExit(
                f"the wanted speaker has {len(long)} clips of {fewest_words} words left where "
                f"{count} are needed; lower --clips"
            )
        taken = long[:count]
        self._left = [u for u in self._left if u not in taken]
        return [(audio.read(u.path), u.text or "") for u in taken]


def _drawn(name: str, count: int, pool: Pool, others: list[Voice], rng: Generator) -> list[Item]:
    case = CASES[name]
    if name in ("other_sex", "same_sex"):
        guests = [v for v in others if (v.sex == pool.sex) == (name == "same_sex")]
        return [
            Item(name, audio.read(u.path), u.text, {"voice": voice})
            for voice, u in _round_robin(guests, count, rng)
        ]
    taken = pool.take(count, case.fewest_words)
    if name in ("two_joined", "two_overlapped"):
        return _two(name, taken, others, rng)
    if case.damage is not None:
        damaged = [(case.damage(speech, rng), text) for speech, text in taken]
        return [Item(name, d.samples, text, dict(d.amounts)) for d, text in damaged]
    texts = [text for _, text in taken]
    claimed = {
        "swapped": lambda: misquote.swapped(texts, rng),
        "changed": lambda: [misquote.changed(t, pool.vocabulary, rng) for t in texts],
        "cut": lambda: [misquote.cut(text) for text in texts],
    }.get(name, lambda: texts)()
    return [
        Item(name, speech, claim, {"said": said} if claim != said else {})
        for (speech, said), claim in zip(taken, claimed, strict=True)
    ]


def _two(
    name: str, taken: list[tuple[Waveform, str]], others: list[Voice], rng: Generator
) -> list[Item]:
    """Somebody else after the wanted speaker, or over them; told as far as it is known."""
    items = []
    for (speech, text), (voice, u) in zip(
        taken, _round_robin(others, len(taken), rng), strict=True
    ):
        is_joined = name == "two_joined"
        damaged = (damage.joined if is_joined else damage.overlapped)(
            speech, audio.read(u.path), rng
        )
        told = f"{text} {u.text}" if is_joined and u.text else text
        amounts: dict[str, float | str] = {**damaged.amounts, "voice": voice}
        items.append(Item(name, damaged.samples, told, amounts))
    return items


def _round_robin(guests: list[Voice], count: int, rng: Generator) -> list[tuple[str, Utterance]]:
    """As many different people as there are, then their next clips."""
    if not guests:
        raise SystemExit("nobody else's speech is here; name more with --speech")
    decks = {v.name: [v.utterances[i] for i in rng.permutation(len(v.utterances))] for v in guests}
    order = [guests[i].name for i in rng.permutation(len(guests))]
    dealt = [
        (name, decks[name][lap]) for lap in range(count) for name in order if lap < len(decks[name])
    ]
    if len(dealt) < count:
        raise SystemExit("the other speakers have too few clips; lower --clips")
    return dealt[:count]


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
        labels.append(json.dumps(label | _rounded(item.amounts), ensure_ascii=False) + "\n")
    (out / "metadata.csv").write_text("".join(claims), encoding="utf-8")
    (out / "labels.jsonl").write_text("".join(labels), encoding="utf-8")


def _write_interview(out: Path, host: Voice, others: list[Voice], rng: Generator) -> None:
    """Two people take turns of two to four sentences in one room."""
    enough = [voice for voice in others if len(voice.utterances) >= 10]
    guest = enough[int(rng.integers(len(enough)))]
    spoken = {
        "host": [u for u in host.utterances if u.text and len(u.text.split()) >= FEWEST_WORDS],
        "guest": list(guest.utterances),
    }
    parts, turns, at = [_room(rng.uniform(0.5, 2), rng)], [], 0
    at = len(parts[0])
    for n in range(INTERVIEW_TURNS):
        role = ("host", "guest")[n % 2]
        for i in rng.choice(len(spoken[role]), size=int(rng.integers(2, 5)), replace=False):
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


def _is_plain(text: str) -> bool:
    """Whether it is at least two words, in letters only: what is said is beyond doubt."""
    is_lettered = all(c.isalpha() or c in " ',.;:!?()-\"" for c in text)
    return is_lettered and "|" not in text and len(text.split()) >= FEWEST_WORDS


def _rounded(amounts: dict[str, float | str]) -> dict[str, float | str]:
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in amounts.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Build the torture set of free speech.")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="a new folder")
    parser.add_argument("--seed", type=int, required=True, help="another draws another set")
    parser.add_argument(
        "--speech", type=Path, metavar="FOLDER", help="more speakers; see voices.py"
    )
    parser.add_argument("--wanted", default="allison", metavar="VOICE", help="whose corpus it is")
    parser.add_argument("--clips", type=int, default=200, metavar="N", help="about how many")
    parser.add_argument(
        "--store", type=Path, default=Path("build"), help="where fetched packages are kept"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
