"""An engine with a script and a codec that can be mute, for tests of what lies above them."""

from collections.abc import AsyncGenerator, Sequence

from orpheus_clone.audio import Waveform
from orpheus_clone.bundle import Adapter
from orpheus_clone.codec.snac import Codec
from orpheus_clone.codec.window import LEFT_FRAMES, Window
from orpheus_clone.engine.base import Delta, EngineInfo, Finish, Request


class ScriptedEngine:
    """Says the scripts it is given, one a request, `size` tokens a delta."""

    info = EngineInfo("fake", "CPU (none)", "fp32")

    def __init__(
        self, scripts: Sequence[Sequence[int]], *, size: int = 7, finish: Finish = "stop"
    ) -> None:
        self.scripts = [list(script) for script in scripts]
        self.size, self.finish = size, finish
        self.requests: list[Request] = []
        self.open = 0
        """How many generators are running."""

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        self.requests.append(request)
        script = self.scripts.pop(0)
        self.open += 1
        try:
            for start in range(0, len(script), self.size):
                yield Delta(script[start : start + self.size])
            yield Delta([], self.finish)
        finally:
            self.open -= 1

    async def load(self, adapter: Adapter) -> None: ...

    async def unload(self, adapter: Adapter) -> None: ...

    def is_alive(self) -> bool:
        return True

    async def close(self) -> None: ...


class MutableCodec(Codec):
    """A codec to which frames whose second code is 0 are nearly silent."""

    def decode_windows(self, windows: list[Window]) -> list[Waveform]:
        return [
            samples * (1e-4 if window.codes[LEFT_FRAMES, 1] == 0 else 1.0)
            for samples, window in zip(super().decode_windows(windows), windows, strict=True)
        ]
