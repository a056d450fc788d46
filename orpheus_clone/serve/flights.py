"""Work that several ask for at once and that is done once, in threads of its own.

What waits for a store that does not answer waits here, away from the threads in which every stream
is encoded.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """See the module docstring; a flight is known by its key until it has landed."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="store")
        self._flying: dict[str, Future[T]] = {}
        self._lock = threading.Lock()

    def __contains__(self, key: str) -> bool:
        return key in self._flying

    def join(self, key: str, work: Callable[[], T]) -> Future[T]:
        """The flight of that key, begun with `work` if there is none."""
        with self._lock:
            if key not in self._flying:
                self._flying[key] = self._threads.submit(self._fly, key, work)
            return self._flying[key]

    def leave(self, key: str) -> None:
        """Let the next who joins begin a new one."""
        with self._lock:
            self._flying.pop(key, None)

    def _fly(self, key: str, work: Callable[[], T]) -> T:
        try:
            return work()
        finally:
            self.leave(key)
