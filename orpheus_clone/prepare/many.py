"""Many speakers at once: a line each in a manifest, each the same `prepare`, spread over Ray.

    {"voice": "jack", "audio": ["jack/*.wav"], "transcripts": "jack.srt", "consent": "jack.json"}

`voice` and `audio` are needed; transcripts, columns, language, speaker and consent mean what the
options mean. Paths are relative to the manifest. Ray is started on this machine, or an `address`
names a cluster, whose machines see the same files. A speaker that fails does not stop the others.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from orpheus_clone.errors import DataError, OrpheusCloneError
from orpheus_clone.layout import PreparedDir
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare.order import Order, parse_columns
from orpheus_clone.prepare.run import prepare
from orpheus_clone.recipe import Recipe

KEYS = {"voice", "audio", "transcripts", "columns", "language", "speaker", "consent"}

Row = dict[str, Any]


def prepare_many(
    manifest: Path,
    out: Path,
    recipe: Recipe,
    base: BaseModel,
    address: str | None,
    progress: Callable[[str, int, int], None],
) -> list[Row]:
    """A corpus in `out`/<voice> for each line; a row each with what became of it, in order."""
    import ray

    # Ray's workers may run in another folder.
    orders, out = read_manifest(manifest.resolve(), recipe, base), out.resolve()
    ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        one = ray.remote(num_cpus=1)(_row)
        waiting = {one.remote(order, out / order.voice): order.voice for order in orders}
        rows: dict[str, Row] = {}
        progress("speakers", 0, len(orders))
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            voice = waiting.pop(ready)
            try:
                rows[voice] = ray.get(ready)
            except ray.exceptions.RayError as error:  # a bug of ours, or a worker that was killed
                rows[voice] = _nothing(voice, str(error))
            progress("speakers", len(rows), len(orders))
    finally:
        ray.shutdown()
    return [rows[order.voice] for order in orders]


def read_manifest(path: Path, recipe: Recipe, base: BaseModel) -> list[Order]:
    """The orders of a manifest; DataError names a broken line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the manifest cannot be read: {error}") from None
    orders: list[Order] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            orders.append(_order(line, f"{path}:{number}", path.parent, recipe, base))
    voices = [order.voice for order in orders]
    twice = next((voice for voice in voices if voices.count(voice) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: the voice {twice!r} stands on two lines; a line is a speaker")
    if not orders:
        raise DataError(f"{path}: holds no speakers")
    return orders


def _order(line: str, where: str, folder: Path, recipe: Recipe, base: BaseModel) -> Order:
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: is not JSON ({error})") from None
    if not isinstance(data, dict) or not {"voice", "audio"} <= set(data) <= KEYS:
        raise DataError(f"{where}: expected voice, audio, and of {', '.join(sorted(KEYS))}")
    audio = [data["audio"]] if isinstance(data["audio"], str) else data["audio"]
    if not isinstance(audio, list) or not _are_strings([data["voice"], *audio]):
        raise DataError(f"{where}: voice and audio are texts, or audio a list of them")
    others = [key for key in sorted(KEYS - {"voice", "audio", "columns"}) if key in data]
    if not _are_strings([data[key] for key in others]):
        raise DataError(f"{where}: {', '.join(others)} are texts; leave out what there is not")
    columns = data.get("columns")
    if columns is not None and not isinstance(columns, str):
        raise DataError(f'{where}: columns is a text, "audio=NAME,text=NAME"')

    def beside(key: str) -> Path | None:
        return folder / data[key] if key in data else None

    language = data.get("language", "en")
    return Order(
        places=[place if "://" in place else str(folder / place) for place in audio],
        voice=data["voice"],
        base=base,
        recipe=recipe,
        language=None if language == "auto" else language,
        transcripts=beside("transcripts"),
        columns=parse_columns(columns),
        speaker=beside("speaker"),
        consent=beside("consent"),
    )


def _are_strings(values: Sequence[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _row(order: Order, out: Path) -> Row:
    """What became of one speaker; runs in a process of Ray's."""
    try:
        stamp = prepare(order, PreparedDir(out), threads=1)
    except OrpheusCloneError as error:
        return _nothing(order.voice, str(error))
    return {
        "voice": order.voice,
        "clips": stamp.clips,
        "minutes": round(stamp.seconds / 60, 2),
        "rejected": stamp.rejected,
        "error": "",
    }


def _nothing(voice: str, error: str) -> Row:
    return {"voice": voice, "clips": 0, "minutes": 0.0, "rejected": 0, "error": error}
