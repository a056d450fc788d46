"""What was heard of an epoch, on disk: epoch-N/spoken/ with the sound and heard.json.

    {"key": …, "figures": {"wer": {"value": 0.04, "why": null}, …},
     "utterances": [{"file": "001.flac", "text": …, "heard": …, "finish": "stop", …}, …]}

`key` names prompts, sampling and judges: what was heard under another key is heard again.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from orpheus_clone import audio, disk
from orpheus_clone.errors import ArtifactError
from orpheus_clone.listening.figures import Figure, Figures
from orpheus_clone.listening.hear import Hearing, Spoken

FOLDER = "spoken"
_FILE = "heard.json"
NEVER = "never"
"""An infinite figure in JSON, which has no infinity."""


@dataclass(frozen=True)
class Heard:
    """An epoch's voice: its figures, and each utterance for the report."""

    key: str
    figures: Figures
    utterances: list[dict[str, Any]]


def write(
    epoch: Path, key: str, figures: Figures, spoken: Sequence[Spoken], hearings: Sequence[Hearing]
) -> None:
    """Replace what was heard of the epoch in this folder, as a whole."""
    with disk.atomic_dir(epoch / FOLDER) as folder:
        rows = []
        for number, (one, hearing) in enumerate(zip(spoken, hearings, strict=True), start=1):
            file = f"{number:03}.flac"
            audio.write(folder / file, one.samples)
            rows.append({"file": file} | asdict(hearing))
        data = {"key": key, "figures": plain(figures), "utterances": rows}
        disk.write_json(folder / _FILE, data)


def read(epoch: Path, key: str) -> Heard | None:
    """What was heard of the epoch under this key; None if nothing was."""
    path = epoch / FOLDER / _FILE
    if not path.is_file():
        return None
    hint = f"delete {path.parent} and run train again"
    data = disk.read_json(path, hint)
    try:
        figures = {f.name: _figure(data["figures"][f.name]) for f in fields(Figures)}
        heard = Heard(str(data["key"]), Figures(**figures), list(data["utterances"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: is not what train wrote ({error!r}); {hint}") from None
    return heard if heard.key == key else None


def plain(figures: Figures) -> dict[str, dict[str, Any]]:
    """For JSON: an infinite value is "never"."""
    named = {f.name: getattr(figures, f.name) for f in fields(figures)}
    return {
        name: {"value": NEVER if figure.value == math.inf else figure.value, "why": figure.why}
        for name, figure in named.items()
    }


def _figure(data: dict[str, Any]) -> Figure:
    value = data["value"]
    if value is not None:
        value = math.inf if value == NEVER else float(value)
    return Figure(value, data["why"])
