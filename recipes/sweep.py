"""A grid of learning rates and epochs on one corpus, and one table: which recipe for this speaker?

    python recipes/sweep.py data/jack sweeps/jack --rates 1e-4 2e-4 4e-4 --epochs 3 5

    OUT_DIR/rate-0.0002-epochs-3/     a run each, as `orpheus-clone train` makes it
    OUT_DIR/sweep.json                the table

The rate falls to 0 over all epochs of a run, so five epochs are not three and two more: each pair
is a run of its own. A run that is there is not trained again, so a sweep that was killed goes on,
and a larger grid costs what is new. Runs are sorted by the held-out loss of the epoch that each
released, which `train.selection` chose by how it sounds; listen to the best few before believing
it: the lowest loss is often a broken voice.

Time: a training run each (recipes/clone-30min.yaml), one after the other.
"""

import argparse
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from orpheus_clone import disk, models, recipe
from orpheus_clone.layout import PreparedDir, RunDir
from orpheus_clone.recipe import Recipe
from orpheus_clone.terminal import Terminal
from orpheus_clone.train.run import train


@dataclass(frozen=True)
class Row:
    """A pair of the grid, and what became of it."""

    rate: float
    epochs: int
    epoch: int
    """The one that was released."""
    heldout_loss: float
    """Of that epoch."""
    steps: int
    run: str


def sweep(
    data: PreparedDir, out: Path, settings: Recipe, rates: list[float], epochs: list[int]
) -> list[Row]:
    """Train every pair; the rows, the lowest held-out loss first."""
    screen = Terminal(as_json=False)
    base = models.locate(data.stamp().base, screen.say)
    rows = []
    for rate, count in product(rates, epochs):
        run = RunDir(out / f"rate-{rate:g}-epochs-{count}")
        changed = {"learning_rate": rate, "epochs": count}
        chosen = settings.model_copy(update={"train": settings.train.model_copy(update=changed)})
        screen.say(f"rate {rate:g}, {count} epochs: {run.root}")
        with screen.training() as report:
            stamp = train(data, run, recipe=chosen, base=base, report=report)
        rows.append(Row(rate, count, stamp.epoch, stamp.heldout_loss, stamp.steps, str(run.root)))
    rows.sort(key=lambda row: row.heldout_loss)
    disk.write_json(out / "sweep.json", [asdict(row) for row in rows])
    return rows


def main() -> None:
    """Sweep, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("data", type=Path, help="what prepare made")
    parser.add_argument("out", type=Path)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4, 2e-4, 4e-4])
    parser.add_argument("--epochs", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--recipe", type=Path, help="what the rest is; clone-30min if left out")
    given = parser.parse_args()
    settings = recipe.load(given.recipe)
    rows = sweep(PreparedDir(given.data), given.out, settings, given.rates, given.epochs)
    columns = ["rate", "epochs", "epoch", "heldout_loss", "steps", "run"]
    Terminal(as_json=False).rows("sweep", [asdict(row) for row in rows], columns)


if __name__ == "__main__":
    main()
