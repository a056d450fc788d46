"""One speaker: who speaks most, and how near each clip is to them and to whoever else speaks.

The clips' embeddings lie about a few directions, one a voice. They are split in two, each half in
two again, and so on, as long as the halves are two voices:

    all clips ─┬─ … ─ dominant        mean similarity across      < SAME_VOICE: two voices
               └─ … ─ another         ────────────────────────
                                      mean similarity within      1 where the split is arbitrary

The ratio does not depend on how alike a speaker's clips are, which differs from 0.45 (short
prompts) to 0.8 (a synthetic voice). Where people speak it is 0 to 0.5; halves of one voice's clips
have 0.85 and more; two synthetic voices that were made to be alike have 0.7. A direction is the
mean of many clips, so that what is odd about one of them does not count.

Everything here is cosines and means: deterministic, and the same for any order of the clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orpheus_clone.audio import Waveform
from orpheus_clone.speaker import Embedding, SpeakerModel
from orpheus_clone.tokens import SAMPLE_RATE

SAME_VOICE = 0.78
"""Halves that are at least this like each other, against what they are like within, are one."""
NOTICED_SHARE = 0.05
"""Of the time; fewer clips that lie apart are odd clips, not another voice."""
NOTICED_CLIPS = 3
HEAVIEST_S = 10.0
"""A longer clip counts as this much: its embedding gets no better."""
LIGHTEST_S = 0.3
TELLABLE_S = 0.8
"""With less speech a clip does not tell its speaker: of a real speaker's prompts of 0.3 to 0.8 s
the lowest similarities were 0.18 to 0.3, from 0.8 to 1 s on 0.53, and another voice's is as
much as 0.4."""
STEADY_S = 1.5
"""From this much speech on, similarity hardly depends on length; see `limit_for`."""
UNUSUAL_PART = 0.17
"""A part this far below the corpus's usual lowest one is not the voice alone. Of 278 clips of 17
voices none had one; with a stranger in it for 1.5 or 2 s, also at the same time, 47 of 51 had,
or were below 0.36; for 1 s, 12 of 17."""
FEWEST_STEADY = 4
STEADY_SHARE = 0.3
"""Of the time; with fewer clips of that length, short ones must tell the voices, too."""
PRIOR_PAIRS = 3.0
"""How many pairs of clips weigh as much as the guess that both halves are one voice."""
LIKE_REFERENCE = 0.45
"""A voice whose centre is less like the reference is another's."""
LEAST_WITHIN = 0.2
"""Mean similarity of a voice's clips. Of short prompts it was 0.45, of 261 speakers 0.08."""
NOTHING_ALIKE = 0.05
"""The ratio stays finite."""
MOST_VOICES = 64
MOST_ROUNDS = 50

Vectors = NDArray[np.float64]
Weights = NDArray[np.float64]
Members = NDArray[np.intp]
"""Which clips are a voice's: sorted indices."""


@dataclass(frozen=True)
class Voiceprint:
    """A clip's embedding, and those of overlapping stretches of it (for changes of speaker)."""

    whole: Embedding
    parts: tuple[Embedding, ...]
    """Empty where the clip is too short for two; see speaker.py."""
    seconds: float


@dataclass(frozen=True)
class Identity:
    """How near a clip is to the voice that is wanted, and to the others in the corpus."""

    similarity: float
    """-1 to 1."""
    lead: float | None
    """`similarity` less that to the nearest other voice of the corpus: below 0 it is that voice's.
    None if there is no other voice, or less than `TELLABLE_S` of speech."""
    lowest_part: float | None
    """Similarity of the stretch that is least like the voice: two speakers in one clip show here.
    None where the clip is too short for parts."""
    lowest_part_lead: float | None
    """The least lead of a stretch; None without parts or other voices."""


@dataclass(frozen=True)
class Voices:
    """Who speaks in a corpus; shares are of the time."""

    clips: list[Identity]
    """As the clips were given."""
    share: float
    """Of the voice that is wanted."""
    runner_up_share: float
    """Of the other voice that speaks most; 0 where there is none."""
    runner_up_similarity: float | None
    """Between the two, what is random left out: 1 is the same voice, 0 nothing alike."""
    usual_lowest_part: float | None
    """Median of `lowest_part` over the clips of the voice that is wanted; None without any."""


def voiceprint(model: SpeakerModel, samples: Waveform) -> Voiceprint:
    """Of (samples,) at 24 kHz; errors as in `SpeakerModel.embed`."""
    whole, parts = model.embed_parts(samples)
    return Voiceprint(whole, tuple(parts), len(samples) / SAMPLE_RATE)


