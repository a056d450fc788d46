"""What a node says while it runs: a line on stderr for each thing, as text or as JSON.

    {"at": "2026-11-26T00:50:01.123+00:00", "level": "warning", "node": "node-a",
     "session": "4bf92f3577b34da6a3ce929d0e0e4736", "voice": "jack",
     "logger": "orpheus_clone.serve.session", "message": "a client read nothing for 30 s"}

Each line of a session has its id, the same on every node that it touches: that of its trace. No
line holds a key, the node secret or a text that is spoken. Libraries that would write headers down
where somebody asks for more are kept from it.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal, get_args

from orpheus_clone.errors import RecipeError

LogFormat = Literal["text", "json"]

_TALKATIVE = ("httpcore", "httpx", "uvicorn", "websockets")
_CONTROLS = {code: f"\\x{code:02x}" for code in range(32) if code != ord("\t")}
"""So that what a client wrote makes no line of its own."""

_facts: ContextVar[Mapping[str, str]] = ContextVar("facts", default=MappingProxyType({}))


def checked_format(name: str) -> LogFormat:
    """The format of that name; RecipeError for any other."""
    for known in get_args(LogFormat):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise RecipeError(f"--log {name}: expected {' or '.join(get_args(LogFormat))}")


@contextmanager
def session(session_id: str) -> Iterator[None]:
    """Lines of the block are of a session, in this task and in those that it starts."""
    before = _facts.set({"session": session_id})
    try:
        yield
    finally:
        _facts.reset(before)


def bind(**facts: str) -> None:
    """Say this too of every line of the session from here on."""
    _facts.set({**_facts.get(), **facts})


def quiet() -> None:
    """Keep libraries from writing down what they send, headers with keys in them among it."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def written(form: LogFormat, node_id: str) -> Iterator[None]:
    """All lines of this process in one form on stderr, Python's warnings among them."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json(node_id) if form == "json" else _Text(node_id))
    root, ours = logging.getLogger(), logging.getLogger("orpheus_clone")
    before = root.handlers, root.level, ours.level
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    ours.setLevel(logging.INFO)
    logging.captureWarnings(True)
    quiet()
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers = before[0]
        root.setLevel(before[1])
        ours.setLevel(before[2])


class _Json(logging.Formatter):
    """One object a line."""

    def __init__(self, node_id: str) -> None:
        super().__init__()
        self._node_id = node_id

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        line = {
            "at": _at(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "node": self._node_id,
            **_facts.get(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _Text(logging.Formatter):
    """For people: time, level, message, and whose it is."""

    def __init__(self, node_id: str) -> None:
        super().__init__()
        self._node_id = node_id

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        facts = {"node": self._node_id, **_facts.get()}
        whose = " ".join(f"{name}={value}" for name, value in facts.items())
        said = f"{_at(record):%H:%M:%S} {record.levelname.lower()} {record.getMessage()} ({whose})"
        trace = "\n" + self.formatException(record.exc_info) if record.exc_info else ""
        return said.translate(_CONTROLS) + trace


def _at(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)
