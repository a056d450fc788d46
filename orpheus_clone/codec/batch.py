"""Many streams' frames in one call of the codec, off the event loop.

While one batch is decoded the next gathers, so batches are as large as the load makes them; on an
idle codec a frame waits `GATHER_S` for others, no longer.

    stream a ─▶ ▢▢ ─┐
    stream b ─▶ ▢ ──┼─▶ one frame of each, in turn ─▶ worker thread ─▶ back to each
    stream c ─▶ ▢ ──┘

Fair: a batch takes one frame of every stream before a second of any, so a stream that has many to
decode delays the others by one frame each at most. A caller that is cancelled takes its frames with
it at once.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from orpheus_clone.audio import Waveform
from orpheus_clone.codec.snac import Codec
from orpheus_clone.codec.window import Window

GATHER_S = 0.001
MAX_WINDOWS = 64


@dataclass(eq=False)
class _Job:
    """A stream's windows on their way through."""

    windows: deque[Window]
    decoded: list[Waveform]
    done: asyncio.Future[list[Waveform]]


class BatchDecoder:
    """One codec for many streams of one event loop."""

    def __init__(self, codec: Codec, max_windows: int = MAX_WINDOWS) -> None:
        self._codec = codec
        self._max_windows = max_windows
        self._jobs: deque[_Job] = deque()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="codec")
        self._task: asyncio.Task[None] | None = None

    async def decode(self, windows: Sequence[Window]) -> list[Waveform]:
        """The samples of each window's frame, in order."""
        if not windows:
            return []
        job = _Job(deque(windows), [], asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            return await job.done
        finally:
            if job in self._jobs:  # a `remove` that fails writes all its samples into its message
                self._jobs.remove(job)

    async def _run(self) -> None:
        """Decode batch after batch until nobody waits."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(GATHER_S)
        while batch := self._gather():
            windows = [window for _, window in batch]
            try:
                samples = await loop.run_in_executor(
                    self._worker, self._codec.decode_windows, windows
                )
            except Exception as error:
                for job, _ in batch:
                    if not job.done.done():
                        job.done.set_exception(error)
                continue
            for (job, _), frame in zip(batch, samples, strict=True):
                job.decoded.append(frame)
            for job, _ in batch:
                if not job.windows and not job.done.done():
                    job.done.set_result(job.decoded)

    def _gather(self) -> list[tuple[_Job, Window]]:
        """The next batch: rounds of one window of each job, the longest waiting first."""
        batch: list[tuple[_Job, Window]] = []
        waiting = deque(job for job in self._jobs if job.windows and not job.done.done())
        while waiting and len(batch) < self._max_windows:
            job = waiting.popleft()
            batch.append((job, job.windows.popleft()))
            self._jobs.remove(job)
            if job.windows:  # behind those that this batch had no room for
                waiting.append(job)
                self._jobs.append(job)
        return batch
