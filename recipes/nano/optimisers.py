"""What moves the codec's weights: Muon where they are matrices, AdamW elsewhere."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

NARROW, NARROW_FACTOR = 192, 3.0
"""A matrix of so few channels moves faster: its weights are larger."""


class Optimisers:
    """Muon (Jordan et al. 2024) for weights that are matrices, AdamW for everything else."""

    def __init__(self, module: nn.Module) -> None:
        matrices = [p for n, p in module.named_parameters() if _is_matrix(n, p)]
        chosen = set(map(id, matrices))
        self._matrices = [(p, nn.Parameter(_flat(p.detach()).clone())) for p in matrices]
        rest = [p for p in module.parameters() if id(p) not in chosen]
        self.all: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, betas=(0.8, 0.99), weight_decay=0.0)
        ]
        self._factors = [1.0]
        for factor, flat in (
            (NARROW_FACTOR, _narrow(self._matrices)),
            (1.0, _wide(self._matrices)),
        ):
            if flat:
                self._factors.append(factor)
                self.all.append(
                    torch.optim.Muon(
                        flat, weight_decay=0.0, momentum=0.9,
                        adjust_lr_fn="match_rms_adamw", ns_steps=4,
                    )
                )  # fmt: skip

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the weights by their gradients."""
        for weight, flat in self._matrices:
            flat.copy_(_flat(weight))
            flat.grad = None if weight.grad is None else _flat(weight.grad)
        for optimiser, factor in zip(self.all, self._factors, strict=True):
            optimiser.param_groups[0]["lr"] = factor * rate
            optimiser.step()
        for weight, flat in self._matrices:
            _flat(weight, flat)

    def state(self) -> list[dict[str, Any]]:
        """To keep, and to `load`."""
        return [optimiser.state_dict() for optimiser in self.all]

    def load(self, state: list[dict[str, Any]]) -> None:
        """Go on from `state`."""
        for optimiser, kept in zip(self.all, state, strict=True):
            optimiser.load_state_dict(kept)


def _narrow(matrices: Sequence[tuple[Tensor, nn.Parameter]]) -> list[Tensor]:
    return [flat for _, flat in matrices if max(flat.shape) <= NARROW]


def _wide(matrices: Sequence[tuple[Tensor, nn.Parameter]]) -> list[Tensor]:
    return [flat for _, flat in matrices if max(flat.shape) > NARROW]


def _flat(weight: Tensor, new: Tensor | None = None) -> Tensor:
    """A convolution's weight as a matrix, the fewer channels first; with `new`, set from that.

    The wider the matrix, the less it costs Muon.
    """
    order = weight.transpose(0, 1) if weight.shape[1] < weight.shape[0] else weight
    if new is not None:
        order.copy_(new.view(order.shape))
    return order.flatten(1)


def _is_matrix(name: str, weight: Tensor) -> bool:
    """Whether it is the direction of a convolution that mixes many channels."""
    return name.endswith("original1") and min(weight.shape[0], weight[0].numel()) >= 16
