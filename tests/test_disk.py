import errno
import json
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orpheus_clone import disk
from orpheus_clone.errors import MachineError


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_atomic_file_leaves_the_old_content_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    disk.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), disk.atomic_file(path) as temporary:
        temporary.write_text("half of the new", encoding="utf-8")
        raise ZeroDivisionError
    assert path.read_text(encoding="utf-8") == "old"
    assert names_in(tmp_path) == ["notes.txt"]


def test_atomic_file_makes_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    disk.write_text(tmp_path / "a" / "b" / "notes.txt", "new")
    assert names_in(tmp_path / "a" / "b") == ["notes.txt"]


def test_atomic_file_keeps_the_suffix_for_writers_that_go_by_it(tmp_path: Path) -> None:
    with disk.atomic_file(tmp_path / "clip.flac") as temporary:
        assert temporary.suffix == ".flac"
        assert temporary.parent == tmp_path
        temporary.touch()


def test_two_threads_may_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.txt"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: disk.write_text(path, "the same"), range(200)))
    assert path.read_text(encoding="utf-8") == "the same"
    assert names_in(tmp_path) == ["clip.txt"]


def test_atomic_dir_replaces_a_whole_directory(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with disk.atomic_dir(tmp_path / "adapter") as temporary:
            (temporary / content).touch()
    assert names_in(tmp_path / "adapter") == ["new"]
    assert names_in(tmp_path) == ["adapter"]


def test_atomic_dir_leaves_the_old_directory_when_the_block_fails(tmp_path: Path) -> None:
    with disk.atomic_dir(tmp_path / "adapter") as temporary:
        (temporary / "old").touch()
    with pytest.raises(ZeroDivisionError), disk.atomic_dir(tmp_path / "adapter") as temporary:
        (temporary / "new").touch()
        raise ZeroDivisionError
    assert names_in(tmp_path / "adapter") == ["old"]
    assert names_in(tmp_path) == ["adapter"]


def test_threads_may_write_the_same_directory_and_each_has_its_own_until_it_ends(
    tmp_path: Path,
) -> None:
    path = tmp_path / "adapter"
    with disk.atomic_dir(path) as slow:
        (slow / "begun").touch()
        with disk.atomic_dir(path) as fast:
            (fast / "whole").touch()
        assert names_in(path) == ["whole"]
        (slow / "ended").touch()
    assert names_in(path) == ["begun", "ended"]

    def write(number: int) -> None:
        with disk.atomic_dir(path) as temporary:
            (temporary / "whole").write_text(str(number), encoding="utf-8")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(100)))
    assert names_in(path) == ["whole"]
    assert names_in(tmp_path) == ["adapter"]


NOBODY = 2**22 + 1
"""No process on Linux has such a number."""


def left_behind(path: Path, name: str) -> Path:
    """An unfinished directory in place of `path`, of HOME-PID.part or HOME-PID.old."""
    by, _, kind = name.partition(".")
    path.parent.mkdir(exist_ok=True)
    left = path.with_name(f".{path.name}.{by}-0.{kind}")
    left.mkdir()
    (left / kind).touch()
    return left


@pytest.fixture
def here(tmp_path: Path) -> str:
    """What this machine's unfinished directories are named after."""
    with disk.atomic_dir(tmp_path / "elsewhere" / "x") as temporary:
        return temporary.suffixes[-2].removeprefix(".").partition("-")[0]


@pytest.mark.parametrize("pid", [NOBODY, os.getpid()], ids=["dead", "the same number"])
def test_what_a_process_that_was_killed_between_two_names_had_moved_away_is_put_back(
    tmp_path: Path, here: str, pid: int
) -> None:
    for kind in ("part", "old"):
        left_behind(tmp_path / "shared" / "adapter", f"{here}-{pid}.{kind}")
    with pytest.raises(ZeroDivisionError), disk.atomic_dir(tmp_path / "shared" / "adapter"):
        raise ZeroDivisionError
    assert names_in(tmp_path / "shared") == ["adapter"]
    assert names_in(tmp_path / "shared" / "adapter") == ["old"]


