"""AdamW over the adapter's parameters, torch's or bitsandbytes'."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from orpheus_clone.errors import MachineError
from orpheus_clone.recipe import Train

if TYPE_CHECKING:
    import torch


def make_optimizer(parameters: "Iterable[torch.nn.Parameter]", settings: Train) -> Any:
    """A `torch.optim.Optimizer`; MachineError where bitsandbytes is wanted and is not here."""
    import torch

    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
    package = bitsandbytes("train.optimizer=adamw_8bit", "adamw")
    return package.optim.AdamW8bit(parameters, lr=rate, weight_decay=decay)


def bitsandbytes(wanted: str, instead: str) -> Any:
    """The package; MachineError names the setting that wants it, and the value that does not."""
    try:
        import bitsandbytes as package
    except ImportError as missing:
        raise MachineError(
            f"{wanted} needs bitsandbytes: pip install 'orpheus-clone[qlora]'; or set "
            f"{wanted.partition('=')[0]}={instead}"
        ) from missing
    return package
