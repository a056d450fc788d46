from pathlib import Path

import pytest

from orpheus_clone import recipe
from orpheus_clone.errors import RecipeError
from orpheus_clone.recipe import Recipe

RECIPES = Path(__file__).parents[1] / "recipes"
SHIPPED = sorted([*RECIPES.glob("*.yaml"), RECIPES / "nano" / "clone.yaml"])


def written(folder: Path, content: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(content, encoding="utf-8")
    return path


def test_a_recipe_is_shipped_for_each_amount_of_audio() -> None:
    names = {path.stem for path in SHIPPED}
    assert {"clone-10min", "clone-30min", "clone-60min", "clone-qlora", "smoke"} <= names


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_loads(path: Path) -> None:
    assert isinstance(recipe.load(path), Recipe)


def test_the_defaults_are_clone_30min() -> None:
    assert recipe.load(RECIPES / "clone-30min.yaml") == Recipe() == recipe.load(None)


def test_a_dumped_recipe_loads_again(tmp_path: Path) -> None:
    chosen = recipe.load(None, ["train.epochs=7", "eval.gates.stop_rate_min=null"])
    assert recipe.load(written(tmp_path, recipe.dump(chosen))) == chosen


def test_an_empty_recipe_is_the_defaults(tmp_path: Path) -> None:
    assert recipe.load(written(tmp_path, "# nothing yet\n")) == Recipe()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train: {epoch: 2}", r"unknown key train\.epoch; did you mean train\.epochs\?"),
        ("trian: {epochs: 2}", r"unknown key trian; did you mean train\?"),
        ("train: {lora: {rnak: 8}}", r"did you mean train\.lora\.rank\?"),
        ("epochs: 2", r"unknown key epochs; did you mean train\.epochs\?"),
        ("zzzzzzzz: 2", r"unknown key zzzzzzzz$"),
    ],
)
def test_an_unknown_key_names_the_nearest(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe.load(written(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("train: {epochs: many}", "train.epochs"),
        ("train: {epochs: 2.5}", "train.epochs"),
        ("train: {epochs: '2'}", "train.epochs"),
        ("train: {epochs: true}", "train.epochs"),
        ("train: {epochs: 0}", "train.epochs"),
        ("train: {epochs:}", "train.epochs"),
        ("train: {learning_rate: -1}", "train.learning_rate"),
        ("train: {learning_rate: .nan}", "train.learning_rate"),
        ("train: {precision: fp16}", "train.precision"),
        ("train: {lora: {rank: 17}}", "train.lora.rank"),
        ("train: {lora: {rank: 2, alpha: 65}}", "train.lora"),
        ("train: 3", "train"),
        ("prepare: {heldout_fraction: 0.5}", "prepare.heldout_fraction"),
        ("sampling: {top_p: 0}", "sampling.top_p"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_given(tmp_path: Path, content: str, key: str) -> None:
    with pytest.raises(RecipeError, match=rf"mine\.yaml: {key}: .*\(got "):
        recipe.load(written(tmp_path, content))


@pytest.mark.parametrize("content", ["train: [", "a: b: c", "\tx: 1", "%"])
def test_what_is_not_yaml_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(RecipeError, match=r"mine\.yaml: is not readable YAML"):
        recipe.load(written(tmp_path, content))


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00train")
    with pytest.raises(RecipeError, match="is not readable YAML"):
        recipe.load(path)


def test_yaml_cannot_make_python_objects(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is not readable YAML"):
        recipe.load(written(tmp_path, "train: !!python/object/apply:os.getcwd []"))


@pytest.mark.parametrize("content", ["- train", "train", "3"])
def test_a_recipe_is_a_mapping(tmp_path: Path, content: str) -> None:
    with pytest.raises(RecipeError, match="a recipe is a mapping of sections"):
        recipe.load(written(tmp_path, content))


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.yaml: no such recipe; see recipes/"):
        recipe.load(tmp_path / "none.yaml")


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "train: {epochs: 2, seed: 5}")
    chosen = recipe.load(path, ["train.epochs=9", "train.lora.rank=8", "sampling.temperature=1"])
    assert (chosen.train.epochs, chosen.train.seed, chosen.train.lora.rank) == (9, 5, 8)
    assert chosen.sampling.temperature == 1.0


@pytest.mark.parametrize("value", ["1e-4", "1.0e-4", "0.0001", "1E-4"])
def test_a_learning_rate_may_be_written_with_an_exponent(tmp_path: Path, value: str) -> None:
    assert recipe.load(None, [f"train.learning_rate={value}"]).train.learning_rate == 1e-4
    path = written(tmp_path, f"train: {{learning_rate: {value}}}")
    assert recipe.load(path).train.learning_rate == 1e-4


def test_a_gate_can_be_switched_off() -> None:
    chosen = recipe.load(None, ["eval.gates.stream_rate_min=null"])
    assert chosen.eval.gates.stream_rate_min is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs", "expected key=value"),
        ("=3", "expected key=value"),
        ("train..epochs=3", "expected key=value"),
        ("train.epochs.deep=3", r"train\.epochs"),
        ("train.epochs=[", "the value is not YAML"),
        ("train.epoch=3", r"did you mean train\.epochs"),
        ("train.epochs=three", r"--set: train\.epochs"),
    ],
)
def test_a_bad_override_is_named(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe.load(None, [override])


def test_an_override_cannot_go_below_a_value(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="epochs is not a section"):
        recipe.load(written(tmp_path, "train: {epochs: 2}"), ["train.epochs.deep=3"])


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().train.epochs = 5  # type: ignore[misc]  # the point of the test


def test_a_repeated_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="epochs"):
        recipe.load(written(tmp_path, "train:\n  epochs: 2\n  epochs: 9\n"))