@pytest.mark.parametrize("pid", [NOBODY, os.getpid()], ids=["unknown", "the same number"])
def test_what_another_machine_writes_is_left_to_it_for_a_day(tmp_path: Path, pid: int) -> None:
    theirs = left_behind(tmp_path / "adapter", f"theirs-{pid}.part")
    for hours, is_there in ((23, True), (25, False)):
        then = time.time() - 3600 * hours
        os.utime(theirs, (then, then))
        with disk.atomic_dir(tmp_path / "adapter"):
            pass
        assert theirs.exists() is is_there


def test_what_another_machine_had_moved_away_when_it_was_killed_is_put_back(
    tmp_path: Path,
) -> None:
    left_behind(tmp_path / "adapter", "theirs-1.old")
    with pytest.raises(ZeroDivisionError), disk.atomic_dir(tmp_path / "adapter"):
        raise ZeroDivisionError
    assert names_in(tmp_path) == ["adapter"]


def test_a_directory_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []

    def fsync(opened: int, really: Callable[[int], None] = os.fsync) -> None:
        really(opened)
        path = Path(f"/proc/self/fd/{opened}").resolve()
        synced.append((path.name, (tmp_path / "adapter").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with disk.atomic_dir(tmp_path / "adapter") as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "weights").touch()
    assert sorted(synced) == sorted(
        [("deep", False), ("weights", False), (temporary.name, False), (tmp_path.name, True)]
    )


def test_a_shared_disk_that_cannot_sync_names_is_taken_and_one_that_cannot_sync_content_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(opened: int) -> None:
        if failing(Path(f"/proc/self/fd/{opened}").resolve()):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    failing: Callable[[Path], bool] = Path.is_dir
    with disk.atomic_dir(tmp_path / "adapter") as temporary:
        (temporary / "weights").touch()
    assert names_in(tmp_path / "adapter") == ["weights"]
    failing = Path.is_file
    with pytest.raises(MachineError), disk.atomic_dir(tmp_path / "adapter") as temporary:
        (temporary / "others").touch()
    assert names_in(tmp_path / "adapter") == ["weights"]


def test_a_full_disk_says_so_and_leaves_the_old_content(
    small_disk: Callable[[int], Path],
) -> None:
    path = small_disk(64) / "notes.txt"
    disk.write_text(path, "old")
    with pytest.raises(
        MachineError, match=r"cannot write .*notes\.txt: No space left on device; free"
    ):
        disk.write_text(path, "x" * 200_000)
    assert path.read_text(encoding="utf-8") == "old"
    assert names_in(path.parent) == ["notes.txt"]


def test_a_file_over_the_process_limit_says_so(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(MachineError, match=r"cannot write .*notes\.txt: File too large"):
            disk.write_text(tmp_path / "notes.txt", "x" * 200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names_in(tmp_path) == []


def test_a_file_in_the_way_of_a_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(MachineError, match=r"cannot write .*taken.notes\.txt"):
        disk.write_text(tmp_path / "taken" / "notes.txt", "new")
    missing = tmp_path / "taken" / "adapter"
    with pytest.raises(MachineError, match=r"cannot write .*adapter"), disk.atomic_dir(missing):
        pass


def test_a_broken_connection_is_not_taken_for_a_disk(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), disk.disk_errors(tmp_path):
        raise BrokenPipeError(32, "Broken pipe")


def test_digests_are_sha256_and_do_not_hang_on_key_order(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert disk.sha256_file(tmp_path / "abc") == known
    assert disk.sha256_json({"a": 1, "b": 2}) == disk.sha256_json({"b": 2, "a": 1})
    assert disk.sha256_json({"a": 1}) != disk.sha256_json({"a": 2})


def test_json_files_are_readable_text(tmp_path: Path) -> None:
    disk.write_json(tmp_path / "x.json", {"who": "Zoë"})
    assert "Zoë" in (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "x.json").read_bytes()) == {"who": "Zoë"}
