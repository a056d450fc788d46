"""Where voices are released: a node (any of a fleet) or a store, moved in the same words.

A node verifies a bundle, loads it and makes it speak before it moves the pointer; a store only
keeps it, and the nodes that serve the store do that when somebody first asks.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from orpheus_clone.bundle import Bundle
from orpheus_clone.client import NodeClient
from orpheus_clone.errors import ArtifactError, UnknownVoice
from orpheus_clone.store import Pointer, Store, is_node, open_store
from orpheus_clone.store.listing import listed
from orpheus_clone.store.pointer import Moving, history
from orpheus_clone.store.store import whoever


@dataclass(frozen=True)
class Signed:
    """Who moves a pointer, and why, for its log."""

    by: str | None = None
    """None: the user of this process."""
    why: str | None = None

    def fields(self) -> dict[str, str | None]:
        """For a node, which does not know the user of this process."""
        return {"by": self.by or whoever(), "why": self.why}


class Place(Protocol):
    """See the module docstring; the returned names are bundles, None where a name means none."""

    def check(self, voice: str, share: float | None) -> None:
        """Raise what `publish` would whatever the bundle is: said before hours of training."""
        ...

    def publish(self, made: Bundle, share: float | None, signed: Signed) -> bool:
        """Release a bundle, as a canary if there is a share; False if it was already."""
        ...

    def promote(self, voice: str, signed: Signed) -> str | None:
        """Let the canary be the voice."""
        ...

    def rollback(self, voice: str, signed: Signed) -> str | None:
        """Take back what came last: the canary, or the current bundle."""
        ...

    def unpublish(self, voice: str, forget: bool, signed: Signed) -> None:
        """Let the name mean nothing; `forget` deletes the voice's bundles too."""
        ...

    def voices(self) -> list[dict[str, Any]]:
        """Every voice there is."""
        ...

    def history(self, voice: str) -> list[dict[str, Any]]:
        """Every move of a voice's pointer."""
        ...


def open_place(to: str, key: str | None = None, *, is_new: bool = False) -> Place:
    """The node or store at `to`; a directory must be there unless it `is_new`."""
    if is_node(to):
        return NodePlace(NodeClient(to, key))
    store = open_store(to)
    if store.objects.root is not None and not is_new and not store.objects.root.is_dir():
        raise ArtifactError(f"{to}: there is no such store")
    return StorePlace(store)


@dataclass(frozen=True)
class StorePlace:
    """A store; see `Place`."""

    store: Store

    def check(self, voice: str, share: float | None) -> None:
        """The place can be made and read, and the pointer moved so."""
        self.store.objects.make()
        self.store.see(voice).pointer.released("", share)

    def publish(self, made: Bundle, share: float | None, signed: Signed) -> bool:
        """Copy the bundle in, then move the pointer from where it was before."""
        self.store.objects.make()
        seen = self.store.see(made.card.voice)
        to = seen.pointer.released(made.name, share)
        self.store.add(made)
        if to == seen.pointer:
            return False
        self.store.move(seen, "publish" if share is None else "canary", to, signed.by, signed.why)
        self.store.restore(made)
        return True

    def promote(self, voice: str, signed: Signed) -> str | None:
        """Move the pointer to the canary."""
        return self._move(voice, "promote", signed)

    def rollback(self, voice: str, signed: Signed) -> str | None:
        """Move the pointer back."""
        return self._move(voice, "rollback", signed)

    def unpublish(self, voice: str, forget: bool, signed: Signed) -> None:
        """Move the pointer to nothing; what was unpublished before can still be forgotten."""
        bundles = self.store.bundles(voice) if forget else []
        try:
            self._move(voice, "unpublish", signed)
        except UnknownVoice:
            if not forget or not (bundles or self.store.see(voice).moves):
                raise
        self.store.forget(voice, bundles)

    def voices(self) -> list[dict[str, Any]]:
        """What the cards say; of a voice whose log or card cannot be read, why not."""
        found = map(self._listed, self.store.voices())
        return [entry for entry in found if entry is not None]

    def history(self, voice: str) -> list[dict[str, Any]]:
        """The log; UnknownVoice if nothing was ever published by that name."""
        moves = self.store.see(voice).moves
        if not moves:
            raise UnknownVoice(f"{self.store.objects.place} holds no voice {voice!r}")
        return history(moves)

    def _move(self, voice: str, did: Moving, signed: Signed) -> str | None:
        seen = self.store.see(voice)
        return self.store.move(seen, did, seen.pointer.after(did), signed.by, signed.why).current

    def _listed(self, voice: str) -> dict[str, Any] | None:
        pointer = Pointer(voice)
        try:
            pointer = self.store.pointer(voice)
            return listed(pointer, self.store.card(pointer.shown)) if pointer.shown else None
        except ArtifactError as error:
            return listed(pointer) | {"error": str(error)}


@dataclass(frozen=True)
class NodePlace:
    """A node, or any node of a fleet, which carries it to the voice's owner; see `Place`."""

    node: NodeClient

    def check(self, voice: str, share: float | None) -> None:
        """The node answers, the key may release, and the pointer can be moved so."""
        current = None
        with suppress(UnknownVoice):
            current = self.node.history(voice)[-1]["to"]
        Pointer(voice, (current,) if current else ()).released("", share)

    def publish(self, made: Bundle, share: float | None, signed: Signed) -> bool:
        """Hand the bundle over, unless the node's list says that it holds already."""
        if any(_holds(entry, made, share) for entry in self.node.voices()):
            return False
        self.node.publish(made, share=share, **signed.fields())
        return True

    def promote(self, voice: str, signed: Signed) -> str | None:
        """Let the node move the pointer once the voice has spoken."""
        return self.node.move("promote", voice, **signed.fields())

    def rollback(self, voice: str, signed: Signed) -> str | None:
        """Let the node move the pointer back, once the earlier voice has spoken."""
        return self.node.move("rollback", voice, **signed.fields())

    def unpublish(self, voice: str, forget: bool, signed: Signed) -> None:
        """Let the node move the pointer to nothing."""
        self.node.unpublish(voice, forget=forget, **signed.fields())

    def voices(self) -> list[dict[str, Any]]:
        """Stock voices too."""
        return self.node.voices()

    def history(self, voice: str) -> list[dict[str, Any]]:
        """The log, as the node reads it."""
        return self.node.history(voice)


def _holds(entry: dict[str, Any], made: Bundle, share: float | None) -> bool:
    """Whether a node's entry of a voice says what publishing would make it say."""
    if entry.get("id") != made.card.voice or "error" in entry:
        return False
    is_current = entry.get("bundle") == made.name
    if share is None:
        return is_current and entry.get("canary") is None
    return is_current or entry.get("canary") == {"bundle": made.name, "share": share}
