"""What an evaluation speaks, part by part; killed in one, it goes on in it.

    prompts     the prompt set, at the concurrency of the recipe: the voice, and its speed
    heldout     the texts of the speaker's held-out clips, to be heard beside them
    stock       some prompts in each stock voice: which is the nearest to the speaker?
    tags words  what voices stumble over, see special.py
    sweep       other concurrencies, until real time breaks
    adapters    the same concurrency, with several voices in the batch
    precision   some of the prompts in bf16, where the engine speaks in FP8

Of a random base only what is about speed is spoken.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, replace
from functools import partial

from orpheus_clone import disk
from orpheus_clone.bundle import Adapter
from orpheus_clone.engine.base import EngineInfo, Precision
from orpheus_clone.eval.keep import Kept
from orpheus_clone.eval.prompts import ENGLISH, ONE_WORD, prompt_set, prompts_for
from orpheus_clone.eval.special import tag_prompts
from orpheus_clone.eval.speed import Utterance, speak_all
from orpheus_clone.eval.sweep import Point, next_concurrency, point, utterances_at
from orpheus_clone.listening.reference import Reference
from orpheus_clone.recipe import Eval
from orpheus_clone.speech import Speaker, Voice

OpenSpeaker = Callable[[Precision | None], AbstractAsyncContextManager[Speaker]]
"""A speaker in a precision (None: the best of this machine), which is closed at the end."""
Progress = Callable[[str, int, int], None]
"""Told a part, how much of it is done, of how much."""

STOCK_PROMPTS = 6
"""In each stock voice: a mean of six is as near to the voice as of many, within 0.02."""


@dataclass(frozen=True)
class Asked:
    """What is to be spoken, and how."""

    voice: Voice
    others: Sequence[Voice]
    """Whose adapters share the batch with the voice's."""
    settings: Eval
    reference: Reference


@dataclass(frozen=True)
class Takes:
    """Everything that was spoken."""

    info: EngineInfo
    prompts: list[Utterance]
    heldout: list[Utterance]
    stock: dict[str, list[Utterance]]
    tags: list[Utterance]
    words: list[Utterance]
    points: list[Point]
    """By concurrency."""
    shared: Point | None
    """With several voices in the batch; None where the recipe asks for one."""
    in_bf16: list[Utterance]
    """The first prompts again; none where the engine does not speak in FP8."""


async def speak(asked: Asked, open_speaker: OpenSpeaker, kept: Kept, progress: Progress) -> Takes:
    """All parts, in order."""
    async with open_speaker(None) as speaker:
        takes = await _Parts(asked, speaker, kept, progress).all()
    wanted = asked.settings.precision_prompts
    if takes.info.precision != "fp8" or not wanted:
        return takes
    async with open_speaker("bf16") as speaker:
        parts = _Parts(asked, speaker, kept, progress)
        prompts = [one.text for one in takes.prompts[:wanted]]
        return replace(takes, in_bf16=await parts.spoken("precision", prompts))


class _Parts:
    """One engine's."""

    def __init__(self, asked: Asked, speaker: Speaker, kept: Kept, progress: Progress) -> None:
        self._asked = asked
        self._settings = asked.settings
        self._speaker = speaker
        self._is_random = speaker.base.is_random
        self._kept = kept
        self._progress = progress

    async def all(self) -> Takes:
        """Every part but the one that is about another precision."""
        heldout = [clip.text for clip in self._asked.reference.clips]
        language = self._asked.reference.language
        base = self._speaker.base
        prompts = prompts_for(self._settings, base, language, heldout)
        spoken = await self.spoken("prompts", prompts)
        tags = base.tags if language == ENGLISH else ()
        words = ONE_WORD if language == ENGLISH else ()
        return Takes(
            info=self._speaker.engine.info,
            prompts=spoken,
            heldout=await self._if_it_can_speak("heldout", heldout),
            stock={
                name: await self._if_it_can_speak(
                    f"stock-{name}", prompts[:STOCK_PROMPTS], Voice(name)
                )
                for name in base.voices
            },
            tags=await self._if_it_can_speak("tags", tag_prompts(tags)),
            words=await self._if_it_can_speak("words", words),
            points=await self._sweep(spoken),
            shared=await self._shared(),
            in_bf16=[],
        )

    async def spoken(
        self, part: str, prompts: Sequence[str], voice: Voice | None = None
    ) -> list[Utterance]:
        """Each prompt, as it is kept."""
        await self._speak([voice or self._asked.voice], prompts, self._settings.concurrency, part)
        kept = self._kept.utterances(part)
        return [kept[i] for i in range(len(prompts))]

    async def _if_it_can_speak(
        self, part: str, prompts: Sequence[str], voice: Voice | None = None
    ) -> list[Utterance]:
        if self._is_random or not prompts:
            return []
        return await self.spoken(part, prompts, voice)

    async def _sweep(self, spoken: Sequence[Utterance]) -> list[Point]:
        """The prompt set's own concurrency, and those of the recipe until real time breaks."""
        at = self._settings.concurrency
        points = [point(spoken, at, 1, is_random=self._is_random)]
        while (streams := next_concurrency(self._settings.sweep, points)) is not None:
            points.append(await self._point(f"sweep-{streams}", [self._asked.voice], streams))
        return sorted(points, key=lambda point: point.concurrency)

    async def _shared(self) -> Point | None:
        streams = self._settings.concurrency
        voices = batch_voices(self._asked, min(self._settings.adapters, streams))
        if len(voices) < 2:
            return None
        return await self._point(f"adapters-{len(voices)}", voices, streams)

    async def _point(self, part: str, voices: Sequence[Voice], streams: int) -> Point:
        figures = self._kept.figures(part)
        if figures is not None:
            return Point(**figures)
        prompts = prompt_set(utterances_at(streams))
        spoken = await self._speak(voices, prompts, streams, part, is_kept=False)
        measured = point(spoken, streams, len(voices), is_random=self._is_random)
        self._kept.keep_figures(part, asdict(measured))
        return measured

    async def _speak(
        self,
        voices: Sequence[Voice],
        prompts: Sequence[str],
        streams: int,
        part: str,
        *,
        is_kept: bool = True,
    ) -> list[Utterance]:
        for voice in voices:
            if voice.adapter is not None:
                await self._speaker.engine.load(voice.adapter)
        return await speak_all(
            self._speaker,
            voices,
            prompts,
            concurrency=streams,
            max_seconds=self._settings.max_seconds,
            kept=self._kept.utterances(part) if is_kept else {},
            keep=partial(self._kept.keep, part) if is_kept else lambda _i, _utterance: None,
            progress=partial(self._progress, part),
        )


def batch_voices(asked: Asked, count: int) -> list[Voice]:
    """So many voices, each with an adapter of its own: the voice, the others, then copies of it.

    A copy has the same weights under another name, so that an engine takes it for another.
    """
    voices = [asked.voice, *asked.others][:count]
    own = asked.voice.adapter
    if own is None:
        return voices
    for number in range(1, count - len(voices) + 1):
        digest = disk.sha256_json([own.digest, number])
        copy = Adapter(f"{asked.voice.name}-copy{number}@{digest[:12]}", own.path, digest)
        voices.append(replace(asked.voice, adapter=copy))
    return voices