def limit_for(similarity_min: float, seconds: float) -> float:
    """`similarity_min` for a clip with so much speech: short ones are less like their speaker.

    It falls with the square root of the length, so 0.3 is 0.24 at 1 s. Below `TELLABLE_S` it is
    -1, which everything reaches: such a clip can be flagged, not rejected.
    """
    if seconds < TELLABLE_S:
        return -1.0
    return similarity_min * float(np.sqrt(min(1.0, seconds / STEADY_S)))


def part_limit_for(part_min: float, usual_lowest_part: float | None) -> float:
    """The least that a clip's `lowest_part` may be, in a corpus where it usually is so much.

    `part_min` alone lets somebody pass who speaks over a voice that is very like itself.
    """
    if usual_lowest_part is None:
        return part_min
    return max(part_min, usual_lowest_part - UNUSUAL_PART)


def identify(prints: Sequence[Voiceprint], reference: Embedding | None = None) -> Voices:
    """Each clip against the voice that speaks most, or the one that is most like `reference`.

    Where no voice of the corpus is like the reference, its share is 0, and clips are held against
    the reference itself.
    """
    if not prints:
        return Voices([], 0.0, 0.0, None, None)
    corpus = _Corpus.of(prints)
    voices = corpus.voices()
    wanted = voices[0] if reference is None else _most_like(reference, corpus, voices)
    others = [voice for voice in voices if voice is not wanted]
    centre = _unit(np.asarray(reference, np.float64)) if wanted is None else corpus.centre(wanted)
    noticed = [corpus.centre(voice) for voice in others if corpus.is_noticed(voice)]
    clips = [_identity(p, np.stack([centre, *noticed])) for p in prints]
    return Voices(
        clips=clips,
        share=0.0 if wanted is None else corpus.share(wanted),
        runner_up_share=corpus.share(others[0]) if others else 0.0,
        runner_up_similarity=(
            corpus.likeness(wanted, others[0]) if others and wanted is not None else None
        ),
        usual_lowest_part=_usual_lowest_part(clips),
    )


def _usual_lowest_part(clips: Sequence[Identity]) -> float | None:
    own = [clip for clip in clips if clip.lead is None or clip.lead > 0]
    lowest = [clip.lowest_part for clip in own if clip.lowest_part is not None]
    return float(np.median(lowest)) if lowest else None


def _identity(made: Voiceprint, centres: Vectors) -> Identity:
    """Against the first of the `centres`, the others being other voices."""
    similarity, leads = _nearness(made.whole[None], centres)
    lead = _least(leads) if made.seconds >= TELLABLE_S else None
    if not made.parts:
        return Identity(float(similarity[0]), lead, None, None)
    part_similarity, part_leads = _nearness(np.stack(made.parts), centres)
    return Identity(float(similarity[0]), lead, float(part_similarity.min()), _least(part_leads))


def _nearness(embeddings: NDArray[np.float32], centres: Vectors) -> tuple[Vectors, Vectors]:
    """Of each embedding: similarity to the first centre, and its lead before the other ones."""
    cosines = embeddings.astype(np.float64) @ centres.T
    if len(centres) == 1:
        return cosines[:, 0], np.zeros(0)
    return cosines[:, 0], cosines[:, 0] - cosines[:, 1:].max(axis=1)


def _least(leads: Vectors) -> float | None:
    return float(leads.min()) if len(leads) else None


def _most_like(reference: Embedding, corpus: "_Corpus", voices: list[Members]) -> Members | None:
    nearest = [float(corpus.centre(voice) @ reference) for voice in voices]
    best = int(np.argmax(nearest))
    return voices[best] if nearest[best] >= LIKE_REFERENCE else None


