"""What a node finds out about its machine before it takes anybody in."""

from collections.abc import AsyncGenerator

import pytest

from orpheus_clone import tokens
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import Delta, Request
from orpheus_clone.models import BaseModel
from orpheus_clone.serve.admission import Admission, Promise
from orpheus_clone.serve.warmup import measure
from orpheus_clone.speech import Speaker
from tests.serve.talking import Talker


class Machine(Talker):
    """Makes a frame at a time for one stream after the other, each in the same time."""

    def __init__(self, tokens_a_second: float, frames: int | None = None) -> None:
        super().__init__(frames)
        self.now = 0.0
        self.most = 0
        self._frame_s = tokens.FRAME / tokens_a_second

    def clock(self) -> float:
        return self.now

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        async for delta in super().generate(request):
            self.most = max(self.most, self.open)
            self.now += self._frame_s
            yield delta


async def measured(machine: Machine, codec: Codec, base: BaseModel, **promise: int) -> Admission:
    admission = Admission(lambda: True, Promise(**promise), machine.clock)  # type: ignore[arg-type]
    await measure(Speaker(machine, codec, base), admission)
    return admission


@pytest.mark.parametrize(
    ("tokens_a_second", "capacity", "tried"), [(400, 4, 8), (100, 1, 2), (4, 1, 1)]
)
async def test_a_machine_is_tried_with_twice_as_many_until_it_is_late(
    codec: Codec, base: BaseModel, tokens_a_second: float, capacity: int, tried: int
) -> None:
    machine = Machine(tokens_a_second)
    admission = await measured(machine, codec, base, max_streams=64)
    assert (admission.capacity, machine.most) == (capacity, tried)
    assert machine.open == 0


async def test_one_that_is_never_late_is_tried_with_as_many_as_its_engine_takes(
    codec: Codec, base: BaseModel
) -> None:
    machine = Machine(1e9)
    admission = await measured(machine, codec, base, max_streams=8)
    assert (admission.capacity, machine.most) == (8, 8)


async def test_one_that_takes_everybody_is_not_tried(codec: Codec, base: BaseModel) -> None:
    machine = Machine(4)
    await measured(machine, codec, base, max_streams=8, admits_all=True)
    assert machine.requests == []


async def test_of_a_voice_that_says_hardly_anything_nothing_is_learnt(
    codec: Codec, base: BaseModel
) -> None:
    admission = await measured(Machine(50, frames=2), codec, base, max_streams=8)
    assert admission.capacity == 8
