"""What a voice's name means, how that moves, and the line that is left of each move.

    publish   jack@b            b is current, a is the way back
    canary    jack@c to 10 %    b, and c for a tenth of the sessions
    promote                     c is current, b is the way back
    rollback                    takes back what came last: a canary if there is one, else c
    unpublish                   the name means nothing

Each move is one line of JSON in `voices/jack.jsonl`, with the whole of what holds after it: who
moved the pointer and what it means are one object, so neither can be there without the other.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from orpheus_clone import layout
from orpheus_clone.errors import ArtifactError, RecipeError, UnknownVoice

KEPT = 20
"""Bundles that `rollback` can go back through; older ones stay in the store."""

Did = Literal["publish", "canary", "promote", "rollback", "unpublish"]
Moving = Literal["promote", "rollback", "unpublish"]
"""What is done to a pointer without bringing a bundle."""
Arm = Literal["current", "canary"]


@dataclass(frozen=True)
class Canary:
    """A bundle that a share of the sessions, 0 to 1, speaks with."""

    bundle: str
    share: float


@dataclass(frozen=True)
class Pointer:
    """What a voice's name means."""

    voice: str
    bundles: tuple[str, ...] = ()
    """The current one last, before it those that were; empty if the name means nothing."""
    canary: Canary | None = None

    @property
    def current(self) -> str | None:
        """The bundle that the name means, but for the sessions of a canary."""
        return self.bundles[-1] if self.bundles else None

    @property
    def named(self) -> tuple[str, ...]:
        """Every bundle that it names: those that were, the current one and a canary's."""
        return (*self.bundles, self.canary.bundle) if self.canary else self.bundles

    @property
    def shown(self) -> str:
        """The bundle whose card a list shows: the current one, or a canary that waits for it."""
        return self.current or (self.canary.bundle if self.canary else "")

    def for_session(self, session: str) -> tuple[str | None, Arm]:
        """The bundle that a session speaks with: the same one as long as the pointer stands.

        Sessions of a share stay in it when the share grows.
        """
        if self.canary is None:
            return self.current, "current"
        key = f"{self.canary.bundle} {session}".encode()
        place = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) / 2**64
        if place < self.canary.share:
            return self.canary.bundle, "canary"
        return self.current, "current"

    def after(self, did: Moving) -> "Pointer":
        """What holds after a move; errors as the three below."""
        moves = {
            "promote": self.promoted,
            "rollback": self.rolled_back,
            "unpublish": self.unpublished,
        }
        return moves[did]()

    def released(self, bundle: str, share: float | None) -> "Pointer":
        """`bundle` for every session, or for a share of them, 0 to 1, as a canary."""
        return self.published(bundle) if share is None else self.with_canary(bundle, share)

    def published(self, bundle: str) -> "Pointer":
        """`bundle` for every session; a canary ends."""
        others = [name for name in self.bundles if name != bundle]
        return replace(self, bundles=(*others, bundle)[-KEPT:], canary=None)

    def with_canary(self, bundle: str, share: float) -> "Pointer":
        """`bundle` for a share of the sessions; RecipeError if that cannot be.

        Nothing changes where every session speaks with it already: a job that releases a canary
        may run again after that was promoted.
        """
        if self.current == bundle:
            return self
        if self.current is None and share > 0:
            raise RecipeError(
                f"voice {self.voice!r} has no bundle that the other sessions could speak with; "
                "publish without --canary, or with --canary 0% to promote it later"
            )
        return replace(self, canary=Canary(bundle, share))

    def promoted(self) -> "Pointer":
        """The canary for every session; ArtifactError if there is none."""
        if self.canary is None:
            self._check_is_known()
            raise ArtifactError(
                f"voice {self.voice!r} has no canary to promote; publish one with --canary 10%"
            )
        return self.published(self.canary.bundle)

    def rolled_back(self) -> "Pointer":
        """Without what came last; ArtifactError if there is nothing to go back to."""
        if self.canary is not None:
            return replace(self, canary=None)
        self._check_is_known()
        if len(self.bundles) < 2:
            raise ArtifactError(f"voice {self.voice!r} has no earlier bundle to go back to")
        return replace(self, bundles=self.bundles[:-1])

    def unpublished(self) -> "Pointer":
        """Nothing; UnknownVoice if it means nothing already."""
        if self.canary is None:
            self._check_is_known()
        return Pointer(self.voice)

    def _check_is_known(self) -> None:
        if self.current is None:
            raise UnknownVoice(f"there is no voice {self.voice!r} to move")


@dataclass(frozen=True)
class Move:
    """One line of a pointer's log."""

    at: str
    """UTC, ISO 8601."""
    by: str
    did: Did
    why: str | None
    pointer: Pointer
    """After the move."""


def parse(data: bytes, where: str) -> tuple[Move, ...]:
    """The moves in a log, the last one last; ArtifactError names the line that is none."""
    moves = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            move = _MOVE.validate_json(line, strict=False)
        except ValidationError as error:
            raise _no_move(f"{where}:{number}", error.errors()[0]["msg"]) from None
        for name in move.pointer.named:
            if not layout.is_bundle_name(name, move.pointer.voice):
                raise _no_move(f"{where}:{number}", f"{name!r} is no bundle of its voice")
        moves.append(move)
    return tuple(moves)


def _no_move(where: str, said: str) -> ArtifactError:
    return ArtifactError(
        f"{where}: is no move of a pointer: {said}; restore the line, or remove the file and "
        "publish the voice again"
    )


def dump(moves: tuple[Move, ...]) -> bytes:
    """A log, a line a move."""
    lines = [json.dumps(asdict(move), ensure_ascii=False) for move in moves]
    return "".join(f"{line}\n" for line in lines).encode()


def history(moves: tuple[Move, ...]) -> list[dict[str, Any]]:
    """What a person asks of a log: when, who, what, from which bundle to which, and why."""
    rows, before = [], None
    for move in moves:
        after, canary = move.pointer.current, move.pointer.canary
        row = {"at": move.at, "by": move.by, "did": move.did, "from": before, "to": after}
        shown = f"{canary.bundle} {canary.share:.0%}" if canary else None
        rows.append(row | {"canary": shown, "why": move.why})
        before = after
    return rows


_MOVE = TypeAdapter(Move)
