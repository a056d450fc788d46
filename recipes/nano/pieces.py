"""Speech taken to pieces at its words, and put together to say something else.

    clip    |the|old woman|has|a|small house|     cut where it is quietest between two words
    row     |a|old woman| + |will never| + |river|    "a old woman will never river."

From an hour of one voice come as many rows as are wanted, whose text is exactly right and whose
words follow each other in every order: what is said can only be known from the text. Every word of
a row has its time, which base_model.py pulls attention to. Pieces begin where frames of the codec
do: a piece then has about the same codes wherever it is put, and is learnt the sooner.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orpheus_clone import audio
from orpheus_clone.audio import Waveform
from orpheus_clone.tokens import FRAME_SAMPLES, SAMPLE_RATE

EARLY_S = 0.04
"""Kokoro is heard so much before the times that its durations add up to."""
REACH_S = 0.05
"""A cut lies at most so far from there."""
WINDOW = 120
FADE = 120
SOFT = 240
EDGE_S = 0.03
"""Left of the quiet before a clip's first word, and after its last, where it is joined."""
LONGEST_PIECE = 3
FAINT = 0.0005
"""Amplitude of the noise that stands for the quiet of a room, -66 dBFS."""
ENDS = ".,?!;:"


@dataclass(frozen=True)
class Clip:
    """A recording whose words are known in time."""

    voice: str
    words: list[str]
    """As they are written, marks too."""
    samples: Waveform
    begins: list[int]
    ends: list[int]
    """Of each word. One ends where the next begins, unless there is quiet between them."""


@dataclass(frozen=True)
class Row:
    """Something that is said."""

    voice: str
    text: str
    samples: Waveform
    starts: list[int]
    """The sample that each word of `text` begins at."""


def read(speech: Path, rows: Sequence[dict[str, Any]]) -> list[Clip]:
    """The clips of `rows`, as in clips.jsonl, whose words are known in time."""
    return [
        cut(row["voice"], row["text"], audio.read(speech / row["audio"]), row["words"])
        for row in rows
        if "words" in row
    ]


def cut(voice: str, text: str, samples: Waveform, times: Sequence[Sequence[float]]) -> Clip:
    """A clip, with its words' ends where it is quietest near the times that Kokoro tells."""
    power = np.convolve(samples**2, np.ones(WINDOW) / WINDOW, "same")
    is_loud = power > power.max() * 1e-4
    loud = np.flatnonzero(is_loud)
    edge = round(EDGE_S * SAMPLE_RATE)
    begins, ends = [max(0, int(loud[0]) - edge)], []
    for (_, end), (start, _) in pairwise(times):
        middle = round(((end + start) / 2 - EARLY_S) * SAMPLE_RATE)
        reach = round((REACH_S + (start - end) / 4) * SAMPLE_RATE)
        first = max(begins[-1] + WINDOW, middle - reach)
        at = first + int(power[first : max(first + 1, middle + reach)].argmin())
        before, after = loud[loud < at][-1:], loud[loud > at][:1]
        is_pause = len(before) and len(after) and after[0] - before[0] > 2 * edge
        ends.append(int(before[0]) + edge if is_pause else at)
        begins.append(int(after[0]) - edge if is_pause else at)
    ends.append(min(len(samples), int(loud[-1]) + edge))
    return Clip(voice, text.split(), samples, begins, ends)


def whole(clip: Clip) -> Row:
    """A clip as it is."""
    row = joined([(clip, 0, len(clip.words))])
    return Row(clip.voice, " ".join(clip.words), row.samples, row.starts)


def span(clips: Sequence[Clip], rng: np.random.Generator) -> Row:
    """Words of one clip that follow each other, from one up."""
    clip = clips[int(rng.integers(len(clips)))]
    count = int(rng.integers(1, len(clip.words) + 1))
    first = int(rng.integers(len(clip.words) - count + 1))
    return joined([(clip, first, first + count)])


def recombined(clips: Sequence[Clip], words: int, rng: np.random.Generator) -> Row:
    """About so many words, of clips of one voice."""
    taken: list[tuple[Clip, int, int]] = []
    while words > 0:
        clip = clips[int(rng.integers(len(clips)))]
        count = min(words, len(clip.words), int(rng.integers(1, LONGEST_PIECE + 1)))
        first = int(rng.integers(len(clip.words) - count + 1))
        taken.append((clip, first, first + count))
        words -= count
    return joined(taken)


def units(clips: Sequence[Clip]) -> dict[tuple[str, str], Row]:
    """Of each voice and bare word the longest that is said by itself, or else at all."""
    found: dict[tuple[str, str], tuple[bool, int, Clip, int]] = {}
    for clip in clips:
        for i, word in enumerate(clip.words):
            key = clip.voice, word.lower().strip(ENDS)
            candidate = word.endswith("."), clip.ends[i] - clip.begins[i], clip, i
            found[key] = max(found.get(key, candidate), candidate, key=lambda one: one[:2])
    return {key: joined([(clip, i, i + 1)]) for key, (_, _, clip, i) in found.items()}


def softened(row: Row) -> Row:
    """The same with its ends faded over 10 ms, so that it joins others without a click."""
    length = min(SOFT, len(row.samples) // 2)
    ramp: NDArray[np.float32] = np.linspace(0, 1, length, dtype=np.float32)
    samples = row.samples.copy()
    samples[:length] *= ramp
    samples[len(samples) - length :] *= ramp[::-1]
    return replace(row, samples=samples)


def joined(taken: Sequence[tuple[Clip, int, int]]) -> Row:
    """Words `first` up to `last` of each clip, one after the other."""
    samples: Waveform = np.zeros(0, np.float32)
    said: list[str] = []
    starts: list[int] = []
    for clip, first, last in taken:
        begin, end = clip.begins[first], clip.ends[last - 1]
        if len(samples):
            samples = _faded(samples, faint(FADE + (FADE - len(samples)) % FRAME_SAMPLES))
        at = max(0, len(samples) - FADE)
        starts += [at + word - begin for word in clip.begins[first:last]]
        said += [*clip.words[first : last - 1], clip.words[last - 1].rstrip(ENDS)]
        samples = _faded(samples, clip.samples[begin:end])
    clip, _, last = taken[-1]
    mark = "?" if clip.words[last - 1].endswith("?") else "."
    return Row(clip.voice, " ".join(said) + mark, samples, starts)


def faint(length: int) -> Waveform:
    """The quiet of a room."""
    noise: Waveform = np.random.default_rng(length).standard_normal(length, np.float32)
    return FAINT * noise


def draw(clips: Sequence[Clip], count: int, most_words: int, seed: int) -> Iterator[Row]:
    """`count` rows: a quarter spans of a clip, the rest recombined, every voice as often."""
    rng = np.random.default_rng(seed)
    voices = sorted({clip.voice for clip in clips})
    own = {voice: [clip for clip in clips if clip.voice == voice] for voice in voices}
    for i in range(count):
        chosen = own[voices[i % len(voices)]]
        if rng.random() < 0.25:
            yield span(chosen, rng)
        else:
            yield recombined(chosen, int(rng.integers(1, most_words + 1)), rng)


def _faded(before: Waveform, after: Waveform) -> Waveform:
    if not len(before):
        return after
    length = min(FADE, len(before), len(after))
    ramp: NDArray[np.float32] = np.linspace(0, 1, length, dtype=np.float32)
    seam = before[len(before) - length :] * (1 - ramp) + after[:length] * ramp
    return np.concatenate([before[: len(before) - length], seam, after[length:]])
