"""A node: an engine, the store, and the voices that are ready to speak.

A published bundle is verified, stored, loaded and made to say a few words before its voice's name
means it. Voices that the store knows already are loaded when somebody first asks for them. At most
`max_adapters` are resident; the one that has been idle longest makes room.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from orpheus_clone import bundle
from orpheus_clone.bundle import Adapter, Bundle, VoiceCard
from orpheus_clone.errors import ArtifactError, Busy, EngineDead, EngineError, UnknownVoice
from orpheus_clone.speech import Chunk, Speaker, Voice
from orpheus_clone.store import Store

PROBE_TEXT = "Hello."
PROBE_SECONDS = 0.5
"""A voice must make this much sound before its name means it; the first forward pass is slow."""


@dataclass
class _Resident:
    """An adapter in the engine."""

    adapter: Adapter
    sessions: int = 0


@dataclass
class Node:
    """See the module docstring."""

    speaker: Speaker
    store: Store
    max_adapters: int
    allows_unproven: bool = False
    _resident: "OrderedDict[str, _Resident]" = field(default_factory=OrderedDict)
    _verified: dict[str, Bundle] = field(default_factory=dict)
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def find(self, name: str) -> Voice:
        """A stock voice or a published one, by its name; its bundle is verified once."""
        if name in self.speaker.base.voices:
            return Voice(name)
        found = self._current(name)
        self._check(found)
        return _voice(found)

    def card(self, name: str) -> VoiceCard:
        """What is known of a published voice."""
        return self._current(name).card

    def _current(self, name: str) -> Bundle:
        current = self.store.current(name)
        if current is None:
            raise UnknownVoice(f"there is no voice {name!r}; GET /v1/audio/voices lists them")
        if current not in self._verified:
            self._verified[current] = self.store.read(current)
        return self._verified[current]

    async def accept(self, path: Path) -> Bundle:
        """Verify, store, load and warm a bundle; only then let the voice's name mean it."""
        source = await asyncio.to_thread(bundle.read, path)
        self._check(source)
        stored = await asyncio.to_thread(self.store.add, source)
        await self._probe(stored)
        await asyncio.to_thread(self.store.point, stored.card.voice, stored.name)
        return stored

    async def rollback(self, voice: str) -> str:
        """Let the voice's name mean its earlier bundle, once that one has spoken."""
        history = self.store.history(voice)
        if len(history) > 1:
            earlier = await asyncio.to_thread(self.store.read, history[-2])
            self._check(earlier)
            await self._probe(earlier)
        return await asyncio.to_thread(self.store.rollback, voice, history)

    async def speak(self, text: str, voice: Voice) -> AsyncGenerator[Chunk, None]:
        """Sound of `text` as it comes."""
        async with self._in_use(voice.adapter), aclosing(self.speaker.speak(text, voice)) as chunks:
            async for chunk in chunks:
                yield chunk

    def is_alive(self) -> bool:
        """Whether the engine lives."""
        return self.speaker.engine.is_alive()

    def _check(self, found: Bundle) -> None:
        bundle.check_fits(found, self.speaker.base)
        if found.card.proof == "unproven" and not self.allows_unproven:
            raise ArtifactError(
                f"{found.name} is unproven: its gates were not measured on a target; evaluate it "
                "there, or start the node with --allow-unproven"
            )

    async def _probe(self, found: Bundle) -> None:
        """Load a voice and make it say a few words."""
        async with self._in_use(found.adapter):
            samples = await self.speaker.say(PROBE_TEXT, _voice(found), max_seconds=PROBE_SECONDS)
        if not len(samples):
            raise EngineError(f"{found.name} makes no sound; nothing was changed")

    @contextlib.asynccontextmanager
    async def _in_use(self, adapter: Adapter | None) -> AsyncGenerator[None, None]:
        """Keep an adapter resident for the length of a session."""
        if adapter is None:
            yield
            return
        if adapter.name not in self._resident:
            async with self._loading:
                if adapter.name not in self._resident:
                    await self._make_room()
                    await self.speaker.engine.load(adapter)
                    self._resident[adapter.name] = _Resident(adapter)
        # No await from here to the try: nobody can make room of it in between.
        resident = self._resident[adapter.name]
        resident.sessions += 1
        self._resident.move_to_end(adapter.name)
        try:
            yield
        finally:
            resident.sessions -= 1

    async def _make_room(self) -> None:
        if len(self._resident) < self.max_adapters:
            return
        idle = next((r for r in self._resident.values() if r.sessions == 0), None)
        if idle is None:
            raise Busy(f"all {self.max_adapters} adapter slots are speaking; try again later")
        del self._resident[idle.adapter.name]
        with contextlib.suppress(EngineDead):
            await self.speaker.engine.unload(idle.adapter)


def _voice(found: Bundle) -> Voice:
    return Voice(found.card.voice, found.adapter, found.sampling)
