"""Memory that is given back."""

import weakref

from orpheus_clone import gpu


class Held:
    """Holds itself, so that only the garbage collector ends it."""

    def __init__(self) -> None:
        self.itself = self


def test_what_only_holds_itself_is_given_back() -> None:
    found = weakref.ref(Held())
    gpu.give_back()
    assert found() is None
