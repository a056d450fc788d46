"""What an evaluation has spoken so far, so that one that was killed goes on.

    RUN/eval-unfinished/
      key.json                    what it is about; of another, everything is thrown away
      PART/007.flac 007.json      an utterance: its sound, and when what came
      PART.json                   a part's figures, once it is done

Judges hear these files, and the report plays them: what was judged is what can be heard.
"""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orpheus_clone import audio, disk
from orpheus_clone.errors import ArtifactError
from orpheus_clone.eval.speed import Arrival, Utterance

_HINT = "remove the directory, and run eval again"


class Kept:
    """The unfinished evaluation in a directory, of which there may be none yet."""

    def __init__(self, root: Path, key: str) -> None:
        """Go on with the one of `key`, and forget one of another."""
        self._root = root
        about = root / "key.json"
        if about.is_file() and disk.read_json(about, _HINT).get("key") != key:
            shutil.rmtree(root)
        with disk.disk_errors(root):
            disk.write_json(about, {"key": key})

    def utterances(self, part: str) -> dict[int, Utterance]:
        """Those of a part that are there, by their place."""
        return {
            int(path.stem) - 1: _read(path) for path in sorted((self._root / part).glob("*.json"))
        }

    def keep(self, part: str, place: int, utterance: Utterance) -> None:
        """Write one; its JSON last, so that what is there is whole."""
        stem = self._root / part / f"{place + 1:03}"
        with disk.atomic_file(stem.with_suffix(".flac")) as file:
            audio.write(file, utterance.samples)
        facts = {k: v for k, v in asdict(utterance).items() if k != "samples"}
        disk.write_json(stem.with_suffix(".json"), facts)

    def sounds(self) -> dict[str, list[Path]]:
        """By part, the sound of each utterance, in order."""
        parts = sorted(path for path in self._root.iterdir() if path.is_dir())
        return {part.name: sorted(part.glob("*.flac")) for part in parts}

    def figures(self, part: str) -> dict[str, Any] | None:
        """A part's figures, or None where it is not done."""
        path = self._root / f"{part}.json"
        return disk.read_json(path, _HINT) if path.is_file() else None

    def keep_figures(self, part: str, figures: dict[str, Any]) -> None:
        """Write a part's figures; it is done."""
        disk.write_json(self._root / f"{part}.json", figures)

    def forget(self) -> None:
        """The evaluation is finished."""
        shutil.rmtree(self._root, ignore_errors=True)


def _read(path: Path) -> Utterance:
    facts = disk.read_json(path, _HINT)
    try:
        arrivals = [Arrival(**arrival) for arrival in facts.pop("arrivals")]
        return Utterance(samples=audio.read(path.with_suffix(".flac")), arrivals=arrivals, **facts)
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: is not what eval wrote ({error!r}); {_HINT}") from None
