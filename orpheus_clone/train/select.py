"""Which epoch becomes the voice: the choice itself, from figures alone.

                     ┌─ some are within every limit that could be measured:
    epochs, heard ───┤       fewest words wrong ─▶ most like the speaker ─▶ lowest held-out loss
                     └─ none is: the fewest and smallest violations, and a note that says so

The lowest loss is often a broken voice: on record it belonged to an epoch with 18.6 s of silence
after the words. So limits come first, and the loss decides only between equals. A difference
counts as one if it exceeds what another seed would make: see `WER_NOISE`, `SIMILARITY_NOISE`.
What no judge could measure is equal for all epochs; then the loss decides. An epoch that did not
speak is only chosen where none did.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from orpheus_clone.listening.figures import Figure, Figures
from orpheus_clone.recipe import Selection

WER_NOISE = 0.02
"""The standard error of 5 % errors in the prompt set's 135 words: less than three words."""
SIMILARITY_NOISE = 0.02
"""Every epoch speaks the same texts, so what the texts make of it, 0.05 in the mean of twelve, is
not in the difference. A judgement, not a measurement."""


@dataclass(frozen=True)
class Limit:
    """A figure and how far it may go."""

    name: str
    """Of the field in `Figures`."""
    value: float | None
    """None is switched off."""
    is_minimum: bool

    def excess(self, figure: Figure) -> float:
        """How far beyond the limit, relative to it: not positive within; 0 where not measured."""
        if self.value is None or figure.value is None:
            return 0.0
        beyond = self.value - figure.value if self.is_minimum else figure.value - self.value
        return beyond / max(abs(self.value), _SMALLEST_LIMIT)


_SMALLEST_LIMIT = 0.1
"""Beyond a limit of 0 each tenth counts one."""
_INFINITE_EXCESS = 100.0
"""A figure that is "never" is worse than any other, but two of them are worse than one."""


@dataclass(frozen=True)
class Epoch:
    """One epoch: how it was learnt, and how it sounds."""

    number: int
    """From 1."""
    step: int
    """Steps taken by its end."""
    loss: float
    """Mean over its steps, in nats a token."""
    heldout_loss: float
    figures: Figures | None
    """None where it did not speak."""


@dataclass(frozen=True)
class Choice:
    """The chosen epoch, and what a person should know about the choice."""

    epoch: int
    note: str


def limits(settings: Selection) -> list[Limit]:
    """Every limit of the recipe, in the order of its section."""
    return [
        Limit("stop_rate", settings.stop_rate_min, is_minimum=True),
        Limit("loop_rate", settings.loop_rate_max, is_minimum=False),
        Limit("wer", settings.wer_max, is_minimum=False),
        Limit("coverage", settings.coverage_min, is_minimum=True),
        Limit("pace", settings.pace_max, is_minimum=False),
        Limit("head_p50_ms", settings.head_p50_ms_max, is_minimum=False),
        Limit("tail_p95_ms", settings.tail_p95_ms_max, is_minimum=False),
        Limit("cut_rate", settings.cut_rate_max, is_minimum=False),
        Limit("similarity", settings.similarity_min, is_minimum=True),
    ]


def violations(figures: Figures | None, settings: Selection) -> dict[str, float]:
    """By the limits' names: how far beyond each the figures are, relative to it."""
    if figures is None:
        return {}
    excesses = {
        limit.name: limit.excess(getattr(figures, limit.name)) for limit in limits(settings)
    }
    return {name: excess for name, excess in excesses.items() if excess > 0}


def choose(epochs: Sequence[Epoch], settings: Selection) -> Choice:
    """The epoch that becomes the voice, of at least one; of those that were heard, if any was."""
    epochs = [epoch for epoch in epochs if epoch.figures is not None] or epochs
    faults = {epoch.number: violations(epoch.figures, settings) for epoch in epochs}
    passing = [epoch for epoch in epochs if not faults[epoch.number]]
    if not passing:
        least = min(epochs, key=lambda epoch: (_badness(faults[epoch.number]), epoch.heldout_loss))
        names = ", ".join(faults[least.number])
        return Choice(least.number, f"no epoch is within all limits; this one misses {names}")
    best = _most_alike(_best_said(passing))
    chosen = min(best, key=lambda epoch: epoch.heldout_loss)
    return Choice(chosen.number, _note(chosen, epochs, faults))


def is_over(epochs: Sequence[Epoch], settings: Selection) -> bool:
    """Whether training should stop: the best is `patience` epochs old. Only what was heard counts:
    a held-out loss that rises is no reason."""
    heard = [epoch for epoch in epochs if epoch.figures is not None and _is_measured(epoch.figures)]
    if settings.patience is None or not heard:
        return False
    best = choose(heard, settings).epoch
    return sum(epoch.number > best for epoch in heard) >= settings.patience


def _badness(faults: dict[str, float]) -> tuple[int, float]:
    """How many, and by how much, to a tenth of a limit: less is chance."""
    by = sum(min(excess, _INFINITE_EXCESS) for excess in faults.values())
    return len(faults), round(by, 1)


def _best_said(epochs: Sequence[Epoch]) -> list[Epoch]:
    """Those with hardly more words wrong than the best; all of them where nobody heard words."""
    rates = [_value(epoch, "wer") for epoch in epochs]
    known = [rate for rate in rates if rate is not None]
    if not known:
        return list(epochs)
    least = min(known) + WER_NOISE
    return [e for e, r in zip(epochs, rates, strict=True) if r is not None and r <= least]


def _most_alike(epochs: Sequence[Epoch]) -> list[Epoch]:
    """Those hardly less like the speaker than the nearest."""
    values = [_value(epoch, "similarity") for epoch in epochs]
    known = [value for value in values if value is not None]
    if not known:
        return list(epochs)
    most = max(known) - SIMILARITY_NOISE
    return [e for e, v in zip(epochs, values, strict=True) if v is not None and v >= most]


def _value(epoch: Epoch, name: str) -> float | None:
    if epoch.figures is None:
        return None
    figure: Figure = getattr(epoch.figures, name)
    return figure.value


def _is_measured(figures: Figures) -> bool:
    return figures.stop_rate.value is not None


def _note(chosen: Epoch, epochs: Sequence[Epoch], faults: dict[int, dict[str, float]]) -> str:
    lowest = min(epochs, key=lambda epoch: epoch.heldout_loss)
    if chosen.figures is None or not _is_measured(chosen.figures):
        return "chosen by its held-out loss alone: no epoch was heard"
    if lowest.number == chosen.number:
        return "within all limits, and the lowest held-out loss too"
    why = faults[lowest.number]
    if why:
        return f"epoch {lowest.number} has the lowest held-out loss, but misses {', '.join(why)}"
    return f"epoch {lowest.number} has the lowest held-out loss, but this one sounds better"
