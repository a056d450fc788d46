"""train, from top to bottom: read rows, load the base, take the steps, save the adapter.

Killed anywhere, it goes on from the last checkpoint; finished, it does nothing.
"""

from orpheus_clone import bundle, disk, gpu, layout
from orpheus_clone import recipe as recipes
from orpheus_clone.engine.base import hardware_name
from orpheus_clone.errors import ArtifactError, RecipeError
from orpheus_clone.layout import PreparedDir, RunDir, RunStamp
from orpheus_clone.listening import reference
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Recipe
from orpheus_clone.train import checkpoint, preflight
from orpheus_clone.train.dataset import read_rows
from orpheus_clone.train.epochs import Epochs, Say, chosen_by, forget_others
from orpheus_clone.train.loop import Loop, Report, never
from orpheus_clone.train.model import pick_precision, with_lora
from orpheus_clone.train.plot import plot_loss


def is_done(data: PreparedDir, out: RunDir, recipe: Recipe, base: BaseModel) -> bool:
    """Whether `out` holds the finished run of just these settings, data and base, whole."""
    try:
        stamp = out.stamp()
        reference.read(out)
    except ArtifactError:  # none, or damaged, or another version's: train again
        return False
    if not _has_adapter(out, stamp.adapter_digest) or not out.epochs_table.is_file():
        return False
    made_of = (stamp.recipe_digest, stamp.data_digest, stamp.base_digest)
    return made_of == (_recipe_digest(recipe, base), data.stamp().data_digest, base.digest)


def _has_adapter(out: RunDir, digest: str) -> bool:
    weights, config = (out.adapter / name for name in (bundle.WEIGHTS_FILE, bundle.CONFIG_FILE))
    return config.is_file() and weights.is_file() and disk.sha256_file(weights) == digest


def train(
    data: PreparedDir,
    out: RunDir,
    *,
    recipe: Recipe,
    base: BaseModel,
    report: Report = lambda _step: None,
    say: Say = lambda _line: None,
) -> RunStamp:
    """Fit an adapter to a prepared corpus; returns the stamp that says how.

    `report` is told each step, `say` what happens between them.
    """
    check_can_learn(base)
    out.check_is_ours()
    _check_base(data, base)
    if is_done(data, out, recipe, base):
        # What is not part of training, gates for instance, may have changed.
        disk.write_text(out.recipe, recipes.dump(recipe))
        return out.stamp()
    _fit(data, out, recipe, base, report, say)
    gpu.give_back()  # the base too, now that nothing holds it: `clone` starts an engine next
    return out.stamp()


def _fit(
    data: PreparedDir, out: RunDir, recipe: Recipe, base: BaseModel, report: Report, say: Say
) -> None:
    import torch

    prepared = data.stamp()
    rows = read_rows(data, "train", prepared.voice, base)
    heldout = read_rows(data, "heldout", prepared.voice, base)
    torch.manual_seed(recipe.train.seed)
    precision = pick_precision(recipe.train.precision)
    preflight.check(base, recipe.train, precision, [*rows, *heldout])
    loop = Loop(with_lora(base, recipe.train, precision), rows, heldout, recipe.train, precision)
    identity = disk.sha256_json(
        [_train_digest(recipe), prepared.data_digest, base.digest, precision]
    )
    with disk.disk_errors(out.root):
        if loop.is_main:
            out.stamp_file.unlink(missing_ok=True)
            disk.write_text(out.recipe, recipes.dump(recipe))
            checkpoint.forget_others(out.checkpoints, identity)
            forget_others(out.epochs, identity)
            reference.write(data, out)
        loop.wait()
        # Judges are for the process that listens, not one each: they would share its GPU.
        epochs = (
            Epochs(out, loop.model, base, prepared.voice, recipe, say) if loop.is_main else None
        )
        steps = loop.run(out, identity, report, epochs.end if epochs else never)
        if epochs:
            plot_loss(out.metrics, out.loss_plot)
            chosen = epochs.release(steps, loop.per_epoch)
            stamp = RunStamp(
                voice=prepared.voice,
                language=prepared.language,
                base=base.name,
                base_digest=base.digest,
                data_digest=prepared.data_digest,
                recipe_digest=_recipe_digest(recipe, base),
                steps=steps,
                epochs=steps // loop.per_epoch,
                epoch=chosen.epoch.number,
                seed=recipe.train.seed,
                heldout_loss=round(chosen.epoch.heldout_loss, 6),
                adapter_digest=chosen.adapter_digest,
                hardware=hardware_name(),
                consent=prepared.consent,
                versions=layout.versions(),
            )
            layout.write_stamp(out.stamp_file, stamp)
    loop.wait()


def check_can_learn(base: BaseModel) -> None:
    """RecipeError for a base that can only speak: adapters are trained on the stock one."""
    if base.has_audio_head:
        raise RecipeError(
            f"{base.path} is {base.name} with a short head, which is for speaking: train with "
            "--base and the stock model; the voice fits both"
        )


def _recipe_digest(recipe: Recipe, base: BaseModel) -> str:
    """What shapes the epochs, and what chooses between them: for other limits they are kept."""
    return disk.sha256_json([_train_digest(recipe), *chosen_by(base, recipe)])


def _train_digest(recipe: Recipe) -> str:
    """Only what shapes the adapter: a changed gate is no reason to train again, nor is a setting
    that a GPU with too little memory asks for in the middle of a run."""
    only_cost = {"selection", "checkpoint_steps", "row_tokens", "gradient_checkpointing"}
    return disk.sha256_json(recipe.train.model_dump(exclude=only_cost))


def _check_base(data: PreparedDir, base: BaseModel) -> None:
    stamp = data.stamp()
    if stamp.base_digest != base.digest or stamp.codec_digest != base.codec_digest:
        raise ArtifactError(
            f"{data.root} was prepared for {stamp.base} {stamp.base_digest[:12]}, not for "
            f"{base.name} {base.digest[:12]}: prepare again with --base {base.name}"
        )
