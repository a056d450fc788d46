"""What is wanted of `prepare`, as the command line, `clone` and a manifest of speakers say it."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

from orpheus_clone import disk
from orpheus_clone.errors import DataError, RecipeError
from orpheus_clone.judges import Judges
from orpheus_clone.manifest import Rejected
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare import decode, encode, measure
from orpheus_clone.prepare.transcripts import Recording
from orpheus_clone.recipe import Recipe

RULES = 1
"""Changes whenever what is cheap would be done otherwise: cutting, matching, judging, texts."""


@dataclass(frozen=True)
class Order:
    """What is wanted of `prepare`."""

    places: Sequence[str]
    voice: str
    base: BaseModel
    recipe: Recipe = field(default_factory=Recipe)
    language: str | None = "en"
    """None: the one that is heard."""
    transcripts: Path | None = None
    columns: dict[str, str] | None = None
    speaker: Path | None = None
    """A recording of the speaker that is wanted; None: the one who speaks most."""
    consent: Path | None = None


def parse_columns(given: str | None) -> dict[str, str] | None:
    """`audio=NAME,text=NAME` as a map; RecipeError where it is something else."""
    if given is None:
        return None
    pairs = dict(pair.partition("=")[::2] for pair in given.split(","))
    columns = {key.strip(): name.strip() for key, name in pairs.items()}
    if not columns.keys() <= {"audio", "text"} or not all(columns.values()):
        raise RecipeError(f"--columns {given}: expected audio=NAME,text=NAME")
    return columns


def check_speaker(order: Order, judges: Judges) -> None:
    """DataError or RecipeError where --speaker cannot be heeded; it is never ignored."""
    if order.speaker is None:
        return
    if judges.speaker is None:
        raise RecipeError(
            f"--speaker {order.speaker}: nothing here tells voices apart; see judges.speaker in "
            "the README, or leave the option out"
        )
    if not order.speaker.is_file():
        raise DataError(f"--speaker {order.speaker}: no such file")


def inputs_digest(
    order: Order,
    found: Sequence[Recording],
    unmatched: Sequence[Rejected],
    judges: Judges,
    consent: object,
) -> str:
    """Over all that `prepare` depends on: where it is equal, nothing needs to be done."""
    heard = [[r.id, str(r.path), disk.sha256_file(r.path), r.text, list(map(asdict, r.cues))]
             for r in found]  # fmt: skip
    base, speaker = order.base, order.speaker
    revisions = [decode.REVISION, measure.REVISION, encode.REVISION, RULES]
    made_for = [revisions, order.voice, order.language, base.digest, base.codec_digest]
    by = [judges.digests(), disk.sha256_file(speaker) if speaker else None]
    lonely = [[r.id, r.reason] for r in unmatched]
    settings = order.recipe.prepare.model_dump()
    return disk.sha256_json([heard, lonely, made_for, by, settings, consent])


def read_consent(path: Path | None) -> dict[str, object] | None:
    """The consent as it was given, with its digest; JSON (who, what for, until) or any text.

    DataError where it cannot be read, or was given until a day that has passed.
    """
    if path is None:
        return None
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the consent cannot be read: {error}") from None
    record: object = content
    with contextlib.suppress(json.JSONDecodeError):
        record = json.loads(content)
    if isinstance(record, dict):
        _check_until(record.get("until"), path)
    return {"sha256": disk.sha256_file(path), "record": record}


def _check_until(until: object, path: Path) -> None:
    """DataError where a consent that says until when it holds says it wrongly, or has ended."""
    if until is None:
        return
    try:
        last = date.fromisoformat(str(until))
    except ValueError:
        raise DataError(f"{path}: until {until!r} is no date like 2027-12-31") from None
    if last < date.today():
        raise DataError(f"{path}: the consent ended on {last}; ask the speaker for a new one")
