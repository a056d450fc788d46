"""A node: an engine, the store, and the voices that are ready to speak.

A published bundle is verified, stored, loaded and made to say a few words before its voice's name
means it. Voices that the store knows already are loaded when somebody first asks for them. At most
`max_adapters` are resident; the one that has been idle longest makes room.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from orpheus_clone import bundle
from orpheus_clone.bundle import Adapter, Bundle, VoiceCard
from orpheus_clone.errors import ArtifactError, Busy, EngineDead, EngineError, UnknownVoice
from orpheus_clone.script import Script
from orpheus_clone.serve.pointers import Pointers
from orpheus_clone.speech import Chunk, Speaker, Voice
from orpheus_clone.store import Pointer, Seen, Store
from orpheus_clone.store.pointer import Arm, Did, Moving

PROBE_TEXT = "Hello."
PROBE_SECONDS = 0.5
"""A voice must make this much sound before its name means it; the first forward pass is slow."""


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """Who speaks in a session."""

    voice: Voice
    arm: Arm
    """Whether the session is one of a canary's."""

    @property
    def bundle(self) -> str | None:
        """The bundle that speaks; None for a stock voice."""
        return self.voice.adapter.name if self.voice.adapter else None


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

    def __post_init__(self) -> None:
        self._pointers = Pointers(self.store)

    def find(self, name: str, session: str = "") -> Found:
        """A stock voice or a published one, by its name, as a session is to hear it.

        A bundle is verified once. A canary that cannot speak here leaves the session to the
        current bundle.
        """
        if name in self.speaker.base.voices:
            return Found(Voice(name), "current")
        pointer = self._pointers.get(name)
        wanted, arm = pointer.for_session(session)
        if arm == "canary":
            try:
                return Found(_voice(self._checked(str(wanted))), arm)
            except ArtifactError as error:
                log.warning("a session of %s speaks without its canary: %s", name, error)
        if pointer.current is None:
            raise UnknownVoice(f"there is no voice {name!r}; GET /v1/audio/voices lists them")
        return Found(_voice(self._checked(pointer.current)), "current")

    def card(self, pointer: Pointer) -> VoiceCard:
        """What is known of a published voice."""
        return self._read(pointer.shown).card

    async def accept(
        self, path: Path, share: float | None = None, by: str | None = None, why: str | None = None
    ) -> Bundle:
        """Verify, store, load and warm a bundle; only then let the voice's name mean it.

        With a `share`, 0 to 1, it is the canary of so many sessions.
        """
        source = await asyncio.to_thread(bundle.read, path)
        self._check(source)
        seen = await asyncio.to_thread(self.store.see, source.card.voice)
        to = seen.pointer.released(source.name, share)
        stored = await asyncio.to_thread(self.store.add, source)
        await self._probe(stored)
        if to != seen.pointer:
            await self._move(seen, "publish" if share is None else "canary", to, by, why)
        return stored

    async def move(
        self, voice: str, did: Moving, by: str | None = None, why: str | None = None
    ) -> str | None:
        """Promote, roll back or unpublish; the bundle that then is current has spoken before."""
        seen = await asyncio.to_thread(self.store.see, voice)
        to = seen.pointer.after(did)
        if to.current not in (None, seen.pointer.current):
            found = await asyncio.to_thread(self.store.read, str(to.current))
            self._check(found)
            await self._probe(found)
        await self._move(seen, did, to, by, why)
        return to.current

    async def unpublish(
        self, voice: str, forget: bool, by: str | None = None, why: str | None = None
    ) -> None:
        """Let a voice's name mean nothing; `forget` deletes its bundles from the store too."""
        await self.move(voice, "unpublish", by, why)
        if forget:
            await asyncio.to_thread(self.store.forget, voice)

    async def speak(self, text: str | Script, voice: Voice) -> AsyncGenerator[Chunk, None]:
        """Sound of `text` as it comes."""
        async with self._in_use(voice.adapter), aclosing(self.speaker.speak(text, voice)) as chunks:
            async for chunk in chunks:
                yield chunk

    def is_alive(self) -> bool:
        """Whether the engine lives."""
        return self.speaker.engine.is_alive()

    async def _move(
        self, seen: Seen, did: Did, to: Pointer, by: str | None, why: str | None
    ) -> None:
        await asyncio.to_thread(self.store.move, seen, did, to, by, why)
        self._pointers.forget(to.voice)

    def _read(self, name: str) -> Bundle:
        if name not in self._verified:
            self._verified[name] = self.store.read(name)
        return self._verified[name]

    def _checked(self, name: str) -> Bundle:
        found = self._read(name)
        self._check(found)
        return found

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
