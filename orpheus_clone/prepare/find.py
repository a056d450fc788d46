"""Everything that the places of an order hold: audio files with transcripts, and datasets."""

from pathlib import Path

from orpheus_clone.errors import TranscriptError
from orpheus_clone.manifest import Rejected
from orpheus_clone.prepare.hub_dataset import is_dataset, recordings_of
from orpheus_clone.prepare.order import Order
from orpheus_clone.prepare.transcripts import Recording, find_recordings, match


def find(
    order: Order, cache: Path, *, may_lack_text: bool, but_not_in: Path | None = None
) -> tuple[list[Recording], list[Rejected]]:
    """The recordings, and what has no partner; rows of datasets are written into `cache`.

    What lies in `but_not_in` is left out: prepare's own clips, where --out is within AUDIO.
    """
    datasets = [place for place in order.places if is_dataset(Path(place).expanduser())]
    files = [place for place in order.places if place not in datasets]
    found: list[Recording] = []
    rejected: list[Rejected] = []
    if files:
        found, rejected = match(
            [path for path in find_recordings(files) if not _lies_in(path, but_not_in)],
            order.transcripts,
            columns=None if datasets else order.columns,
            may_lack_text=may_lack_text,
        )
    for place in datasets:
        found += recordings_of(Path(place).expanduser(), cache, order.columns)
    _check_names(found)
    return found, rejected


def _lies_in(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.resolve().is_relative_to(folder.resolve())


def _check_names(found: list[Recording]) -> None:
    seen: dict[str, Recording] = {}
    for recording in found:
        other = seen.setdefault(recording.id, recording)
        if other is not recording:
            raise TranscriptError(
                f"{recording.path} and {other.path} have the same name {recording.id!r}, which is "
                "the clip's id; rename one"
            )
