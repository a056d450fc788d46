"""A node: an engine, the store, and the voices that are ready to speak.

A published bundle is verified, stored, loaded and made to say a few words before its voice's name
means it. Voices that the store knows already are loaded when somebody first asks for them. At most
`max_adapters` are resident; the one that has been idle longest makes room.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from orpheus_clone import bundle, layout
from orpheus_clone.bundle import Bundle, VoiceCard
from orpheus_clone.cluster.state import Load
from orpheus_clone.errors import (
    ArtifactError,
    EngineDead,
    EngineError,
    MachineError,
    StoreError,
    UnknownVoice,
)
from orpheus_clone.serve.admission import Admission, Promise
from orpheus_clone.serve.flights import Flights
from orpheus_clone.serve.metrics import Metrics
from orpheus_clone.serve.pointers import Pointers
from orpheus_clone.serve.slots import Slots
from orpheus_clone.serve.turns import Text, Turns
from orpheus_clone.speech import Chunk, Speaker, Voice
from orpheus_clone.store import Pointer, Seen, Store
from orpheus_clone.store.pointer import Arm, Did, Moving

PROBE_TEXT = "Hello."
PROBE_SECONDS = 0.5
"""A voice must make this much sound before its name means it; the first forward pass is slow."""
_ASKING = 32
"""Threads in which sessions ask what a name means; most of them only wait."""
_FETCHING = 4

P = ParamSpec("P")
T = TypeVar("T")

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


@dataclass(frozen=True)
class Meant:
    """What the name of a published voice means to a session."""

    bundle: str
    arm: Arm
    card: VoiceCard
    """Of the bundle: its base and its language are those that can speak it."""


@dataclass
class Node:
    """See the module docstring."""

    speaker: Speaker
    store: Store
    max_adapters: int
    allows_unproven: bool = False
    metrics: Metrics = field(default_factory=Metrics)
    promise: Promise = field(default_factory=Promise)
    _verified: dict[str, Bundle] = field(default_factory=dict)
    _cards: dict[str, VoiceCard] = field(default_factory=dict)
    _accepting: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.admission = Admission(self.is_alive, self.promise)
        self._slots = Slots(self.speaker.engine, self.max_adapters, self.metrics)
        self._pointers = Pointers(self.store)
        self._asking = ThreadPoolExecutor(_ASKING, thread_name_prefix="asking")
        self._fetching: Flights[Bundle] = Flights(_FETCHING)
        self._asked: Flights[VoiceCard] = Flights(_FETCHING)

    async def ask(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` with the store brings; a store that hangs keeps no stream waiting."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._asking, partial(work, *args, **kwargs))

    def tidy(self) -> None:
        """Drop copies of voices that were unpublished while no node ran here."""
        for voice in sorted(self.store.cached_voices):
            try:
                self.store.drop_unnamed(self.store.pointer(voice))
            except (StoreError, ArtifactError) as error:
                log.warning("a copy of a voice that was unpublished may be left: %s", error)
                if isinstance(error, StoreError):  # so it is with the others
                    return

    def meant(self, name: str, session: str) -> Meant:
        """What the name of a published voice means to a session; nothing is loaded for that.

        A canary that cannot be read leaves the session to the current bundle.
        """
        pointer = self._pointers.get(name)
        wanted, arm = pointer.for_session(session)
        if arm == "canary":
            try:
                return Meant(str(wanted), arm, self._card(str(wanted)))
            except (ArtifactError, StoreError, MachineError) as error:
                log.warning("a session of %s speaks without its canary: %s", name, error)
        current = self._named(pointer)
        return Meant(current, "current", self._card(current))

    async def open(self, name: str, bundle_name: str | None, arm: Arm) -> Found:
        """Who speaks in a session here: a stock voice, or that bundle, verified once.

        A canary is loaded too; one that cannot speak here leaves the session to the current bundle.
        """
        if bundle_name is None:
            if name not in self.speaker.base.voices:
                raise UnknownVoice(f"{self.speaker.base.name} has no voice {name!r}")
            return Found(Voice(name), "current")
        try:
            found = Found(_voice(await self._ready(bundle_name)), arm)
            if arm == "canary":
                async with self._slots.use(found.voice.adapter):
                    return found
            return found
        except (ArtifactError, EngineError, MachineError) as error:
            if arm == "current" or isinstance(error, EngineDead):
                raise
            log.warning("a session of %s speaks without its canary: %s", name, error)
        current = await self.ask(lambda: self._named(self._pointers.get(name)))
        return await self.open(name, current, "current")

    def published(self) -> Iterator[tuple[Pointer, str]]:
        """What each published name means; with it, of one that cannot be read, why not.

        What is known holds where the store does not answer, as it does for sessions.
        """
        for voice in self.store.voices():
            try:
                pointer = self._pointers.get(voice)
            except (ArtifactError, StoreError) as error:
                yield Pointer(voice), str(error)
                continue
            if pointer.shown:
                yield pointer, ""

    def card(self, pointer: Pointer) -> VoiceCard:
        """What a published voice's bundle says of itself; its weights are not looked at."""
        return self._card(pointer.shown)

    async def accept(
        self, path: Path, share: float | None = None, by: str | None = None, why: str | None = None
    ) -> Bundle:
        """Verify, store, load and warm a bundle; only then let the voice's name mean it.

        With a `share`, 0 to 1, it is the canary of so many sessions.
        """
        source = await asyncio.to_thread(bundle.read, path)
        self._check(source)
        voice = source.card.voice
        seen = await self.ask(self.store.see, voice)
        to = seen.pointer.released(source.name, share)
        self._accepting[voice] += 1
        try:
            stored = await self.ask(self.store.add, source)
            await self._probe(stored)
            if to != seen.pointer:
                await self._move(seen, "publish" if share is None else "canary", to, by, why)
                await self.ask(self.store.restore, source)
            return stored
        finally:
            self._accepting[voice] -= 1

    async def move(
        self, voice: str, did: Moving, by: str | None = None, why: str | None = None
    ) -> str | None:
        """Promote, roll back or unpublish; the bundle that then is current has spoken before."""
        seen = await self.ask(self.store.see, voice)
        to = seen.pointer.after(did)
        if to.current not in (None, seen.pointer.current):
            found = await self.ask(self.store.read, str(to.current))
            self._check(found)
            await self._probe(found)
        await self._move(seen, did, to, by, why)
        return to.current

    async def unpublish(
        self, voice: str, forget: bool, by: str | None = None, why: str | None = None
    ) -> None:
        """Let a voice's name mean nothing; `forget` deletes its bundles from the store too.

        What was unpublished before can still be forgotten.
        """
        bundles = await self.ask(self.store.bundles, voice) if forget else []
        try:
            await self.move(voice, "unpublish", by, why)
        except UnknownVoice:
            if not forget or not (bundles or (await self.ask(self.store.see, voice)).moves):
                raise
        await self.ask(self.store.forget, voice, bundles)

    async def speak(
        self, text: Text, voice: Voice, *, patience_s: float = 0.0
    ) -> AsyncGenerator[Chunk, None]:
        """Sound of `text` as it comes; Busy where there is no room for it within `patience_s`."""
        turns = Turns(text, voice.adapter, self.admission, self._slots, patience_s=patience_s)
        meter = self.admission.meter()
        async with aclosing(turns), aclosing(self.speaker.speak(turns, voice)) as chunks:
            async for chunk in chunks:
                meter.came(chunk.tokens, is_end=chunk.finish is not None)
                yield chunk
                meter.taken()

    async def warm(self, name: str, keep: Collection[str]) -> None:
        """Have a bundle ready to speak, if it is not and none of `keep` has to make room for it."""
        if self._slots.has_room_for(name, keep):
            await self._probe(await self.ask(self._checked, name), keep)

    def is_alive(self) -> bool:
        """Whether the engine lives."""
        return self.speaker.engine.is_alive()

    def load(self) -> Load:
        """What there is to do here now, for the heartbeats."""
        return Load(self.admission.sessions, self.max_adapters, self._slots.resident)

    async def _move(
        self, seen: Seen, did: Did, to: Pointer, by: str | None, why: str | None
    ) -> None:
        await self.ask(self.store.move, seen, did, to, by, why)
        self._pointers.forget(to.voice)

    def _read(self, name: str) -> Bundle:
        found = self._verified.get(name)
        if found is None:
            found = self._fetching.join(name, partial(self.store.read, name)).result()
            self._verified[name] = found
        return found

    def _card(self, name: str) -> VoiceCard:
        """What a bundle says of itself, whether or not it can speak here."""
        known = self._verified.get(name)
        if known is not None:
            return known.card
        return self._asked.join(name, partial(self._kept_card, name)).result()

    def _kept_card(self, name: str) -> VoiceCard:
        if name not in self._cards:
            self._cards[name] = self.store.card(name)
        return self._cards[name]

    def _named(self, pointer: Pointer) -> str:
        """The bundle that a voice's name means."""
        if pointer.current is None:
            self._drop_unnamed(pointer)
            raise UnknownVoice(
                f"there is no voice {pointer.voice!r}; GET /v1/audio/voices lists them"
            )
        return pointer.current

    def _drop_unnamed(self, pointer: Pointer) -> None:
        """Of a voice that was unpublished, keep no copy; one that is just released has no name."""
        if self._accepting[pointer.voice]:
            return
        for name in list(self._verified):
            if layout.is_bundle_name(name, pointer.voice) and name not in pointer.named:
                self._verified.pop(name, None)
                self._cards.pop(name, None)
        self.store.drop_unnamed(pointer)

    async def _ready(self, name: str) -> Bundle:
        """A bundle that can speak here; of one that has, that is known without a look."""
        known = self._verified.get(name)
        if known is not None and name in self._slots.resident:
            return known
        return await self.ask(self._checked, name)

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

    async def _probe(self, found: Bundle, keep: Collection[str] = ()) -> None:
        """Load a voice and make it say a few words; none of `keep` makes room for it."""
        async with self._slots.use(found.adapter, keep):
            samples = await self.speaker.say(PROBE_TEXT, _voice(found), max_seconds=PROBE_SECONDS)
        if not len(samples):
            raise EngineError(f"{found.name} makes no sound; nothing was changed")


def _voice(found: Bundle) -> Voice:
    return Voice(found.card.voice, found.adapter, found.sampling)
