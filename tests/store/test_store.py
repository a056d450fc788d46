"""The store, in a directory and in S3: pointers that move as a whole, bundles that are verified."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from orpheus_clone import bundle, models
from orpheus_clone.bundle import Bundle
from orpheus_clone.errors import ArtifactError, Busy, DataError, MachineError, RecipeError
from orpheus_clone.publish.place import StorePlace
from orpheus_clone.store import Pointer, Store, open_store
from orpheus_clone.store.directory import DirectoryObjects
from orpheus_clone.store.pointer import Canary

Release = Callable[..., str]


@pytest.fixture
def directory(tmp_path: Path) -> Store:
    """A store in a directory, for what only files can suffer."""
    return open_store(tmp_path / "files")


def point(store: Store, voice: str, name: str) -> None:
    seen = store.see(voice)
    store.move(seen, "publish", seen.pointer.published(name))


def test_an_empty_store_knows_nothing(store: Store) -> None:
    assert store.voices() == []
    assert store.pointer("jack") == Pointer("jack")
    assert store.see("jack").moves == ()


def test_a_bundle_that_is_added_means_nothing_until_a_pointer_names_it(
    store: Store, bundles: list[Bundle]
) -> None:
    stored = store.add(bundles[0])
    assert stored.digest == bundles[0].digest
    assert store.voices() == []
    point(store, "jack", stored.name)
    assert (store.voices(), store.pointer("jack").current) == (["jack"], stored.name)
    assert store.card(stored.name) == bundles[0].card


def test_two_stores_on_one_place_see_each_other(
    store: Store, place: str, bundles: list[Bundle], released: Release
) -> None:
    other = open_store(place)
    first, second = released(bundles[0]), released(bundles[1])
    assert other.pointer("jack") == Pointer("jack", (first, second))
    seen = other.see("jack")
    other.move(seen, "rollback", seen.pointer.rolled_back())
    assert store.pointer("jack").current == first
    assert other.read(second).digest == bundles[1].digest


def test_of_two_who_move_a_pointer_at_once_one_wins_and_the_other_is_told(
    store: Store, bundles: list[Bundle], released: Release
) -> None:
    first = released(bundles[0])
    mine, yours = store.see("jack"), store.see("jack")
    store.move(mine, "publish", mine.pointer.published(bundles[1].name), by="jane", why="warmer")
    with pytest.raises(Busy, match=r"moved meanwhile by jane at 2\d{3}.* \(publish\), and nothing"):
        store.move(yours, "publish", yours.pointer.published(bundles[2].name), by="ci")
    assert store.pointer("jack").bundles == (first, bundles[1].name)
    last = store.see("jack").moves[-1]
    assert (last.by, last.did, last.why) == ("jane", "publish", "warmer")
    assert len(store.see("jack").moves) == 2


def test_of_two_who_make_a_pointer_at_once_one_wins(store: Store) -> None:
    mine, yours = store.see("jack"), store.see("jack")
    store.move(mine, "publish", mine.pointer.published("jack@000000000000"))
    with pytest.raises(Busy):
        store.move(yours, "publish", yours.pointer.published("jack@111111111111"))
    assert store.pointer("jack").bundles == ("jack@000000000000",)


class Deaf(DirectoryObjects):
    """Swaps, but the answer is lost and the request sent again, which then is too late."""

    def swap(self, key: str, data: bytes, seen: str | None) -> bool:
        super().swap(key, data, seen)
        return super().swap(key, data, seen)


def test_a_move_whose_answer_was_lost_is_no_defeat(tmp_path: Path) -> None:
    store = Store(Deaf(tmp_path))
    point(store, "jack", "jack@000000000000")
    assert store.pointer("jack").current == "jack@000000000000"
    assert len(store.see("jack").moves) == 1


def test_a_canary_waits_beside_the_current_bundle(
    store: Store, bundles: list[Bundle], released: Release
) -> None:
    first, second = released(bundles[0]), released(bundles[1], 0.25)
    assert store.pointer("jack") == Pointer("jack", (first,), Canary(second, 0.25))


def test_a_voice_that_only_waits_is_known_and_not_spoken_with(
    store: Store, bundles: list[Bundle], released: Release
) -> None:
    name = released(bundles[0], 0.0)
    assert store.voices() == ["jack"]
    assert store.pointer("jack") == Pointer("jack", (), Canary(name, 0.0))


def test_an_unpublished_voice_is_listed_no_more_and_its_log_stays(
    store: Store, bundles: list[Bundle], released: Release
) -> None:
    name = released(bundles[0])
    seen = store.see("jack")
    store.move(seen, "unpublish", seen.pointer.unpublished())
    assert StorePlace(store).voices() == []
    assert [move.did for move in store.see("jack").moves] == ["publish", "unpublish"]
    assert store.read(name).name == name


def test_a_forgotten_voice_leaves_no_bundle_and_no_other_voice_is_touched(
    store: Store, bundles: list[Bundle], released: Release, tmp_path: Path
) -> None:
    for source in bundles:
        released(source)
    card = replace(bundles[0].card, voice="jackdaw")
    other = bundle.write(tmp_path / "other", card, bundles[0].path, "")
    released(other)
    seen = store.see("jack")
    store.move(seen, "unpublish", seen.pointer.unpublished())
    for _ in range(2):
        store.forget("jack", store.bundles("jack"))
    assert store.read(other.name).name == other.name
    for source in bundles:
        with pytest.raises(ArtifactError):
            store.read(source.name)
    assert store.see("jack").moves


def test_what_is_no_bundle_any_more_is_forgotten_too(
    directory: Store, bundles: list[Bundle]
) -> None:
    name = directory.add(bundles[0]).name
    card = bundle.LARGEST[bundle.VOICE_FILE] * b"x"
    directory.objects.add(f"bundles/{name}", {bundle.VOICE_FILE: card + b"x"})
    directory.forget("jack", [name])
    assert directory.bundles("jack") == []


def test_what_is_published_again_while_a_voice_is_forgotten_stays(
    store: Store, bundles: list[Bundle], released: Release
) -> None:
    released(bundles[0])
    released(bundles[1])
    before = store.bundles("jack")
    seen = store.see("jack")
    store.move(seen, "unpublish", seen.pointer.unpublished())
    released(bundles[1])
    released(bundles[2])
    store.forget("jack", before)
    assert store.bundles("jack") == sorted([bundles[1].name, bundles[2].name])


def test_what_a_pointer_names_no_more_is_dropped_from_the_cache(
    s3: str, bundles: list[Bundle]
) -> None:
    store = open_store(s3)
    kept = [store.add(source).path for source in bundles[:2]]
    point(store, "jack", bundles[1].name)
    assert store.cached_voices == {"jack"}
    store.drop_unnamed(store.pointer("jack"))
    assert [path.exists() for path in kept] == [False, True]


def test_a_bundle_that_another_cloud_has_is_added_to_this_one_too(
    s3: str, bundles: list[Bundle]
) -> None:
    one, two = open_store(s3), open_store(s3 + "/other")
    name = one.add(bundles[0]).name
    two.add(bundles[0])
    assert two.objects.names(f"bundles/{name}") == sorted(bundle.FILES)
    one.objects.remove(f"bundles/{name}")
    one.add(bundles[0])
    assert one.card(name) == bundles[0].card


@pytest.mark.parametrize("name", ["jack", "", "../bundles/jack@000000000000", "jack@0"])
def test_what_is_no_bundles_name_is_read_from_no_path(store: Store, name: str) -> None:
    with pytest.raises(ArtifactError, match=r"is no bundle's name"):
        store.read(name)


def test_a_log_of_another_voice_is_refused(store: Store) -> None:
    point(store, "jack", "jack@000000000000")
    log = store.objects.read("voices/jack.jsonl", 10_000)
    assert log is not None
    assert store.objects.swap("voices/jill.jsonl", log.data, None)
    with pytest.raises(ArtifactError, match=r"voices/jill\.jsonl: is about voice 'jack'"):
        store.pointer("jill")


def test_whoever_moved_a_pointer_is_written_down(store: Store) -> None:
    point(store, "jack", "jack@000000000000")
    seen = store.see("jack")
    store.move(seen, "publish", seen.pointer.published("jack@111111111111"), by="\udcff Jane")
    one, two = store.see("jack").moves
    assert "@" in one.by
    assert two.by == "? Jane"
    assert one.at <= two.at


@pytest.mark.parametrize("name", ["../jack", "jack/../../x", "", ".lock", "Jack", "a" * 65])
def test_a_name_that_is_no_voice_name_reaches_no_object(store: Store, name: str) -> None:
    with pytest.raises(DataError, match="voice name"):
        store.see(name)
    with pytest.raises(DataError, match="voice name"):
        store.move(store.see("jack"), "publish", Pointer(name, ("x@000000000000",)))
    assert store.objects.names("voices") == []


def test_a_bundle_that_is_not_there_says_so(store: Store) -> None:
    with pytest.raises(ArtifactError, match="jack@000000000000"):
        store.read("jack@000000000000")
    with pytest.raises(ArtifactError, match=r"jack@000000000000/voice\.json is missing"):
        store.card("jack@000000000000")


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"bundles": ', b"\xff\n"])
def test_a_broken_pointer_is_named(store: Store, content: bytes) -> None:
    assert store.objects.swap("voices/jack.jsonl", content, None)
    with pytest.raises(ArtifactError, match=r"voices/jack\.jsonl:1"):
        store.pointer("jack")


def test_a_bundle_that_was_altered_in_the_store_is_refused_and_mended_by_adding_it(
    store: Store, bundles: list[Bundle]
) -> None:
    stored = store.add(bundles[0])
    name = stored.name
    card = (bundles[0].path / bundle.VOICE_FILE).read_text(encoding="utf-8")
    altered = json.dumps(json.loads(card) | {"proof": "proven"}).encode()
    files = {file: (bundles[0].path / file).read_bytes() for file in bundle.FILES}
    store.objects.add(f"bundles/{name}", files | {bundle.VOICE_FILE: altered})
    if store.objects.root is None:  # a machine that has not read it yet
        (stored.path / bundle.VOICE_FILE).unlink()
    with pytest.raises(ArtifactError, match=r"its content has digest .* publish again"):
        store.read(name)
    assert store.add(bundles[0]).digest == bundles[0].digest


def test_a_bundle_from_a_cloud_is_fetched_once_and_kept(s3: str, bundles: list[Bundle]) -> None:
    store = open_store(s3)
    name = store.add(bundles[2]).name
    kept = store.read(name).path
    assert kept.is_relative_to(models.cache_dir())
    store.objects.remove(f"bundles/{name}")
    assert store.read(name).path == kept
    (kept / bundle.WEIGHTS_FILE).write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"s3://.* has no README.md"):
        store.read(name)


def test_a_reader_sees_an_old_pointer_or_a_new_one_and_nothing_is_lost(directory: Store) -> None:
    names = [f"jack@{number:012x}" for number in range(30)]
    point(directory, "jack", names[0])

    def read(_: int) -> set[str | None]:
        return {directory.pointer("jack").current for _ in range(100)}

    def write(name: str) -> int:
        lost = 0
        while True:
            try:
                point(directory, "jack", name)
            except Busy:
                lost += 1
                continue
            return lost

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read, i) for i in range(2)]
        writers = [pool.submit(write, name) for name in names[1:]]
        for writer in writers:
            writer.result()
        seen = set().union(*(reader.result() for reader in readers))
    assert seen <= set(names)
    moves = directory.see("jack").moves
    assert {move.pointer.current for move in moves} == set(names)
    assert len(moves) == len(names)
    assert directory.objects.names("voices") == ["jack.jsonl"]


def test_what_a_killed_write_left_behind_is_no_voice(
    directory: Store, bundles: list[Bundle]
) -> None:
    point(directory, "jack", directory.add(bundles[0]).name)
    root = directory.objects.root
    assert root is not None
    (root / "voices" / ".jack.17-4.part.jsonl").write_text("{", encoding="utf-8")
    assert directory.voices() == ["jack"]


def test_a_pointer_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"12345")
    objects = DirectoryObjects(tmp_path)
    assert objects.read("big", 5) is not None
    with pytest.raises(ArtifactError, match="is larger than the 4 bytes"):
        objects.read("big", 4)


def test_a_full_disk_leaves_the_old_pointer_and_says_so(
    small_disk: Callable[[int], Path], bundles: list[Bundle]
) -> None:
    pages = sum(-(-path.stat().st_size // 4096) for path in bundles[0].path.iterdir())
    store = open_store(small_disk(4 * pages + 12))
    first = store.add(bundles[0]).name
    point(store, "jack", first)
    with pytest.raises(MachineError, match="No space left on device"):
        store.add(bundles[1])
    assert store.pointer("jack").current == first
    assert store.objects.names("bundles") == [first]
    assert store.read(first).name == first


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_may_not_be_written_says_so(directory: Store, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files").chmod(0o500)
    with pytest.raises(MachineError, match="cannot write"):
        point(directory, "jack", "jack@000000000000")


def test_a_store_where_a_file_lies_says_so(directory: Store, tmp_path: Path) -> None:
    (tmp_path / "files").write_text("", encoding="utf-8")
    with pytest.raises(MachineError, match="cannot write"):
        point(directory, "jack", "jack@000000000000")


@pytest.mark.parametrize(
    "place",
    ["ftp://host/x", "file:///tmp/x", "node:8000", "http:/node", "s3:/bucket/x", "S3://bucket/x"],
)
def test_a_place_that_is_none_is_refused_with_those_that_are(place: str) -> None:
    with pytest.raises(RecipeError, match=r"http://NODE .*, s3://, gs://, az:// or hf://"):
        open_store(place)


@pytest.mark.parametrize("place", ["voices", "./a:b", "/srv/a:b", "~/a:b"])
def test_a_directory_may_have_a_colon_where_it_is_no_scheme(place: str) -> None:
    assert open_store(place).objects.root is not None


def test_a_hub_store_is_a_users_repository() -> None:
    for place in ("hf://jane", "hf://jane/voices/x"):
        with pytest.raises(RecipeError, match="expected hf://USER/REPO"):
            open_store(place)
