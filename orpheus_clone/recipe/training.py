"""How the adapter is fitted."""

from typing import Literal

from pydantic import Field

from orpheus_clone.recipe.section import Section


class Lora(Section):
    """The adapter's shape; its targets are always the seven projections."""

    rank: int = Field(16, ge=1, le=64)
    """Rank of the update; servers reserve memory for their largest."""
    alpha: int = Field(32, ge=1)
    """The update is scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the adapter's input while training."""


class Train(Section):
    """How the adapter is fitted."""

    epochs: int = Field(3, ge=1)
    """Passes over the clips."""
    learning_rate: float = Field(2e-4, gt=0)
    """Peak rate of AdamW, reached after the warm-up, then falling linearly to 0."""
    warmup_steps: int = Field(5, ge=0)
    """Steps over which the rate rises."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decay of the adapter's weights."""
    batch_size: int = Field(1, ge=1)
    """Clips in one forward pass."""
    grad_accumulation: int = Field(4, ge=1)
    """Forward passes to one step."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are scaled down to this norm."""
    checkpoint_steps: int = Field(50, ge=1)
    """Steps between checkpoints that an interrupted run goes on from."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic: auto is bf16 on a GPU and fp32 on a CPU."""
    seed: int = 0
    """Seeds the adapter's start and the order of the clips."""
    lora: Lora = Lora()
