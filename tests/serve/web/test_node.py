"""The page of a node as people start it: a process of its own, nano, a published voice."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from tests.nodes import RunningNode
from tests.serve.web.conftest import Look

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_clone_is_heard_from_a_real_node(look: Look, node: RunningNode, jack: str) -> None:
    async with look(urlsplit(node.url).netloc) as page:
        await page.get_by_role("radio", name=jack).check()
        await page.get_by_role("button", name="Speak").click()
        said = re.compile(f"{jack} has spoken: 0\\.[345] s of sound")
        await expect(page.locator("#status")).to_contain_text(said)
        assert await page.evaluate("window.heard") > 0
        await expect(page.locator("#ring .voice.chosen text")).to_have_text(jack)
