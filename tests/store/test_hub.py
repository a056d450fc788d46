"""A store in a hub's repository, through `huggingface_hub` itself, to a small hub of our own.

The real one could not be reached from here.
"""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from huggingface_hub import HfApi

from orpheus_clone.bundle import Bundle
from orpheus_clone.errors import ArtifactError, Busy, StoreError
from orpheus_clone.publish.place import Signed, StorePlace
from orpheus_clone.store import Store, open_store
from orpheus_clone.store.hub import HubObjects
from tests.store.hub_server import Hub, serving


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("ORPHEUS_CLONE_CACHE", str(tmp_path / "cache"))
    with serving() as running:
        yield running


def on(hub: Hub) -> Store:
    api = HfApi(endpoint=hub.url, token="hf_token")
    return Store(HubObjects("hf://jane/voices", "jane/voices", api))


@pytest.fixture
def hub_store(hub: Hub) -> Store:
    """A store in a repository that is there."""
    store = on(hub)
    store.objects.make()
    return store


def point(store: Store, voice: str, name: str) -> None:
    seen = store.see(voice)
    store.move(seen, "publish", seen.pointer.published(name))


def test_a_repository_that_cannot_be_seen_is_not_taken_for_an_empty_one(hub: Hub) -> None:
    store = on(hub)
    for ask in (store.voices, lambda: store.see("jack"), lambda: store.bundles("jack")):
        with pytest.raises(StoreError, match=r"hf://jane/voices: .*publish --to .* makes it"):
            ask()
    assert hub.commits == []


def test_the_first_voice_that_is_published_makes_the_repository(
    hub: Hub, bundles: list[Bundle]
) -> None:
    assert StorePlace(on(hub)).publish(bundles[0], None, Signed())
    assert hub.is_private is True
    assert on(hub).pointer("jack").current == bundles[0].name


def test_a_bundle_is_one_commit_in_a_private_repository(
    hub_store: Store, hub: Hub, bundles: list[Bundle]
) -> None:
    stored = hub_store.add(bundles[0])
    assert stored.digest == bundles[0].digest
    assert hub.is_private is True
    empty, added = hub.commits
    assert (empty, len(added)) == ({}, 4)
    assert hub_store.objects.names("bundles") == [bundles[0].name]


def test_a_pointer_moves_and_the_log_is_read_back(
    hub_store: Store, hub: Hub, bundles: list[Bundle]
) -> None:
    for source in bundles[:2]:
        point(hub_store, "jack", hub_store.add(source).name)
    assert on(hub).pointer("jack").bundles == (bundles[0].name, bundles[1].name)
    assert on(hub).voices() == ["jack"]
    assert on(hub).card(bundles[1].name) == bundles[1].card


def test_of_two_who_move_a_pointer_at_once_one_wins(
    hub_store: Store, hub: Hub, bundles: list[Bundle]
) -> None:
    point(hub_store, "jack", hub_store.add(bundles[0]).name)
    mine, yours = hub_store.see("jack"), on(hub).see("jack")
    hub_store.move(mine, "publish", mine.pointer.published("jack@111111111111"), by="jane")
    with pytest.raises(Busy, match="moved meanwhile by jane"):
        on(hub).move(yours, "publish", yours.pointer.published("jack@222222222222"))
    assert on(hub).pointer("jack").current == "jack@111111111111"


def test_commits_of_other_voices_in_between_do_not_matter(
    hub_store: Store, hub: Hub, bundles: list[Bundle]
) -> None:
    hub_store.add(bundles[0])
    hub.between = [{"voices/jill.jsonl": b""}]
    point(hub_store, "jack", bundles[0].name)
    assert on(hub).pointer("jack").current == bundles[0].name
    assert "voices/jill.jsonl" in hub.commits[-1]


def test_a_forgotten_voice_is_gone_from_the_head(
    hub_store: Store, hub: Hub, bundles: list[Bundle]
) -> None:
    point(hub_store, "jack", hub_store.add(bundles[0]).name)
    seen = hub_store.see("jack")
    hub_store.move(seen, "unpublish", seen.pointer.unpublished())
    for _ in range(2):
        hub_store.forget("jack", hub_store.bundles("jack"))
    assert list(hub.commits[-1]) == ["voices/jack.jsonl"]


def test_a_voice_that_is_forgotten_leaves_nothing_on_this_machine(
    hub: Hub, bundles: list[Bundle], tmp_path: Path
) -> None:
    place = StorePlace(on(hub))
    place.publish(bundles[0], None, Signed())
    assert on(hub).read(bundles[0].name).digest == bundles[0].digest
    place.unpublish("jack", True, Signed())
    folders = (tmp_path / "hub", tmp_path / "cache")
    assert not [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def test_a_file_of_the_hub_that_is_too_large_is_refused(hub_store: Store, hub: Hub) -> None:
    hub.commits.append({"voices/jack.jsonl": b"12345"})
    assert hub_store.objects.read("voices/jack.jsonl", 5) is not None
    with pytest.raises(
        ArtifactError, match=r"hf://jane/voices/voices/jack\.jsonl: is larger than 4"
    ):
        hub_store.objects.read("voices/jack.jsonl", 4)


def test_a_hub_that_does_not_answer_is_named(hub: Hub) -> None:
    gone = HubObjects("hf://jane/voices", "jane/voices", HfApi(endpoint="http://127.0.0.1:1"))
    with pytest.raises(StoreError, match=r"hf://jane/voices: .*is HF_TOKEN set"):
        gone.read("voices/jack.jsonl", 10)


def test_its_place_names_a_repository() -> None:
    objects = open_store("hf://jane/voices").objects
    assert (objects.place, objects.root) == ("hf://jane/voices", None)
