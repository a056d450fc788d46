"""publish to a store's directory: what a verdict allows, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest

from orpheus_clone import bundle, disk, layout, recipe
from orpheus_clone.errors import ArtifactError, GateFailed, RecipeError
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.publish.place import Signed, StorePlace, open_place
from orpheus_clone.publish.run import make_bundle, publish
from orpheus_clone.store import Store, open_store
from orpheus_clone.store.directory import DirectoryObjects
from tests.bundles import made, reported
from tests.commands import run as command

RECIPES = Path(__file__).parents[2] / "recipes"
SMOKE = recipe.load(RECIPES / "smoke.yaml")
CLONE_30MIN = recipe.load(RECIPES / "clone-30min.yaml")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(place: Path) -> Store:
    return open_store(place)


def rollback(voice: str, to: object) -> str | None:
    return open_place(str(to)).rollback(voice, Signed())


@pytest.fixture
def proven(run_dir: RunDir, tmp_path: Path) -> RunDir:
    return reported(run_dir, tmp_path / "proven", "proven", "passed")


@pytest.fixture
def failed(run_dir: RunDir, tmp_path: Path) -> RunDir:
    return reported(run_dir, tmp_path / "failed", "failed", "failed", why="it never ends")


def test_a_proven_voice_is_published_with_what_was_proved(
    proven: RunDir, place: Path, store: Store
) -> None:
    published = publish(proven, str(place))
    assert (published.voice, published.proof, published.is_new) == ("jack", "proven", True)
    assert store.pointer("jack").current == published.bundle
    card = store.read(published.bundle).card
    assert card.gates == disk.read_json(proven.report, "")["gates"]
    assert card.measured_on == {
        "hardware": "CPU (none)",
        "engine": "hf",
        "precision": "fp32",
        "concurrency": 2,
    }
    assert card.base_digest == proven.stamp().base_digest
    assert (card.override_reason, card.consent) == (None, None)


def test_publishing_twice_changes_nothing(proven: RunDir, place: Path, store: Store) -> None:
    first = publish(proven, str(place))
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}
    again = publish(proven, str(place))
    assert again == replace(first, is_new=False)
    del before[place / ".lock"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert store.pointer("jack").bundles == (first.bundle,)


def test_a_failed_voice_is_refused_with_the_gate_and_its_reason(
    failed: RunDir, place: Path
) -> None:
    with pytest.raises(GateFailed, match=r"stop rate failed \(it never ends\)"):
        publish(failed, str(place))
    assert not place.exists()


def test_the_command_that_is_refused_ends_with_1_and_says_how_to_override(
    failed: RunDir, place: Path
) -> None:
    done = command("publish", str(failed.root), "--to", str(place), "--json")
    assert (done.code, done.out) == (1, "")
    assert "not published: stop rate failed" in done.said
    assert '--override "reason"' in done.said


def test_an_override_is_recorded_in_the_bundle(failed: RunDir, place: Path) -> None:
    published = publish(failed, str(place), override_reason="for the demo on Friday")
    assert published.proof == "overridden"
    data = disk.read_json(place / "bundles" / published.bundle / bundle.VOICE_FILE, "")
    assert (data["proof"], data["override_reason"]) == ("overridden", "for the demo on Friday")
    assert data["gates"][0]["status"] == "failed"


def test_an_override_of_a_proven_voice_leaves_no_trace(proven: RunDir, place: Path) -> None:
    plain = publish(proven, str(place))
    assert publish(proven, str(place), override_reason="why not").bundle == plain.bundle


def test_an_empty_override_is_none(failed: RunDir, place: Path) -> None:
    with pytest.raises(GateFailed):
        publish(failed, str(place), override_reason="")


def test_smoke_may_publish_the_very_run_that_clone_30min_refuses(
    run_dir: RunDir, place: Path, tmp_path: Path
) -> None:
    run = reported(run_dir, tmp_path / "run", "unproven", "not measurable", SMOKE, "random")
    published = publish(run, str(place))
    assert published.proof == "unproven"
    strict = SMOKE.model_copy(update={"publish": CLONE_30MIN.publish})
    disk.write_text(run.recipe, recipe.dump(strict))
    with pytest.raises(GateFailed, match=r"stop rate not measurable \(random\)"):
        publish(run, str(place))
    # An override is for a gate that failed; nobody can override what nobody measured.
    with pytest.raises(GateFailed):
        publish(run, str(place), override_reason="trust me")


def test_only_smoke_of_the_shipped_recipes_may_publish_without_proof() -> None:
    allowing = {
        path.stem for path in RECIPES.glob("*.yaml") if recipe.load(path).publish.allow_unproven
    }
    assert allowing == {"smoke"}


def test_the_report_of_another_adapter_is_refused(proven: RunDir, place: Path) -> None:
    stamp = replace(proven.stamp(), adapter_digest="0" * 64)
    layout.write_stamp(proven.stamp_file, stamp)
    with pytest.raises(ArtifactError, match="another adapter; run: orpheus-clone eval"):
        publish(proven, str(place))


@pytest.mark.parametrize("override", ["sampling.temperature=1.9", "eval.gates.stop_rate_min=0.1"])
def test_a_report_about_other_settings_is_refused(
    proven: RunDir, place: Path, override: str
) -> None:
    disk.write_text(proven.recipe, recipe.dump(recipe.load(proven.recipe, [override])))
    with pytest.raises(ArtifactError, match=r"other settings .* run: orpheus-clone eval"):
        publish(proven, str(place))


def test_without_a_report_the_command_that_makes_one_is_named(run_dir: RunDir, place: Path) -> None:
    with pytest.raises(ArtifactError, match=f"run: orpheus-clone eval {run_dir.root}"):
        publish(run_dir, str(place))


def test_without_a_run_the_command_that_makes_one_is_named(tmp_path: Path, place: Path) -> None:
    with pytest.raises(ArtifactError, match="run: orpheus-clone train"):
        publish(RunDir(tmp_path / "nothing"), str(tmp_path / "store"))


@pytest.mark.parametrize("place", ["ftp://host/store", "127.0.0.1:8000"])
def test_a_place_that_is_neither_a_node_nor_a_directory_is_refused(
    proven: RunDir, place: str
) -> None:
    with pytest.raises(
        RecipeError, match=r"write http://NODE or https://NODE, s3://, gs://, az:// or hf://"
    ):
        publish(proven, place)
    assert command("publish", str(proven.root), "--to", place).code == 2


def test_the_adapter_that_was_altered_after_training_is_refused(
    proven: RunDir, place: Path
) -> None:
    weights = proven.adapter / bundle.WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ArtifactError, match="digest"):
        publish(proven, str(place))
    assert not place.exists()


def test_rollback_goes_back_to_the_earlier_bundle(
    run_dir: RunDir, tmp_path: Path, place: Path, store: Store
) -> None:
    settings = [recipe.load(None, [f"sampling.temperature={t}"]) for t in (0.5, 0.7)]
    runs = [
        reported(run_dir, tmp_path / f"run{i}", "proven", "passed", chosen)
        for i, chosen in enumerate(settings)
    ]
    old, new = [publish(run, str(place)).bundle for run in runs]
    assert old != new
    assert store.pointer("jack").current == new
    assert rollback("jack", place) == old
    assert store.pointer("jack").current == old
    # Published once more, it is current again.
    assert publish(runs[1], str(place)).is_new
    assert store.pointer("jack").bundles == (old, new)


def test_rollback_with_nothing_earlier_is_refused(
    proven: RunDir, place: Path, store: Store
) -> None:
    publish(proven, str(place))
    with pytest.raises(ArtifactError, match="no earlier bundle"):
        rollback("jack", str(place))
    done = command("rollback", "jack", "--to", str(place))
    assert (done.code, "no earlier bundle" in done.said) == (4, True)
    assert store.pointer("jack").current is not None


def test_a_bundle_that_was_altered_in_the_store_is_mended_by_publishing_again(
    proven: RunDir, place: Path, store: Store
) -> None:
    published = publish(proven, str(place))
    weights = place / "bundles" / published.bundle / bundle.WEIGHTS_FILE
    weights.write_bytes(b"nonsense")
    with pytest.raises(ArtifactError, match="publish again"):
        store.read(published.bundle)
    publish(proven, str(place))
    assert store.read(published.bundle).name == published.bundle


def test_a_run_of_another_model_than_the_base_at_hand_is_refused(
    proven: RunDir, place: Path, base: BaseModel
) -> None:
    with pytest.raises(ArtifactError, match=r"was trained on nano .* this is nano 000000000000"):
        publish(proven, str(place), base=replace(base, digest="0" * 64))
    assert not place.exists()
    assert publish(proven, str(place), base=base).is_new


def test_a_canary_is_for_a_share_until_it_is_promoted(
    run_dir: RunDir, tmp_path: Path, place: Path, store: Store
) -> None:
    settings = [recipe.load(None, [f"sampling.temperature={t}"]) for t in (0.5, 0.7)]
    runs = [
        reported(run_dir, tmp_path / f"run{i}", "proven", "passed", chosen)
        for i, chosen in enumerate(settings)
    ]
    old = publish(runs[0], str(place)).bundle
    tried = publish(runs[1], str(place), canary=0.1)
    assert (tried.is_new, tried.canary) == (True, 0.1)
    assert not publish(runs[1], str(place), canary=0.1).is_new
    assert store.pointer("jack").current == old
    assert open_place(str(place)).promote("jack", Signed()) == tried.bundle
    assert store.pointer("jack").bundles == (old, tried.bundle)


def test_the_commands_release_a_voice_and_take_it_back_and_leave_a_log(
    run_dir: RunDir, tmp_path: Path, place: Path
) -> None:
    """As a person types them, on a store."""
    settings = [recipe.load(None, [f"sampling.temperature={t}"]) for t in (0.5, 0.7)]
    runs = [
        reported(run_dir, tmp_path / f"run{i}", "proven", "passed", chosen)
        for i, chosen in enumerate(settings)
    ]
    at = ["--to", str(place), "--json"]
    old = command("publish", str(runs[0].root), *at, "--by", "jane").json["bundle"]
    new = command("publish", str(runs[1].root), *at, "--canary", "12.5%").json
    assert (new["canary"], new["is_new"]) == (0.125, True)
    (entry,) = command("voices", *at).json["voices"]
    assert (entry["bundle"], entry["canary"]) == (old, {"bundle": new["bundle"], "share": 0.125})
    assert (entry["proof"], entry["consent"]) == ("proven", "no consent recorded")
    assert command("promote", "jack", *at).json["bundle"] == new["bundle"]
    back = command("rollback", "jack", *at, "--why", "it hisses", "--by", "ci")
    assert back.json == {"voice": "jack", "bundle": old}
    assert command("unpublish", "jack", *at).json["forgotten"] is False
    assert command("voices", *at).json == {"voices": []}
    moves = command("voices", *at, "--history", "jack").json["moves"]
    assert [move["did"] for move in moves] == [
        "publish",
        "canary",
        "promote",
        "rollback",
        "unpublish",
    ]
    assert [move["to"] for move in moves] == [old, old, new["bundle"], old, None]
    assert (moves[0]["by"], moves[3]["by"], moves[3]["why"]) == ("jane", "ci", "it hisses")
    assert "@" in moves[1]["by"]
    shown = command("voices", "--to", str(place), "--history", "jack")
    assert (shown.code, "hisses" in shown.out, "rollback" in shown.out) == (0, True, True)


def test_an_unpublished_voice_that_is_forgotten_leaves_no_bundle(
    proven: RunDir, place: Path
) -> None:
    publish(proven, str(place))
    done = command("unpublish", "jack", "--to", str(place), "--forget", "--json")
    assert done.json == {"voice": "jack", "bundle": None, "forgotten": True}
    assert list((place / "bundles").iterdir()) == []
    again = command("unpublish", "jack", "--to", str(place))
    assert (again.code, "no voice 'jack'" in again.said) == (3, True)
    repeated = command("unpublish", "jack", "--to", str(place), "--forget")
    assert repeated.code == 0
    unknown = command("unpublish", "nobody", "--to", str(place), "--forget")
    assert (unknown.code, "no voice 'nobody'" in unknown.said) == (3, True)


def test_a_voice_can_be_forgotten_after_it_was_unpublished(proven: RunDir, place: Path) -> None:
    publish(proven, str(place))
    assert command("unpublish", "jack", "--to", str(place)).code == 0
    assert command("unpublish", "jack", "--to", str(place), "--forget").code == 0
    assert list((place / "bundles").iterdir()) == []


class Forgetful(DirectoryObjects):
    """Somebody deletes every bundle just before a pointer is swapped."""

    def swap(self, key: str, data: bytes, seen: str | None) -> bool:
        self.remove("bundles")
        return super().swap(key, data, seen)


def test_a_voice_that_is_forgotten_while_it_is_published_is_there_all_the_same(
    proven: RunDir, place: Path, store: Store
) -> None:
    made = make_bundle(proven)
    assert StorePlace(Store(Forgetful(place))).publish(made, None, Signed())
    assert store.read(str(store.pointer("jack").current)).digest == made.digest


class Overtaken(DirectoryObjects):
    """Somebody publishes the voice anew just before one of its bundles is deleted."""

    def remove(self, folder: str) -> None:
        (made,) = (self.root / "bundles").iterdir()
        place = StorePlace(open_store(self.root))
        assert place.publish(bundle.read(made), None, Signed("jane"))
        super().remove(folder)


def test_a_voice_that_is_published_while_it_is_forgotten_is_there_all_the_same(
    proven: RunDir, place: Path, store: Store
) -> None:
    made = make_bundle(proven)
    publish(proven, str(place))
    StorePlace(Store(Overtaken(place))).unpublish("jack", True, Signed())
    assert store.read(str(store.pointer("jack").current)).digest == made.digest
    assert [move["did"] for move in StorePlace(store).history("jack")][1:] == [
        "unpublish",
        "publish",
    ]


@pytest.mark.parametrize("share", ["10", "0.1", "101%", "-1%", "ten%", "%", ""])
def test_a_share_that_is_none_is_wrong_usage(proven: RunDir, place: Path, share: str) -> None:
    done = command("publish", str(proven.root), "--to", str(place), "--canary", share)
    assert (done.code, "expected a share of sessions, as in 10%" in done.said) == (2, True)
    assert not place.exists()


def test_a_store_that_is_not_there_is_not_made_by_a_question(place: Path) -> None:
    for words in (["voices"], ["rollback", "jack"], ["promote", "jack"], ["unpublish", "jack"]):
        done = command(*words, "--to", str(place))
        assert (done.code, "there is no such store" in done.said) == (4, True)
    assert not place.exists()


def test_the_history_of_nobody_is_no_empty_table(proven: RunDir, place: Path) -> None:
    publish(proven, str(place))
    done = command("voices", "--to", str(place), "--history", "nobody")
    assert (done.code, "holds no voice 'nobody'" in done.said) == (3, True)


def test_a_voice_whose_card_is_lost_is_listed_with_what_is_wrong(
    proven: RunDir, place: Path
) -> None:
    name = publish(proven, str(place)).bundle
    (place / "bundles" / name / bundle.VOICE_FILE).unlink()
    (entry,) = open_place(str(place)).voices()
    assert (entry["bundle"], "voice.json is missing" in entry["error"]) == (name, True)


def test_a_log_that_is_damaged_takes_no_other_voice_away(
    run_dir: RunDir, proven: RunDir, place: Path, tmp_path: Path
) -> None:
    publish(proven, str(place))
    StorePlace(open_store(place)).publish(made(run_dir, tmp_path, "jill"), None, Signed())
    (place / "voices" / "jack.jsonl").write_text('{"at"', encoding="utf-8")
    jack, jill = open_place(str(place)).voices()
    assert (jack["id"], jack["bundle"]) == ("jack", None)
    assert "jack.jsonl:1: is no move of a pointer" in jack["error"]
    assert (jill["id"], "error" in jill) == ("jill", False)
    told = command("voices", "--to", str(place))
    assert (told.code, "jack: " in told.said, "publish the voice again" in told.said) == (
        0,
        True,
        True,
    )
