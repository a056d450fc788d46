"""Somebody speaks on the page: with the mouse, by keyboard, slowly, in vain."""

import re
import wave
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Page, Route, expect

from orpheus_clone import silence
from orpheus_clone.audio import Waveform
from orpheus_clone.tokens import SAMPLE_RATE
from tests.serve.talking import eventually
from tests.serve.web.conftest import Look, Node, Reader

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def status(page: Page, says: str) -> None:
    await expect(page.locator("#status")).to_contain_text(re.compile(says))


async def number(page: Page, selector: str) -> float:
    """The milliseconds of a drawn mark."""
    return float(await page.locator(selector).get_attribute("data-ms") or "nan")


async def test_a_voice_is_chosen_a_line_is_typed_and_it_is_heard_and_drawn(
    look: Look, serving: Node, script: list[int]
) -> None:
    engine = Reader(script)
    async with serving(engine) as address, look(address) as page:
        await page.get_by_role("radio", name="ben").check()
        await page.get_by_label("What to say").fill("Hello there.")
        await page.get_by_role("button", name="Speak").click()
        await status(page, "ben has spoken: \\d\\.\\d s of sound")
        assert len(engine.requests) == 1
        first_byte, first_sound = [
            await number(page, f"[data-mark={name}]") for name in ("first-byte", "first-sound")
        ]
        assert 0 < first_byte < first_sound
        parts = [await number(page, f"#until [data-part={p}]") for p in ("node", "browser", "head")]
        assert abs(sum(parts) - first_sound) < 1
        wave = await page.locator(".wave.played").get_attribute("d")
        assert wave is not None
        assert wave.count("M") > 10
        assert await page.locator(".came").count() >= 1  # a busy browser takes many at once
        heard = await page.evaluate("window.heard")
        assert heard > 0
        await expect(page.locator("#first-sound")).to_contain_text(f"{round(first_sound)} ms")
        assert await page.locator("#wave").get_attribute("aria-label") != "The sound as it came"


async def test_what_was_heard_is_kept_as_a_wav_with_the_head_silence_that_was_drawn(
    look: Look, serving: Node, script: list[int]
) -> None:
    async with serving(Reader(script)) as address, look(address) as page:
        await page.get_by_role("button", name="Speak").click()
        async with page.expect_download() as download:
            await page.get_by_role("link", name="Save as WAV").click()
        kept = Path(await (await download.value).path()).read_bytes()
        with wave.open(BytesIO(kept)) as sound:
            assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (
                24000,
                1,
                2,
            )
            samples = _floats(sound.readframes(sound.getnframes()))
        assert (await download.value).suggested_filename == "ada.wav"
        assert 0.9 < len(samples) / SAMPLE_RATE < 1.1
        head = silence.speech_span(samples, SAMPLE_RATE).head_ms
        assert await number(page, "#until [data-part=head]") == pytest.approx(head, abs=0.1)


async def test_stop_is_silence_at_once_and_ends_the_engines_work(
    look: Look, serving: Node, script: list[int]
) -> None:
    engine = Reader(script, left=12)
    async with serving(engine) as address, look(address) as page:
        await page.get_by_role("button", name="Speak").click()
        await status(page, "speaks")
        assert engine.open == 1
        await page.get_by_role("button", name="Stop").click()
        await status(page, "Stopped; 0\\.\\d s of sound had come")
        await eventually(lambda: engine.open == 0, "the engine has stopped")
        await expect(page.get_by_role("button", name="Stop")).to_be_disabled()
        await expect(page.get_by_role("link", name="Save as WAV")).to_be_visible()


async def test_to_speak_again_stops_what_is_being_said(
    look: Look, serving: Node, script: list[int]
) -> None:
    engine = Reader(script * 2, left=12)
    async with serving(engine) as address, look(address) as page:
        await page.get_by_role("button", name="Speak").click()
        await status(page, "speaks")
        await page.get_by_role("button", name="Speak").click()
        await eventually(lambda: len(engine.requests) == 2, "it is asked again")
        await eventually(lambda: engine.open == 1, "the first has stopped")
        engine.let(100)
        await status(page, "ada has spoken: 2\\.5 s")
        await expect(page.get_by_role("button", name="Stop")).to_be_disabled()


