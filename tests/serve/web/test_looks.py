"""How the page looks: read by axe, measured in pixels, on a telephone, light and dark."""

import io
import itertools
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from PIL import Image
from playwright.async_api import Page, expect

from tests.serve.web.conftest import Look, Node, Reader

pytestmark = pytest.mark.asyncio(loop_scope="session")

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
TEXT_CONTRAST, LINE_CONTRAST = 4.5, 3.0
"""WCAG 2.2 AA: 1.4.3 for text, 1.4.11 for what has to be seen to be used."""
ON_PAPER = ("ink", "soft", "accent", "amber", "bad")
TOO_WIDE = """[...document.querySelectorAll("body *:not(svg *)")]
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5)
  .map((element) => element.outerHTML.slice(0, 80))"""


async def spoken(page: Page) -> None:
    await page.get_by_role("button", name="Speak").click()
    await expect(page.locator("#status")).to_contain_text("has spoken")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_is_hard_to_read_or_to_reach(
    look: Look, serving: Node, script: list[int], scheme: str
) -> None:
    async with (
        serving(Reader(script)) as address,
        look(address, color_scheme=scheme, reduced_motion="reduce") as page,
    ):
        await spoken(page)
        await page.get_by_role("button", name="Key").click()
        await page.evaluate(AXE_SCRIPT)
        found = await page.evaluate("rules => axe.run({runOnly: rules})", RULES)
        assert [_told(violation) for violation in found["violations"]] == []
        assert len(found["passes"]) > 25
        colours = await page.evaluate(
            """names => {
              const root = getComputedStyle(document.documentElement);
              const value = (name) => root.getPropertyValue("--" + name).trim();
              return Object.fromEntries(names.map((name) => [name, value(name)]));
            }""",
            [*ON_PAPER, "paper", "surface", "wash", "on-accent", "edge"],
        )
    # Text in SVG is beyond axe, so the inks are held against the papers too.
    for ink, paper in itertools.product(ON_PAPER, ("paper", "surface")):
        assert contrast(colours[ink], colours[paper]) >= TEXT_CONTRAST, (ink, paper)
    assert contrast(colours["on-accent"], colours["accent"]) >= TEXT_CONTRAST
    assert contrast(colours["soft"], colours["wash"]) >= TEXT_CONTRAST
    assert contrast(colours["edge"], colours["surface"]) >= LINE_CONTRAST


def _told(violation: dict[str, Any]) -> str:
    return f"{violation['id']}: {[node['html'][:200] for node in violation['nodes']]}"


def contrast(one: str, other: str) -> float:
    """The ratio of two colours #rrggbb, as WCAG defines it."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


async def test_contrast_of_known_pairs() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


async def test_light_is_light_dark_is_dark_and_the_wave_is_drawn_in_both(
    look: Look, serving: Node, script: list[int]
) -> None:
    async with serving(Reader(script)) as address:
        for scheme, ink in (("light", (0x0B, 0x6B, 0x5B)), ("dark", (0x62, 0xD0, 0xB9))):
            async with look(address, color_scheme=scheme) as page:
                blank = (await pixels(page.locator("body")) == ink).all(-1).sum()
                await spoken(page)
                whole = await pixels(page.locator("body"))
                wave = (await pixels(page.locator("#wave")) == ink).all(-1)
            assert (whole.mean() > 220) == (scheme == "light")
            assert (whole.mean() < 50) == (scheme == "dark")
            assert 1000 < wave.sum() < wave.size / 4
            assert wave.any(0).sum() > 40  # many columns, not one block
            assert (whole == ink).all(-1).sum() > blank + 1000


async def pixels(locator: Any) -> Any:
    """What is seen of an element, shape (height, width, 3)."""
    shot = Image.open(io.BytesIO(await locator.screenshot())).convert("RGB")
    return np.asarray(shot)


async def test_nothing_is_wider_than_the_screen(
    look: Look, serving: Node, script: list[int]
) -> None:
    async with serving(Reader(script)) as address, look(address) as page:
        await spoken(page)
        await page.get_by_role("button", name="Key").click()
        for width in (320, 360, 768, 1280):
            await page.set_viewport_size({"width": width, "height": 740})
            assert await page.evaluate(TOO_WIDE) == []
            assert await page.evaluate("document.documentElement.scrollWidth") == width
