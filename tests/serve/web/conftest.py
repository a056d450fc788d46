"""A real browser, and a node in this process that reads a recording aloud.

The browser is a Chromium that is installed, else Playwright's own: `make test` sees to one of them.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager as Context
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import soundfile
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from orpheus_clone import nano, tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import Delta, Request
from orpheus_clone.models import BaseModel
from tests.serve.talking import Talker, talking

ROOT = Path(__file__).parents[3]
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
PLENTY = 10**6
PATIENCE_MS = 60_000
"""A busy machine is no failure."""
expect.set_options(timeout=PATIENCE_MS)

HEARD = """
// Counts the samples that reach the ear and are not silent, in window.heard.
window.heard = 0;
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...more) {
  if (to instanceof AudioDestinationNode && this instanceof AudioBufferSourceNode) {
    to.ear ??= ear(to);
    connect.call(this, to.ear);
  }
  return connect.call(this, to, ...more);
};
function ear(to) {
  const tap = to.context.createScriptProcessor(1024, 1, 1);
  tap.onaudioprocess = ({ inputBuffer }) => {
    window.heard += inputBuffer.getChannelData(0).filter((sample) => sample).length;
  };
  connect.call(tap, to);
  return tap;
}
"""


class Reader(Talker):
    """Reads a script aloud, as fast as `left` frames allow; then it waits to be let on."""

    def __init__(self, script: list[int], left: int = PLENTY) -> None:
        super().__init__()
        self.script, self.left = script, left
        self._told = asyncio.Event()

    def let(self, frames: int) -> None:
        """Let it say so many frames more."""
        self.left += frames
        self._told.set()

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        self.requests.append(request)
        self.open += 1
        try:
            for start in range(0, len(self.script), tokens.FRAME):
                while not self.left:
                    self._told.clear()
                    await self._told.wait()
                self.left -= 1
                yield Delta(self.script[start : start + tokens.FRAME])
            yield Delta([], "stop")
        finally:
            self.open -= 1


@pytest.fixture(scope="session")
def speech_codec() -> Codec:
    """nano's codec, which was trained to carry speech."""
    return Codec(nano.WEIGHTS / "codec", is_silent=True)


@pytest.fixture(scope="session")
def clip() -> Waveform:
    """Some words, after half a second of room tone."""
    samples: Waveform
    samples, rate = soundfile.read(ROOT / "data_samples" / "004.flac", dtype="float32")
    assert rate == tokens.SAMPLE_RATE
    return samples


@pytest.fixture(scope="session")
def script(speech_codec: Codec, clip: Waveform) -> list[int]:
    """A second and a half of the clip as an engine would say it."""
    return tokens.codes_to_tokens(speech_codec.encode(clip[: 18 * tokens.FRAME_SAMPLES]))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncGenerator[Browser, None]:
    installed = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    async with async_playwright() as driver:
        started = await driver.chromium.launch(executable_path=installed)
        yield started
        await started.close()


Look = Callable[..., Context[Page]]
"""Opens the page of a node at HOST:PORT; options are those of a browser's context."""


@pytest.fixture
def look(browser: Browser) -> Look:
    return lambda address, **options: _looking(browser, address, options)


@contextlib.asynccontextmanager
async def _looking(
    browser: Browser, address: str, options: dict[str, Any]
) -> AsyncGenerator[Page, None]:
    """A page on which nothing breaks, and nothing is blocked by the policy."""
    wrong: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # What a node refuses is in the console too, and no fault of the page.
        if message.type == "error" and "Failed to load resource" not in message.text:
            wrong.append(message.text)

    context = await browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", note)
    await page.add_init_script(HEARD)
    await page.goto(f"http://{address}/")
    try:
        await page.wait_for_selector("[data-state=ready]")
        yield page
    finally:
        await context.close()
        print(*wrong, sep="\n")
    assert wrong == []


Node = Callable[..., Context[str]]
"""Starts a node above an engine; yields its address."""


@pytest.fixture
def serving(speech_codec: Codec, base: BaseModel, tmp_path: Path) -> Node:
    return lambda engine, **options: talking(engine, speech_codec, base, tmp_path, **options)