async def test_where_there_is_no_room_it_is_asked_again_until_there_is(
    look: Look, serving: Node, script: list[int]
) -> None:
    full = [503, 503]

    async def between(route: Route) -> None:
        """The node, when it has no room and when it has."""
        if not full:
            await route.continue_()
            return
        error = {"error": {"message": "no room for one more"}}
        await route.fulfill(status=full.pop(), headers={"retry-after": "1"}, json=error)

    engine = Reader(script)
    async with serving(engine) as address, look(address) as page:
        await page.route("**/v1/audio/speech", between)
        await page.get_by_role("button", name="Speak").click()
        await status(page, "No room for one more. It is asked again in 1 s")
        await status(page, "has spoken")
        assert full == []
        full.extend([503] * 100)
        await page.get_by_role("button", name="Speak").click()
        await status(page, "It is asked again")
        await page.keyboard.press("Escape")
        await status(page, "Stopped; 0.0 s")
        assert len(engine.requests) == 1


async def test_where_sound_comes_too_late_the_gap_is_drawn_and_said(
    look: Look, serving: Node, script: list[int]
) -> None:
    engine = Reader(script, left=12)
    async with serving(engine) as address, look(address) as page:
        await page.get_by_role("button", name="Speak").click()
        await status(page, "more slowly than it is played")
        engine.let(100)
        await status(page, "has spoken")
        marks = await page.locator("[data-mark=dry]").all()
        gaps = [float(await mark.get_attribute("data-ms") or "nan") for mark in marks]
        assert min(gaps) > 0
        said = await page.locator("[data-figure=dry] dd").first.text_content()
        count, total = map(int, re.findall(r"\d+", said or ""))
        assert count == len(gaps)
        assert total == pytest.approx(sum(gaps), abs=1)


async def test_by_keyboard_alone(look: Look, serving: Node, script: list[int]) -> None:
    engine = Reader(script, left=12)
    async with serving(engine) as address, look(address) as page:
        keys = page.keyboard
        for _ in range(2):  # past the button for a key, to the voices
            await keys.press("Tab")
        await keys.press("ArrowRight")
        await keys.press("Tab")
        await expect(page.get_by_label("What to say")).to_be_focused()
        await keys.press("Control+a")
        await keys.type("One.")
        await keys.press("Shift+Enter")
        assert engine.requests == []
        await keys.type("Two.")
        await keys.press("Enter")
        await status(page, "ben speaks")
        await keys.press("Escape")
        await status(page, "Stopped")
        assert await page.get_by_label("What to say").input_value() == "One.\nTwo."
        engine.let(100)
        await page.get_by_role("radio", name="cleo").focus()
        await keys.press("Control+Enter")
        await status(page, "has spoken")


async def test_nothing_to_say_is_said(look: Look, serving: Node, script: list[int]) -> None:
    engine = Reader(script)
    async with serving(engine) as address, look(address) as page:
        await page.get_by_label("What to say").fill("  ")
        await page.get_by_role("button", name="Speak").click()
        await status(page, "Type what to say")
        await expect(page.get_by_label("What to say")).to_be_focused()
        await page.get_by_label("What to say").fill("🙂")
        await page.get_by_role("button", name="Speak").click()
        await status(page, "nothing to say")
        assert engine.requests == []


async def test_a_wrong_key_is_said_and_the_right_one_stays_in_the_tab(
    look: Look, serving: Node, script: list[int]
) -> None:
    async with serving(Reader(script), keys=("right",)) as address, look(address) as page:
        await status(page, "This node wants a key")
        await expect(page.get_by_label("Key of this node")).to_be_focused()
        await page.keyboard.type("wrong")
        await page.keyboard.press("Enter")
        await status(page, "does not accept this key")
        await page.get_by_label("Key of this node").fill("clé")
        await page.keyboard.press("Enter")
        await status(page, "no accents")
        await page.get_by_label("Key of this node").fill("right")
        await page.keyboard.press("Enter")
        await status(page, "accepts the key")
        await expect(page.get_by_label("Key of this node")).to_be_hidden()
        await page.get_by_role("button", name="Speak").click()
        await status(page, "has spoken")
        kept = await page.evaluate("[{...localStorage}, document.cookie, {...sessionStorage}]")
        assert kept == [{}, "", {"orpheus-clone-key": "right"}]
        await page.get_by_role("button", name="Key").click()
        await page.get_by_role("button", name="Forget it").click()
        await status(page, "This node wants a key")
        assert await page.evaluate("sessionStorage.length") == 0


async def test_a_node_that_is_gone_is_said(look: Look, serving: Node, script: list[int]) -> None:
    async with serving(Reader(script)) as address, look(address) as page:
        await page.context.set_offline(True)
        await page.get_by_role("button", name="Speak").click()
        await status(page, "does not answer")


def _floats(pcm: bytes) -> Waveform:
    return (np.frombuffer(pcm, "<i2") / 32768).astype(np.float32)
