"""The cases of the torture set, and which clips and amounts fall to each.

Everything follows from the seed. Each case draws numbers of its own, so that a case more or less
moves no other; of the wanted speaker every clip is used once.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import damage
import misquote
import numpy as np
from damage import Damaged
from numpy.random import Generator
from numpy.typing import NDArray
from voices import SECONDS, Utterance, Voice, seconds

from orpheus_clone import audio
from orpheus_clone.audio import Waveform

HALF_S = 9.0
"""Two that are joined must stay one clip: prepare cuts what is longer than 20 s."""
FEWEST_WORDS = 2
"""Of a clip of the wanted speaker: one word alone is nothing that an ASR can be held to."""


@dataclass(frozen=True)
class Case:
    """One kind of clip: how many of 200, and what prepare should say of it."""

    count: int
    kind: str = ""
    damage: Callable[[Waveform, Generator], Damaged] | None = None
    fewest_words: int = FEWEST_WORDS
    also: tuple[str, ...] = ()
    """What else is true of it: no mistake where prepare says so."""


CASES = {
    "clean": Case(88),
    "other_sex": Case(12, "other_speaker"),
    "same_sex": Case(12, "other_speaker"),
    "two_joined": Case(5, "two_speakers", also=("other_speaker",)),
    "two_overlapped": Case(5, "two_speakers", also=("other_speaker",)),
    "music": Case(7, "music", damage.music, also=("noisy",)),
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
    is_untold: bool = False
    """Whether more is said in it than its text tells."""

    @property
    def also(self) -> tuple[str, ...]:
        """What else is true of it."""
        return (*CASES[self.case].also, *(["wrong_text"] if self.is_untold else []))


def draw(wanted: Voice, others: list[Voice], seed: int, clips: int) -> list[Item]:
    """The clips of all cases; each case has numbers of its own, so that none moves another."""
    pool = Pool(wanted, np.random.default_rng([seed, 0]))
    items: list[Item] = []
    for name in sorted(CASES, key=lambda name: -CASES[name].fewest_words):
        count = max(2 if name == "swapped" else 1, round(CASES[name].count * clips / 200))
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

    def take(
        self, count: int, fewest_words: int = FEWEST_WORDS, longest_s: float = SECONDS[1]
    ) -> list[tuple[Waveform, str]]:
        """So many (speech, text); SystemExit where they have run out."""
        long = [
            u
            for u in self._left
            if len((u.text or "").split()) >= fewest_words and seconds(u.path) <= longest_s
        ]
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
    if name in ("two_joined", "two_overlapped"):
        return _two(name, pool.take(count, longest_s=HALF_S), others, rng)
    taken = pool.take(count, case.fewest_words)
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
        taken, _round_robin(others, len(taken), rng, HALF_S), strict=True
    ):
        is_joined = name == "two_joined"
        damaged = (damage.joined if is_joined else damage.overlapped)(
            speech, audio.read(u.path), rng
        )
        is_told = is_joined and u.text is not None
        told = f"{text} {u.text}" if is_told else text
        amounts: dict[str, float | str] = {**damaged.amounts, "voice": voice}
        items.append(Item(name, damaged.samples, told, amounts, is_untold=not is_told))
    return items


def _round_robin(
    guests: list[Voice], count: int, rng: Generator, longest_s: float = SECONDS[1]
) -> list[tuple[str, Utterance]]:
    """As many different people as there are, then their next clips."""
    if not guests:
        raise SystemExit("nobody else's speech is here; name more with --speech")
    decks = {
        v.name: [u for u in _shuffled(v.utterances, rng) if seconds(u.path) <= longest_s]
        for v in guests
    }
    order = [guests[i].name for i in rng.permutation(len(guests))]
    dealt = [
        (name, decks[name][lap]) for lap in range(count) for name in order if lap < len(decks[name])
    ]
    if len(dealt) < count:
        raise SystemExit("the other speakers have too few clips; lower --clips")
    return dealt[:count]


def _shuffled(utterances: Sequence[Utterance], rng: Generator) -> list[Utterance]:
    return [utterances[i] for i in rng.permutation(len(utterances))]


def _is_plain(text: str) -> bool:
    """Whether it is at least two words, in letters only: what is said is beyond doubt."""
    is_lettered = all(c.isalpha() or c in " ',.;:!?()-\"" for c in text)
    return is_lettered and "|" not in text and len(text.split()) >= FEWEST_WORDS
