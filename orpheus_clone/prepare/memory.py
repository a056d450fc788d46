"""What was measured, kept by what it was measured of: killed or changed, prepare goes on from it.

    cache/<kind>/<key>.json

A key is a digest of everything that shapes the value (content, model, settings), never of a limit.
So another limit measures nothing again, and a new recording only itself.
"""

import json
from pathlib import Path
from typing import Any

from orpheus_clone import disk


class Memory:
    """A folder of small JSON values; each appears whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def recall(self, kind: str, key: str) -> Any | None:
        """The value, or None if it was never kept (or was damaged: then it is made again)."""
        try:
            return json.loads((self.folder / kind / f"{key}.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
            return None

    def keep(self, kind: str, key: str, value: Any) -> None:
        """Keep plain data under a key."""
        path = self.folder / kind / f"{key}.json"
        disk.write_text(path, json.dumps(value, ensure_ascii=False))


def key_of(*what: object) -> str:
    """The key of a value that depends on just these."""
    return disk.sha256_json(list(what))
