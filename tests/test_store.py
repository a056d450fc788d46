"""The store: pointers that move as a whole, under many hands, and bundles that are verified."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orpheus_clone import bundle
from orpheus_clone.bundle import Bundle
from orpheus_clone.errors import ArtifactError, DataError, MachineError, UnknownVoice
from orpheus_clone.layout import RunDir
from orpheus_clone.recipe import Sampling
from orpheus_clone.store import Store
from tests.bundles import made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def bundles(run_dir: RunDir, tmp_path: Path) -> list[Bundle]:
    """Three bundles of one voice."""
    return [
        made(run_dir, tmp_path / "made", sampling=Sampling(temperature=t)) for t in (0.5, 0.6, 0.7)
    ]


def test_an_empty_store_knows_nothing(store: Store) -> None:
    assert store.voices() == []
    assert store.current("jack") is None
    assert store.history("jack") == []


def test_a_bundle_that_is_added_means_nothing_until_a_pointer_names_it(
    store: Store, bundles: list[Bundle]
) -> None:
    stored = store.add(bundles[0])
    assert stored.digest == bundles[0].digest
    assert stored.path.parent == store.root / "bundles"
    assert store.voices() == []
    store.point("jack", stored.name)
    assert (store.voices(), store.current("jack")) == (["jack"], stored.name)


def test_two_stores_on_one_directory_see_each_other(store: Store, bundles: list[Bundle]) -> None:
    other = Store(store.root)
    for source in bundles:
        store.point("jack", store.add(source).name)
    assert other.current("jack") == bundles[2].name
    assert other.rollback("jack") == bundles[1].name
    assert store.current("jack") == bundles[1].name
    assert other.read(bundles[2].name).digest == bundles[2].digest


def test_an_unknown_voice_cannot_be_rolled_back(store: Store) -> None:
    with pytest.raises(UnknownVoice, match="holds no voice 'jack'"):
        store.rollback("jack")


def test_rollbacks_end_at_the_first_bundle(store: Store, bundles: list[Bundle]) -> None:
    for source in bundles:
        store.point("jack", store.add(source).name)
    assert [store.rollback("jack"), store.rollback("jack")] == [bundles[1].name, bundles[0].name]
    with pytest.raises(ArtifactError, match="'jack' has no earlier bundle"):
        store.rollback("jack")
    assert store.current("jack") == bundles[0].name


def test_pointing_at_an_older_bundle_makes_it_the_last_once(
    store: Store, bundles: list[Bundle]
) -> None:
    for source in (*bundles, bundles[0]):
        store.point("jack", store.add(source).name)
    assert store.history("jack") == [bundles[1].name, bundles[2].name, bundles[0].name]


def test_a_reader_sees_an_old_pointer_or_a_new_one_and_never_half_of_one(store: Store) -> None:
    names = [f"jack@{number:012x}" for number in range(60)]
    store.point("jack", names[0])

    def read(_: int) -> set[str | None]:
        return {Store(store.root).current("jack") for _ in range(100)}

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read, i) for i in range(2)]
        writers = [pool.submit(Store(store.root).point, "jack", name) for name in names[1:]]
        for writer in writers:
            writer.result()
        seen = set().union(*(reader.result() for reader in readers))
    assert seen <= set(names)
    # Nothing that was pointed at is lost, however many did it at a time.
    assert set(store.history("jack")) == set(names)
    assert [path.name for path in (store.root / "voices").iterdir()] == ["jack.json"]


def test_what_a_killed_write_left_behind_is_no_voice(store: Store, bundles: list[Bundle]) -> None:
    store.point("jack", store.add(bundles[0]).name)
    (store.root / "voices" / ".jack.17-4.part.json").write_text("{", encoding="utf-8")
    assert store.voices() == ["jack"]


@pytest.mark.parametrize("name", ["../jack", "jack/../../x", "", ".lock", "Jack", "a" * 65])
def test_a_name_that_is_no_voice_name_reaches_no_path(store: Store, name: str) -> None:
    for ask in (store.current, store.history, store.rollback):
        with pytest.raises(DataError, match="voice name"):
            ask(name)
    with pytest.raises(DataError, match="voice name"):
        store.point(name, "jack@000000000000")
    assert not (store.root / "voices").exists()


def test_a_bundle_that_was_altered_in_the_store_is_refused(
    store: Store, bundles: list[Bundle]
) -> None:
    stored = store.add(bundles[0])
    card = stored.path / bundle.VOICE_FILE
    data = json.loads(card.read_text(encoding="utf-8"))
    card.write_text(json.dumps(data | {"proof": "proven"}), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"its content has digest .* publish again"):
        store.read(stored.name)


def test_a_bundle_that_was_half_copied_is_copied_again(store: Store, bundles: list[Bundle]) -> None:
    stored = store.add(bundles[0])
    (stored.path / bundle.WEIGHTS_FILE).unlink()
    assert store.add(bundles[0]).digest == bundles[0].digest


def test_a_bundle_that_is_not_there_says_so(store: Store) -> None:
    with pytest.raises(ArtifactError, match="jack@000000000000"):
        store.read("jack@000000000000")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"bundles": '])
def test_a_broken_pointer_is_named(store: Store, content: str) -> None:
    store.point("jack", "jack@000000000000")
    path = store.root / "voices" / "jack.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"jack\.json"):
        store.current("jack")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_may_not_be_written_says_so(store: Store) -> None:
    store.root.mkdir()
    store.root.chmod(0o500)
    with pytest.raises(MachineError, match="cannot write"):
        store.point("jack", "jack@000000000000")


def test_a_store_where_a_file_lies_says_so(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("", encoding="utf-8")
    with pytest.raises(MachineError, match="cannot write"):
        Store(tmp_path / "store").point("jack", "jack@000000000000")