@dataclass(frozen=True)
class _Corpus:
    """Embeddings (clips, 192) and what each weighs, in an order that the clips' own does not
    change: sums of floats depend on it in the last digit, and ties would."""

    vectors: Vectors
    weights: Weights

    @classmethod
    def of(cls, prints: Sequence[Voiceprint]) -> "_Corpus":
        vectors = np.stack([p.whole for p in prints]).astype(np.float64)
        weights = np.clip([p.seconds for p in prints], LIGHTEST_S, HEAVIEST_S)
        order = np.lexsort(np.column_stack([vectors, weights]).T)
        return cls(vectors[order], weights[order])

    def voices(self) -> list[Members]:
        """Who speaks, the one with most of the time first."""
        split = self._merged(self._split(self._steady()))
        nearest = (self.vectors @ np.stack([self.centre(voice) for voice in split]).T).argmax(
            axis=1
        )
        found = [np.flatnonzero(nearest == i) for i in range(len(split))]
        by_first = sorted((voice for voice in found if len(voice)), key=lambda v: int(v[0]))
        return sorted(by_first, key=self.share, reverse=True)

    def centre(self, voice: Members) -> Vectors:
        """The direction in which a voice's clips lie."""
        return _unit(self._mean(voice))

    def share(self, voice: Members) -> float:
        """Of the time, with very long clips counted as less."""
        return float(self.weights[voice].sum() / self.weights.sum())

    def is_noticed(self, voice: Members) -> bool:
        """Whether it is more than some odd clips."""
        return len(voice) >= NOTICED_CLIPS and self.share(voice) >= NOTICED_SHARE

    def likeness(self, one: Members, other: Members) -> float:
        """Mean similarity across over mean similarity within; see the module docstring."""
        across = float(self._mean(one) @ self._mean(other))
        within = [self._within(voice, across) for voice in (one, other)]
        return across / float(np.sqrt(within[0] * within[1]))

    def _mean(self, voice: Members) -> Vectors:
        weights = self.weights[voice]
        return np.asarray(weights @ self.vectors[voice] / weights.sum())

    def _are_one(self, one: Members, other: Members) -> bool:
        """Whether two sets of clips are one voice. Halves of a crowd are alike, too, but no voice
        is as unlike itself as a crowd."""
        alike, _ = self._pairs(np.concatenate([one, other]))
        return alike >= LEAST_WITHIN and self.likeness(one, other) >= SAME_VOICE

    def _within(self, voice: Members, across: float) -> float:
        """Mean similarity of two clips of a voice. It is `across` where both halves are one voice,
        which few pairs are not to gainsay by chance."""
        seen, pairs = self._pairs(voice)
        guessed = (pairs * seen + PRIOR_PAIRS * across) / (pairs + PRIOR_PAIRS)
        return max(guessed, NOTHING_ALIKE)

    def _pairs(self, voice: Members) -> tuple[float, float]:
        """Mean similarity of two different clips, and how many pairs of equal weight that is."""
        weights, mean = self.weights[voice], self._mean(voice)
        clips = float(weights.sum() ** 2 / (weights**2).sum())
        if clips < 1.5:
            return 0.0, 0.0
        return (clips * float(mean @ mean) - 1) / (clips - 1), clips * (clips - 1) / 2

    def _steady(self) -> Members:
        """Clips long enough to tell voices by; all of them where these are too few."""
        steady = np.flatnonzero(self.weights >= STEADY_S)
        is_enough = len(steady) >= FEWEST_STEADY and self.share(steady) >= STEADY_SHARE
        return steady if is_enough else np.arange(len(self.weights))

    def _split(self, everybody: Members) -> list[Members]:
        """Halves of halves, until nothing that is left is two voices."""
        pending, done = [everybody], list[Members]()
        while pending:
            voice = pending.pop(int(np.argmax([self.share(voice) for voice in pending])))
            halves = self._halves(voice)
            may_split = len(halves) == 2 and len(pending) + len(done) < MOST_VOICES
            if may_split and not self._are_one(*halves):
                pending += halves
            else:
                done.append(voice)
        return done

    def _halves(self, voice: Members) -> list[Members]:
        """2-means of cosines, from the direction in which the clips differ most."""
        vectors, weights = self.vectors[voice], self.weights[voice]
        apart = vectors - self._mean(voice)
        _, directions = np.linalg.eigh((apart.T * weights) @ apart)
        is_one = apart @ directions[:, -1] > 0
        for _ in range(MOST_ROUNDS):
            if is_one.all() or not is_one.any():
                return [voice]
            towards = self.centre(voice[is_one]) - self.centre(voice[~is_one])
            before, is_one = is_one, vectors @ towards > 0
            if (before == is_one).all():
                break
        halves = [voice[is_one], voice[~is_one]]
        return halves if all(len(half) for half in halves) else [voice]

    def _merged(self, voices: list[Members]) -> list[Members]:
        """The most alike together, until no two are one voice: a cut may have gone through one."""
        while len(voices) > 1:
            alike = {
                (i, j): self.likeness(voices[i], voices[j])
                for i in range(len(voices))
                for j in range(i)
                # Two odd clips cannot tell whether they are one voice.
                if max(len(voices[i]), len(voices[j])) >= NOTICED_CLIPS
                and self._are_one(voices[i], voices[j])
            }
            best = max(alike, key=lambda pair: alike[pair], default=None)
            if best is None:
                break
            both = np.sort(np.concatenate([voices[k] for k in best]))
            voices = [voice for k, voice in enumerate(voices) if k not in best] + [both]
        return voices


def _unit(vector: Vectors) -> Vectors:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))
