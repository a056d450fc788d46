"""publish to a store's directory: what a verdict allows, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest

from orpheus_clone import bundle, layout, recipe
from orpheus_clone.errors import ArtifactError, GateFailed, RecipeError
from orpheus_clone.layout import RunDir
from orpheus_clone.publish.run import publish, rollback
from orpheus_clone.store import Store
from tests.bundles import reported
from tests.commands import run as command

RECIPES = Path(__file__).parents[2] / "recipes"
SMOKE = recipe.load(RECIPES / "smoke.yaml")
CLONE_30MIN = recipe.load(RECIPES / "clone-30min.yaml")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def proven(run_dir: RunDir, tmp_path: Path) -> RunDir:
    return reported(run_dir, tmp_path / "proven", "proven", "passed")


@pytest.fixture
def failed(run_dir: RunDir, tmp_path: Path) -> RunDir:
    return reported(run_dir, tmp_path / "failed", "failed", "failed", why="it never ends")


def test_a_proven_voice_is_published_with_what_was_proved(proven: RunDir, store: Store) -> None:
    published = publish(proven, str(store.root))
    assert (published.voice, published.proof, published.is_new) == ("jack", "proven", True)
    assert store.current("jack") == published.bundle
    card = store.read(published.bundle).card
    assert card.gates == layout.read_json(proven.report, "")["gates"]
    assert card.measured_on == {
        "hardware": "CPU (none)",
        "engine": "hf",
        "precision": "fp32",
        "concurrency": 2,
    }
    assert card.base_digest == proven.stamp().base_digest
    assert (card.override_reason, card.consent) == (None, None)


def test_publishing_twice_changes_nothing(proven: RunDir, store: Store) -> None:
    first = publish(proven, str(store.root))
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()}
    again = publish(proven, str(store.root))
    assert again == replace(first, is_new=False)
    del before[store.root / ".lock"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert store.history("jack") == [first.bundle]


def test_a_failed_voice_is_refused_with_the_gate_and_its_reason(
    failed: RunDir, store: Store
) -> None:
    with pytest.raises(GateFailed, match=r"stop rate failed \(it never ends\)"):
        publish(failed, str(store.root))
    assert not store.root.exists()


def test_the_command_that_is_refused_ends_with_1_and_says_how_to_override(
    failed: RunDir, store: Store
) -> None:
    done = command("publish", str(failed.root), "--to", str(store.root), "--json")
    assert (done.code, done.out) == (1, "")
    assert "not published: stop rate failed" in done.said
    assert '--override "reason"' in done.said


def test_an_override_is_recorded_in_the_bundle(failed: RunDir, store: Store) -> None:
    published = publish(failed, str(store.root), override_reason="for the demo on Friday")
    assert published.proof == "overridden"
    data = layout.read_json(store.root / "bundles" / published.bundle / bundle.VOICE_FILE, "")
    assert (data["proof"], data["override_reason"]) == ("overridden", "for the demo on Friday")
    assert data["gates"][0]["status"] == "failed"


def test_an_override_of_a_proven_voice_leaves_no_trace(proven: RunDir, store: Store) -> None:
    plain = publish(proven, str(store.root))
    assert publish(proven, str(store.root), override_reason="why not").bundle == plain.bundle


def test_an_empty_override_is_none(failed: RunDir, store: Store) -> None:
    with pytest.raises(GateFailed):
        publish(failed, str(store.root), override_reason="")


def test_smoke_may_publish_the_very_run_that_clone_30min_refuses(
    run_dir: RunDir, store: Store, tmp_path: Path
) -> None:
    run = reported(run_dir, tmp_path / "run", "unproven", "not measurable", SMOKE, "random")
    published = publish(run, str(store.root))
    assert published.proof == "unproven"
    strict = SMOKE.model_copy(update={"publish": CLONE_30MIN.publish})
    layout.write_text(run.recipe, recipe.dump(strict))
    with pytest.raises(GateFailed, match=r"stop rate not measurable \(random\)"):
        publish(run, str(store.root))
    # An override is for a gate that failed; nobody can override what nobody measured.
    with pytest.raises(GateFailed):
        publish(run, str(store.root), override_reason="trust me")


def test_only_smoke_of_the_shipped_recipes_may_publish_without_proof() -> None:
    allowing = {
        path.stem for path in RECIPES.glob("*.yaml") if recipe.load(path).publish.allow_unproven
    }
    assert allowing == {"smoke"}


def test_the_report_of_another_adapter_is_refused(proven: RunDir, store: Store) -> None:
    stamp = replace(proven.stamp(), adapter_digest="0" * 64)
    layout.write_stamp(proven.stamp_file, stamp)
    with pytest.raises(ArtifactError, match="another adapter; run: orpheus-clone eval"):
        publish(proven, str(store.root))


@pytest.mark.parametrize("override", ["sampling.temperature=1.9", "eval.gates.stop_rate_min=0.1"])
def test_a_report_about_other_settings_is_refused(
    proven: RunDir, store: Store, override: str
) -> None:
    layout.write_text(proven.recipe, recipe.dump(recipe.load(proven.recipe, [override])))
    with pytest.raises(ArtifactError, match=r"other settings .* run: orpheus-clone eval"):
        publish(proven, str(store.root))


def test_without_a_report_the_command_that_makes_one_is_named(
    run_dir: RunDir, store: Store
) -> None:
    with pytest.raises(ArtifactError, match=f"run: orpheus-clone eval {run_dir.root}"):
        publish(run_dir, str(store.root))


def test_without_a_run_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="run: orpheus-clone train"):
        publish(RunDir(tmp_path / "nothing"), str(tmp_path / "store"))


@pytest.mark.parametrize("place", ["ftp://host/store", "s3://bucket", "redis://127.0.0.1"])
def test_a_place_that_is_neither_a_node_nor_a_directory_is_refused(
    proven: RunDir, place: str
) -> None:
    with pytest.raises(RecipeError, match=r"expected http://NODE, https://NODE or a directory"):
        publish(proven, place)
    assert command("publish", str(proven.root), "--to", place).code == 2


def test_the_adapter_that_was_altered_after_training_is_refused(
    proven: RunDir, store: Store
) -> None:
    weights = proven.adapter / bundle.WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ArtifactError, match="digest"):
        publish(proven, str(store.root))
    assert not store.root.exists()


def test_rollback_goes_back_to_the_earlier_bundle(run_dir: RunDir, tmp_path: Path) -> None:
    place = str(tmp_path / "store")
    settings = [recipe.load(None, [f"sampling.temperature={t}"]) for t in (0.5, 0.7)]
    runs = [
        reported(run_dir, tmp_path / f"run{i}", "proven", "passed", chosen)
        for i, chosen in enumerate(settings)
    ]
    old, new = [publish(run, place).bundle for run in runs]
    assert old != new
    assert Store(Path(place)).current("jack") == new
    assert rollback("jack", place) == old
    assert Store(Path(place)).current("jack") == old
    # Published once more, it is current again.
    assert publish(runs[1], place).is_new
    assert Store(Path(place)).history("jack") == [old, new]


def test_rollback_with_nothing_earlier_is_refused(proven: RunDir, store: Store) -> None:
    publish(proven, str(store.root))
    with pytest.raises(ArtifactError, match="no earlier bundle"):
        rollback("jack", str(store.root))
    done = command("rollback", "jack", "--to", str(store.root))
    assert (done.code, "no earlier bundle" in done.said) == (4, True)
    assert store.current("jack") is not None


def test_a_bundle_that_was_altered_in_the_store_is_mended_by_publishing_again(
    proven: RunDir, store: Store
) -> None:
    published = publish(proven, str(store.root))
    weights = store.root / "bundles" / published.bundle / bundle.WEIGHTS_FILE
    weights.write_bytes(b"nonsense")
    with pytest.raises(ArtifactError, match="publish again"):
        store.read(published.bundle)
    publish(proven, str(store.root))
    assert store.read(published.bundle).name == published.bundle
