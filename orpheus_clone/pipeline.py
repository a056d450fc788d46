"""clone: the verbs in order, as a CI job runs them. Killed anywhere, the same command goes on.

    recordings ──prepare──▶ OUT/data ──train──▶ OUT/run ──eval──▶ OUT/run/eval ──publish──▶ a node

A finished stage is recognised by what it was made from, and not done again.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from orpheus_clone.disk import read_json
from orpheus_clone.engine import EngineName, open_engine, resolve
from orpheus_clone.engine.base import Precision, hardware_name
from orpheus_clone.errors import GateFailed, RecipeError
from orpheus_clone.eval.report import note_network, read_key
from orpheus_clone.layout import PreparedDir, RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare.order import Order
from orpheus_clone.recipe import Recipe

if TYPE_CHECKING:
    from orpheus_clone.speech import Speaker

NODE_ADAPTERS = 4
"""Voices that a node keeps in its engine, see `serve`: what they cost is measured too."""


class Screen(Protocol):
    """Where a person follows what happens."""

    def say(self, line: str) -> None:
        """One line about what happens now."""
        ...

    def wait(self, label: str) -> AbstractContextManager[object]:
        """A sign of life while something takes long that cannot be counted."""
        ...

    def bar(self, label: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """A progress bar; the callable is told how much is done, of how much."""
        ...

    def stages(self) -> AbstractContextManager[Callable[[str, int, int], None]]:
        """Bars; the callable is told a stage, how much of it is done, of how much."""
        ...

    def training(self) -> AbstractContextManager[Callable[[Any], None]]:
        """A live table; the callable is given each `train.loop.Step`."""
        ...


@dataclass(frozen=True)
class Cloned:
    """What `clone` made, and which stages it had to do for that."""

    voice: str
    data: str
    run: str
    report: str
    verdict: str
    bundle: str | None
    stages_run: list[str]


def clone(
    order: Order,
    out: Path,
    *,
    screen: Screen,
    engine: EngineName = "auto",
    publish_to: str | None = None,
    key: str | None = None,
    canary: float | None = None,
    by: str | None = None,
) -> Cloned:
    """Recordings to a voice, published if a place is given; GateFailed where a gate failed."""
    from orpheus_clone.prepare.run import prepare
    from orpheus_clone.publish.place import open_place
    from orpheus_clone.publish.run import publish
    from orpheus_clone.train.run import check_can_learn, is_done, train

    base, recipe = order.base, order.recipe
    _check_is_alone()
    check_can_learn(base)
    if publish_to is not None:
        open_place(publish_to, key, is_new=True).check(order.voice, canary)
    data, run = PreparedDir(out / "data"), RunDir(out / "run")
    done: list[str] = []
    before = _mtime(data.stamp_file)
    with screen.stages() as progress:
        stamp = prepare(order, data, progress)
    _note(screen, done, "prepare", _mtime(data.stamp_file) != before)
    screen.say(
        f"  {stamp.clips} clips, {stamp.seconds / 60:.1f} minutes, {stamp.rejected} rejected"
    )
    is_trained = is_done(data, run, recipe, base)
    with screen.training() as report:
        trained = train(data, run, recipe=recipe, base=base, report=report, say=report)
    _note(screen, done, "train", not is_trained)
    screen.say(f"  epoch {trained.epoch} of {trained.epochs} was chosen: {run.train_report}")
    is_new = asyncio.run(evaluate_run(run, base, recipe, engine, screen))
    _note(screen, done, "eval", is_new)
    verdict = str(read_json(run.report, "run eval")["verdict"])
    published = None
    if publish_to is not None:
        published = publish(run, publish_to, key=key, canary=canary, by=by, base=base)
        _note(screen, done, "publish", published.is_new)
    elif verdict == "failed":
        raise GateFailed(f"a gate failed; see {run.eval / 'report.html'}")
    return Cloned(
        voice=order.voice,
        data=str(data.root),
        run=str(run.root),
        report=str(run.eval / "report.html"),
        verdict=verdict,
        bundle=published.bundle if published else None,
        stages_run=done,
    )


async def evaluate_run(
    run: RunDir,
    base: BaseModel,
    recipe: Recipe,
    engine_name: EngineName,
    screen: Screen,
    *,
    others: Sequence[RunDir] = (),
    network_ms: float | None = None,
) -> bool:
    """Evaluate a run unless just that was done before; returns whether it was done now.

    The voices of `others` share the batch where several voices do.
    """
    from orpheus_clone.eval.run import Order, evaluate
    from orpheus_clone.judges import Judges, call, seated

    engine, hardware = resolve(engine_name), hardware_name()
    jury = seated(Judges(None, None, None, ()))
    if not base.is_random:  # in noise there is nothing to be heard
        with screen.wait("calling the judges"):
            jury = call(recipe.judges)
    order = Order(run, recipe, base, jury, engine, hardware, tuple(others), network_ms)
    if read_key(run) == order.key:
        if network_ms is not None:
            note_network(run, network_ms)
        return False
    opening = partial(_speaker, engine_name, base, recipe, screen)
    with screen.stages() as progress:
        await evaluate(order, opening, progress)
    return True


@asynccontextmanager
async def _speaker(
    engine_name: EngineName,
    base: BaseModel,
    recipe: Recipe,
    screen: Screen,
    precision: Precision | None,
) -> AsyncGenerator["Speaker", None]:
    """A speaker with an engine of its own, which is closed at the end."""
    from orpheus_clone.codec.snac import Codec
    from orpheus_clone.speech import Speaker

    name = f"{resolve(engine_name)} engine" + (f" in {precision}" if precision else "")
    screen.say(f"starting the {name}")
    engine = open_engine(
        engine_name,
        base,
        max_adapters=max(NODE_ADAPTERS, recipe.eval.adapters),
        precision=precision,
        say=screen.say,
    )
    try:
        yield Speaker(engine, Codec(base.codec_path), base)
    finally:
        await engine.close()


def _check_is_alone() -> None:
    """RecipeError under a launcher of several processes: only train shares its work."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RecipeError(
            "clone was launched as several processes; run prepare by itself, then train with the "
            "launcher, then eval and publish"
        )


def _note(screen: Screen, done: list[str], stage: str, is_done_now: bool) -> None:
    if is_done_now:
        done.append(stage)
    screen.say(f"{stage}: {'done' if is_done_now else 'was done before'}")


def _mtime(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
