"""The loss curves, and the learning rate that made them, as a picture."""

import json
from pathlib import Path

from orpheus_clone import disk


def plot_loss(metrics: Path, out: Path) -> None:
    """Training and held-out loss by step, the rate on an axis of its own; PNG."""
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    heldout = [line for line in lines if line["heldout_loss"] is not None]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([line["step"] for line in lines], [line["loss"] for line in lines], label="training")
    axes.plot(
        [line["step"] for line in heldout],
        [line["heldout_loss"] for line in heldout],
        "o-",
        label="held out",
    )
    axes.set_xlabel("step")
    axes.set_ylabel("loss per audio token (nats)")
    axes.grid(alpha=0.3)
    rate = axes.twinx()
    rates = [line["learning_rate"] for line in lines]
    rate.plot([line["step"] for line in lines], rates, color="grey", alpha=0.5, label="rate")
    rate.set_ylabel("learning rate")
    rate.set_ylim(bottom=0)
    figure.legend(loc="outside upper right", ncols=3)
    with disk.atomic_file(out) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
