"""How the adapter is fitted."""

from typing import Literal, Self

from pydantic import Field, model_validator

from orpheus_clone.lora import MAX_RANK, MAX_SCALE
from orpheus_clone.recipe.section import Section


class Lora(Section):
    """The adapter's shape; its targets are always the seven projections."""

    rank: int = Field(16, ge=1, le=MAX_RANK)
    """Rank of the update; nodes reserve memory for the largest, 16."""
    alpha: int = Field(32, ge=1)
    """The update is scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the adapter's input while training."""

    @model_validator(mode="after")
    def _a_node_takes_the_scale(self) -> Self:
        if self.alpha > MAX_SCALE * self.rank:
            raise ValueError(f"alpha is more than {MAX_SCALE} x rank, which no node takes")
        return self


class Selection(Section):
    """Which epoch becomes the voice: each speaks, and the best of those within the limits is taken.

    null switches a limit off. With none of them measured, as of a base that never learnt to speak,
    the lowest held-out loss decides.
    """

    prompts: int = Field(12, ge=0, le=12)
    """How many of train/prompts.txt each epoch speaks; 0: none, the held-out loss decides. Twelve
    are 135 words and three quarters of a minute of sound."""
    patience: int | None = Field(2, ge=1)
    """So many epochs in a row that sound no better end the training; null: all epochs are trained.
    One may be chance: a prompt that fails for its seed."""
    stop_rate_min: float | None = Field(1.0, ge=0, le=1)
    """Share that end by themselves. On record: 20 of 20; a voice that once does not stop will."""
    loop_rate_max: float | None = Field(0.0, ge=0, le=1)
    """Share that said the same, or nothing, for 2.5 s. On record: none."""
    wer_max: float | None = Field(0.25, ge=0)
    """Word error rate by the judge of words, who alone makes 0.04 to 0.1 of short prompts."""
    coverage_min: float | None = Field(0.85, ge=0, le=1)
    """Share of the words that were said, or something alike. On record: 0.85."""
    pace_max: float | None = Field(1.5, gt=0)
    """Seconds per letter over the speaker's own, median. On record: 1.5."""
    head_p50_ms_max: float | None = Field(150.0, ge=0)
    """Silence before the speech, median: the corpus has 50 (prepare.head_ms)."""
    tail_p95_ms_max: float | None = Field(600.0, ge=0)
    """Silence after the speech, 95th percentile: the corpus has 100 (prepare.tail_ms). Half a
    second more is heard as a hesitation before the next sentence."""
    cut_rate_max: float | None = Field(0.1, ge=0, le=1)
    """Share that end within a word: one of twelve may, a fast speaker's last consonant."""
    similarity_min: float | None = Field(0.3, ge=-1, le=1)
    """Mean cosine to the speaker's held-out clips; below it a clip is another's, as in prepare."""


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
    batch_size: int = Field(4, ge=1)
    """Clips to one step, over all GPUs together: what others measured best with is one to a pass
    and four passes."""
    row_tokens: int = Field(4096, ge=64)
    """Clips are laid side by side in rows of at most so many tokens, a pass each; a clip that is
    longer has a row of its own. Fewer cost time and save memory, and teach the same."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are scaled down to this norm."""
    checkpoint_steps: int = Field(50, ge=1)
    """Steps between checkpoints that an interrupted run goes on from."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic: auto is bf16 on a GPU and fp32 on a CPU."""
    gradient_checkpointing: bool | None = None
    """Forget what a layer computed and compute it again for its gradient: a third more time, and a
    tenth of the memory. null: on a GPU, where memory is short."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """AdamW, fused; adamw_8bit keeps its moments in 8 bits (bitsandbytes): 0.15 GB less for rank 16
    on Orpheus-3B, which is worth it only where that is what lacks."""
    quantize: Literal["none", "nf4"] = "none"
    """nf4 keeps the frozen base in 4 bits (QLoRA, bitsandbytes): for GPUs of 12 to 16 GB. The voice
    is then served on a base that it was not quite taught on."""
    seed: int = 0
    """Seeds the adapter's start and the order of the clips."""
    lora: Lora = Lora()
    selection: Selection = Selection()
