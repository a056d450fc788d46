"""Releasing on a real node: who speaks before, meanwhile and after, and who did it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from fastapi import Request

from orpheus_clone import disk, recipe
from orpheus_clone.bundle import Bundle
from orpheus_clone.client import NodeClient
from orpheus_clone.errors import ArtifactError, Busy, RecipeError, UnknownVoice
from orpheus_clone.layout import RunDir
from orpheus_clone.publish.place import Signed, open_place
from orpheus_clone.publish.run import publish
from orpheus_clone.serve.gate import KEY
from orpheus_clone.serve.releases import _signed
from orpheus_clone.store import open_store
from tests.bundles import SHORT, frames_of, made, reported
from tests.commands import run as command
from tests.nodes import RunningNode
from tests.serve.keyed import known
from tests.serve.test_voices import listed

Maker = Callable[[str], Bundle]


def of_length(run: RunDir, folder: Path, voice: str, seconds: float) -> Bundle:
    """A bundle that is told from others by how long it speaks."""
    chosen = SHORT.model_copy(update={"max_seconds": seconds})
    return made(run, folder, voice, sampling=chosen)


def frames(node: RunningNode, voice: str, session: str | None = None) -> int:
    body = {"model": "nano", "input": "Hello.", "voice": voice, "response_format": "wav"}
    headers = {"x-orpheus-clone-session": session} if session else {}
    answer = httpx.post(f"{node.url}/v1/audio/speech", json=body, headers=headers, timeout=120)
    assert answer.status_code == 200, answer.text
    return frames_of(answer.content[44:])


def test_a_node_is_asked_before_there_is_anything_to_release(
    node: RunningNode, voice_bundle: Maker
) -> None:
    place = open_place(node.url, is_new=True)
    for share in (None, 0.0):
        place.check("asked", share)
    with pytest.raises(RecipeError, match="has no bundle that the other sessions could speak"):
        place.check("asked", 0.1)
    node.client.publish(voice_bundle("asked"))
    place.check("asked", 0.1)


def test_published_rolled_back_and_published_again_as_a_user_does(
    node: RunningNode, run_dir: RunDir, tmp_path: Path
) -> None:
    runs = []
    for i, seconds in enumerate((0.5, 0.6)):
        chosen = SHORT.model_copy(update={"max_seconds": seconds})
        allowed = recipe.Recipe(sampling=chosen, publish=recipe.Publish(allow_unproven=True))
        run = reported(run_dir, tmp_path / f"run{i}", "unproven", "not measurable", allowed)
        stamp = disk.read_json(run.stamp_file, "")
        disk.write_json(run.stamp_file, stamp | {"voice": "rolled"})
        runs.append(run)
    old, new = [publish(run, node.url) for run in runs]
    assert (old.is_new, new.is_new, new.proof) == (True, True, "unproven")
    assert not publish(runs[1], node.url).is_new
    lengths = [frames(node, "rolled")]
    assert open_place(node.url).rollback("rolled", Signed()) == old.bundle
    entry = listed(node, "rolled")
    assert entry is not None
    assert entry["bundle"] == old.bundle
    lengths.append(frames(node, "rolled"))
    assert lengths == [7, 5]
    with pytest.raises(ArtifactError, match=r"409.*no earlier bundle"):
        open_place(node.url).rollback("rolled", Signed())
    assert publish(runs[1], node.url).is_new


def test_rolling_back_an_unknown_voice_is_refused(node: RunningNode) -> None:
    with pytest.raises(UnknownVoice, match=r"404.*no voice 'nobody'"):
        node.client.move("rollback", "nobody")


def test_a_session_that_is_being_spoken_keeps_its_voice_and_the_next_has_the_new_one(
    node: RunningNode, run_dir: RunDir, tmp_path: Path
) -> None:
    old, new = (of_length(run_dir, tmp_path, "live", seconds) for seconds in (3.0, 0.5))
    node.client.publish(old)
    body = {"model": "nano", "voice": "live", "input": "Hello.", "response_format": "pcm"}
    with httpx.stream("POST", f"{node.url}/v1/audio/speech", json=body, timeout=120) as answer:
        blocks = answer.iter_raw()
        sound = next(blocks)
        assert answer.headers["x-orpheus-clone-bundle"] == old.name
        node.client.publish(new)
        assert frames(node, "live") == 5
        sound += b"".join(blocks)
    assert frames_of(sound) == 35
    assert node.client.move("rollback", "live") == old.name


def test_an_unpublished_voice_speaks_its_session_to_the_end_and_no_other(
    node: RunningNode, run_dir: RunDir, tmp_path: Path
) -> None:
    node.client.publish(of_length(run_dir, tmp_path, "leaving", 2.0))
    body = {"model": "nano", "voice": "leaving", "input": "Hello.", "response_format": "pcm"}
    with httpx.stream("POST", f"{node.url}/v1/audio/speech", json=body, timeout=120) as answer:
        blocks = answer.iter_raw()
        sound = next(blocks)
        done = command("unpublish", "leaving", "--to", node.url, "--forget", "--json")
        assert done.json == {"voice": "leaving", "bundle": None, "forgotten": True}
        assert node.speak("Hello.", "leaving").status_code == 404
        sound += b"".join(blocks)
    assert frames_of(sound) == 23
    assert listed(node, "leaving") is None
    assert [move["did"] for move in node.client.history("leaving")] == ["publish", "unpublish"]


def test_a_canary_speaks_in_its_share_of_the_sessions_and_is_counted(
    node: RunningNode, run_dir: RunDir, tmp_path: Path
) -> None:
    old, new = (of_length(run_dir, tmp_path, "tried", seconds) for seconds in (0.5, 0.6))
    node.client.publish(old)
    node.client.publish(new, share=0.5)
    entry = listed(node, "tried")
    assert entry is not None
    assert (entry["bundle"], entry["canary"]) == (old.name, {"bundle": new.name, "share": 0.5})
    pointer = open_store(node.store).pointer("tried")
    sessions = [str(i) for i in range(8)]
    expected = [pointer.for_session(session)[1] for session in sessions]
    assert set(expected) == {"current", "canary"}
    heard = [frames(node, "tried", session) for session in sessions]
    assert heard == [{"current": 5, "canary": 7}[arm] for arm in expected]
    assert [frames(node, "tried", session) for session in sessions[:2]] == heard[:2]
    labels = f'{{arm="canary",bundle="{new.name}"'
    spoken = expected.count("canary") + expected[:2].count("canary")
    counted = node.figure(f"orpheus_clone_voice_sessions_total{labels}}}")
    ended = node.figure(f'orpheus_clone_voice_utterances_total{labels},ending="length"}}')
    assert (counted, ended) == (spoken, spoken)
    assert node.client.move("promote", "tried") == new.name
    assert {frames(node, "tried", session) for session in sessions[:3]} == {7}


def test_a_canary_that_cannot_be_is_wrong_usage_here_too(
    node: RunningNode, voice_bundle: Maker
) -> None:
    with pytest.raises(RecipeError, match=r"400: voice 'alone' has no bundle that the other"):
        node.client.publish(voice_bundle("alone"), share=0.1)
    answer = node.post(f"/v1/voices/{voice_bundle('alone').name}?share=1.5")
    assert (answer.status_code, "share" in answer.text) == (400, True)
    with pytest.raises(ArtifactError, match=r"no canary to promote"):
        node.client.publish(voice_bundle("alone"))
        node.client.move("promote", "alone")


def test_a_log_says_who_did_what_and_why(node: RunningNode, voice_bundle: Maker) -> None:
    client = NodeClient(node.url, "secret")
    client.publish(voice_bundle("logged"), by="jane@laptop", why="for the demo")
    (move,) = client.history("logged")
    assert move["by"] == "jane@laptop"
    assert (move["from"], move["to"]) == (None, voice_bundle("logged").name)
    assert (move["did"], move["why"]) == ("publish", "for the demo")
    assert "secret" not in str(move)
    shown = command("voices", "--server", node.url, "--history", "logged", "--json")
    assert shown.json["moves"] == [move]
    with pytest.raises(UnknownVoice, match="nothing was ever published"):
        client.history("nobody")


def test_a_log_names_the_key_that_was_shown_and_where_nobody_says_who_the_machine() -> None:
    scope = {"type": "http", "headers": [], "client": ("10.0.0.7", 4711)}
    keyed = Request({**scope, KEY: known("secret", "ci")})
    assert _signed(keyed, "jane@laptop") == "jane@laptop (key ci)"
    assert _signed(keyed, None) == "10.0.0.7 (key ci)"
    assert _signed(Request({**scope, KEY: None}), None) == "10.0.0.7"


def test_a_promoted_canary_that_is_published_again_changes_nothing(
    node: RunningNode, run_dir: RunDir, tmp_path: Path
) -> None:
    old, new = (of_length(run_dir, tmp_path, "twice", seconds) for seconds in (0.5, 0.6))
    place = open_place(node.url)
    place.publish(old, None, Signed())
    assert place.publish(new, 0.1, Signed())
    place.promote("twice", Signed())
    assert not place.publish(new, 0.1, Signed())
    assert len(node.client.history("twice")) == 3


def test_of_two_who_publish_at_once_one_wins_and_the_other_is_told_who_it_was(
    node: RunningNode, run_dir: RunDir, tmp_path: Path
) -> None:
    """The other has read the pointer before, as a second node of the fleet would have."""
    old, new = (of_length(run_dir, tmp_path, "contested", seconds) for seconds in (0.5, 0.6))
    store = open_store(node.store)
    seen = store.see("contested")
    node.client.publish(old, by="jane")
    with pytest.raises(Busy, match=r"moved meanwhile by jane at .* \(publish\)"):
        store.move(seen, "publish", seen.pointer.published(store.add(new).name), by="ci")
    assert frames(node, "contested") == 5


def test_of_four_who_publish_at_once_each_has_won_or_was_told(
    node: RunningNode, run_dir: RunDir, tmp_path: Path
) -> None:
    sources = [made(run_dir, tmp_path, "rushed", override_reason=str(i)) for i in range(4)]

    def release(source: Bundle) -> str | None:
        try:
            return str(node.client.publish(source)["bundle"])
        except Busy:
            return None

    with ThreadPoolExecutor(4) as pool:
        won = [name for name in pool.map(release, sources) if name is not None]
    moves = node.client.history("rushed")
    assert won
    assert sorted(str(move["to"]) for move in moves) == sorted(won)
    assert frames(node, "rushed") == 5


@pytest.mark.parametrize(
    "path",
    ["jack/explode", "jack/promote/x", "JACK/promote", "..%2f/promote"],
)
def test_what_is_no_move_is_refused(node: RunningNode, path: str) -> None:
    assert node.post(f"/v1/voices/{path}").status_code in (400, 404, 405)
