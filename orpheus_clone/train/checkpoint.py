"""Where an interrupted run goes on from: exact to the step.

A checkpoint holds the adapter in float32, the optimiser and the schedule, and the identity of the
run: settings, data and base. One of another identity is never gone on from.
The last two are kept, since the newest may have been being written when the power went.
"""

import io
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orpheus_clone import disk
from orpheus_clone.errors import ArtifactError

KEPT = 2
_STATE = "state.pt"
_IDENTITY = "identity.txt"


@dataclass(frozen=True)
class Training:
    """What changes from step to step."""

    model: Any
    optimizer: Any
    schedule: Any


def save(folder: Path, step: int, identity: str, training: Training) -> None:
    """Write a checkpoint whole, then forget the oldest."""
    import torch
    from peft import get_peft_model_state_dict

    state = {
        "adapter": get_peft_model_state_dict(training.model),
        "optimizer": training.optimizer.state_dict(),
        "schedule": training.schedule.state_dict(),
    }
    with disk.atomic_dir(_path(folder, step)) as temporary:
        serialized = io.BytesIO()  # torch does not say that a disk is full; Python does
        torch.save(state, serialized)
        (temporary / _STATE).write_bytes(serialized.getbuffer())
        (temporary / _IDENTITY).write_text(identity, encoding="utf-8")
    for old in _all(folder)[:-KEPT]:
        shutil.rmtree(old)


def resume(folder: Path, identity: str, training: Training, steps: int) -> int:
    """Load the newest checkpoint of this identity that is not beyond `steps`; returns its step.

    0 if there is none.
    """
    import torch
    from peft import set_peft_model_state_dict

    mine = [p for p in _all(folder) if _step(p) <= steps and _identity(p) == identity]
    if not mine:
        return 0
    newest = mine[-1]
    try:
        state = torch.load(newest / _STATE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise ArtifactError(
            f"{newest}: is damaged ({type(error).__name__}); delete it to go on from the one before"
        ) from error
    set_peft_model_state_dict(training.model, state["adapter"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.schedule.load_state_dict(state["schedule"])
    return _step(newest)


def forget_others(folder: Path, identity: str) -> None:
    """Delete checkpoints of runs with other settings, data or base."""
    for path in _all(folder):
        if _identity(path) != identity:
            shutil.rmtree(path)


def _path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def _identity(path: Path) -> str:
    file = path / _IDENTITY
    return file.read_text(encoding="utf-8") if file.is_file() else ""
