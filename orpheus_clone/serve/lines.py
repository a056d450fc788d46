"""A client's text as it is spoken: which utterance was begun, and which must be once more.

    take ─▶ an utterance is spoken ─ spoken ─▶ it was heard to its end
              ▲                    └ again ──▶ its node failed
              └────────────────────────────────┘

Nothing of a text is forgotten before it was heard.
"""

import time
from collections.abc import Callable

from orpheus_clone.script import START_SENTENCES, Script


class Lines(Script):
    """See the module docstring."""

    def __init__(
        self,
        language: str = "en",
        *,
        start_sentences: int = START_SENTENCES,
        begun: Callable[[str], None] = lambda _: None,
        began: float | None = None,
    ) -> None:
        """`begun` is told each utterance that is taken."""
        super().__init__(language, start_sentences=start_sentences)
        self._begun = begun
        self._current: str | None = None
        """What was taken, and was not yet heard to its end."""
        self._is_again = False
        self.spoken_characters = 0
        """Of the utterances that were heard to their end, white space as it was spoken."""
        self._began = began

    @property
    def began(self) -> float:
        """When it came, by `time.perf_counter`; of one that is written, when speech began."""
        return time.perf_counter() if self._began is None else self._began

    @property
    def is_there(self) -> bool:
        """See `Script`."""
        return self._is_again or super().is_there

    @property
    def is_busy(self) -> bool:
        """Whether an utterance is being spoken, or is to be spoken now."""
        return self._current is not None or self.is_there

    @property
    def is_over(self) -> bool:
        """See `Script`."""
        return super().is_over and not self._is_again

    def take(self) -> str | None:
        """See `Script`."""
        if not self._is_again:
            taken = super().take()
            if taken is None:
                return None
            self._current = taken
        self._is_again = False
        self._began = self.began
        if self._current is not None:
            self._begun(self._current)
        return self._current

    async def next(self) -> str | None:
        """See `Script`; whoever wants the next has spoken what there was to say in the last."""
        if not self._is_again:
            self._current = None
        return await super().next()

    def spoken(self) -> None:
        """The utterance that was taken last was heard to its end."""
        self.spoken_characters += len(self._current or "")
        self._current = None

    def again(self) -> None:
        """Of the utterance that was taken last, something was not heard."""
        self._is_again = self._current is not None
