"""publish to a store, killed at every step: the old voice holds until the new one does."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from orpheus_clone import recipe
from orpheus_clone.layout import RunDir
from orpheus_clone.publish.run import publish
from orpheus_clone.store import open_store
from tests.bundles import reported


@dataclass(frozen=True)
class Scene:
    """A store that speaks an old voice, and a run that makes the new one, in one folder."""

    folder: Path
    old: str

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def run(self) -> RunDir:
        return RunDir(self.folder / "run")

    def restore(self, from_: Path) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(from_, self.folder)


@pytest.fixture
def scene(run_dir: RunDir, tmp_path: Path) -> Scene:
    cool, warm = (recipe.load(None, [f"sampling.temperature={t}"]) for t in (0.5, 0.7))
    folder = tmp_path / "scene"
    first = reported(run_dir, folder / "first", "proven", "passed", cool)
    reported(run_dir, folder / "run", "proven", "passed", warm)
    return Scene(folder, publish(first, str(folder / "store")).bundle)


@contextmanager
def killing(scene: Scene) -> Iterator["subprocess.Popen[str]"]:
    """What runs the command for each line that it is told, and kills it one step later."""
    command = ["publish", str(scene.run.root), "--to", str(scene.store)]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.publish.killed", str(scene.folder), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


def go(process: "subprocess.Popen[str]") -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    print("go", file=process.stdin, flush=True)
    return int(process.stdout.readline())


def test_killed_at_each_step_the_old_voice_holds_and_publishing_again_succeeds(
    scene: Scene, tmp_path: Path
) -> None:
    before = Path(shutil.copytree(scene.folder, tmp_path / "before"))
    store = open_store(scene.store)
    held: list[str | None] = []
    with killing(scene) as process:
        while go(process) != 0:
            current = store.pointer("jack").current
            assert current is not None
            assert store.read(current).name == current, "half a voice"
            assert store.see("jack").moves
            held.append(current)
            again = publish(scene.run, str(scene.store))
            assert store.pointer("jack").bundles == (scene.old, again.bundle)
            assert again.is_new is (current == scene.old)
            names = {path.name for path in (scene.store / "bundles").iterdir()}
            assert names == {scene.old, again.bundle}, "something is left behind"
            scene.restore(before)
    new = store.pointer("jack").current
    assert set(held) <= {scene.old, new}
    assert held == sorted(held, key=lambda name: name == new), "once new, never old again"
    # To copy, to name and to point take more than this, so the steps were met.
    assert held.count(scene.old) > 12
