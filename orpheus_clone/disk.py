"""Files that appear whole or not at all, what a disk says when it cannot, and digests.

atomic_file, atomic_dir     written beside, then put in place; killed in between, the old stays
write_text, write_json      by these
read_json, parse_json       or an ArtifactError that says what to do
disk_errors                 a full disk, a missing permission: MachineError
"""

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from orpheus_clone.errors import ArtifactError, MachineError


def read_json(path: Path, hint: str) -> dict[str, Any]:
    """A JSON object from a file; ArtifactError with `hint` where it cannot be had."""
    try:
        return parse_json(path.read_bytes(), str(path), hint)
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{path} is missing; {hint}") from None
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}; {hint}") from None


def parse_json(data: bytes, where: str, hint: str) -> dict[str, Any]:
    """A JSON object from bytes; ArtifactError with `hint` where there is none."""
    try:
        parsed = json.loads(data.decode())
    except (ValueError, RecursionError) as error:  # undecodable, not JSON, nested without end
        raise ArtifactError(f"{where}: is not JSON ({error}); {hint}") from None
    if not isinstance(parsed, dict):
        raise ArtifactError(f"{where}: is not a JSON object; {hint}")
    return parsed


def write_json(path: Path, data: object) -> None:
    """Pretty JSON, whole or not at all."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """A text file that appears whole or not at all, even if the machine stops."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    Disk errors become MachineError and leave what was there before.
    """
    # The suffix is kept because some writers choose the format by it; two threads may write the
    # same path, since equal recordings have equal keys.
    temporary = path.with_name(f".{path.stem}.{uuid4().hex}.part{path.suffix}")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """A temporary directory beside `path` that takes its place when the block ends well.

    Of several who write the same path at once, the last one to end is what stays. Its content is on
    the disk before its name is, so what is written later may count on it even if the machine stops.
    """
    mine = f"{_home()}-{os.getpid()}-{uuid4().hex}"
    temporary = path.with_name(f".{path.name}.{mine}.part")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _WRITING.add(mine)
            _settle_unfinished(path)
            temporary.mkdir()
            yield temporary
            for inside in (*temporary.rglob("*"), temporary):
                _sync(inside)
            _replace(path, temporary, path.with_name(f".{path.name}.{mine}.old"))
            _sync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            _WRITING.discard(mine)


_WRITING: set[str] = set()
"""The names of this process's own unfinished directories; in a container every process is 1."""
_ABANDONED_SECONDS = 86_400.0
"""After which an unfinished directory of another machine or container is nobody's any more."""


def _sync(path: Path) -> None:
    """Have a file's content, or a directory's names, on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError:
        if not path.is_dir():  # of directories, some shared file systems cannot
            raise
    finally:
        os.close(opened)


def _replace(path: Path, temporary: Path, old: Path) -> None:
    """Put `temporary` where `path` is; killed in between, `old` is what was there."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            path.rename(old)
        try:
            temporary.rename(path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                with contextlib.suppress(FileNotFoundError):
                    old.rename(path)
                raise
            # Somebody else's came between the two: it is what is replaced now.
        finally:
            shutil.rmtree(old, ignore_errors=True)


def _settle_unfinished(path: Path) -> None:
    """Remove what a killed process was writing in place of `path`, or put back what was there."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.old"):
        # Whoever is about to put another in its place finds this one there, and replaces it.
        if path.exists():
            shutil.rmtree(left, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # somebody else has put it back, or a newer one
                left.rename(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        if _is_abandoned(left):
            shutil.rmtree(left, ignore_errors=True)


def _is_abandoned(left: Path) -> bool:
    """Whether nobody writes an unfinished directory any more."""
    name = left.suffixes[-2].removeprefix(".")
    home, _, rest = name.partition("-")
    if home != _home():
        with contextlib.suppress(FileNotFoundError):
            return time.time() - left.stat().st_mtime > _ABANDONED_SECONDS
        return False
    pid = int(rest.partition("-")[0])
    return name not in _WRITING if pid == os.getpid() else not _is_running(pid)


@cache
def _home() -> str:
    """Where a process's number means something: this machine since it started, or a container."""
    facts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # only Linux tells
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        facts += [boot, str(Path("/proc/self/ns/pid").readlink())]
    return sha256_json(facts)[:12]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a missing permission into MachineError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno is None or isinstance(error, ConnectionError | TimeoutError):
            raise
        raise MachineError(
            f"cannot write {path}: {os.strerror(error.errno)}; free some space or choose another "
            "place, then run the same command again: it goes on from here"
        ) from error


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(data: object) -> str:
    """Hex SHA-256 of plain data in one canonical form."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
