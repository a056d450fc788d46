"""The ring on the page: who is there, who speaks what, and what becomes of it."""

import re
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from orpheus_clone.cluster.membership import Membership
from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.cluster.state import Load, NodeState, Pool
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.store import open_store
from tests.bundles import made
from tests.serve.web.conftest import Look, Node, Reader

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def joined(
    registry: MemoryRegistry, base: BaseModel, name: str, load: Load, stack: AsyncExitStack
) -> Membership:
    """A node that is ready, and says so every second until the end."""
    me = NodeState(name, f"http://{name}:8000", Pool(base.digest, base.language))
    member = Membership(registry, me, lambda: load)
    await member.join()
    stack.push_async_callback(member.leave)
    await member.become_ready()
    return member


def publish(folder: Path, run: RunDir, voice: str) -> str:
    """A bundle that the node's store holds under its name."""
    store = open_store(str(folder / "store"))
    gates = [
        {"name": "word error rate", "value": 0.04, "unit": "", "status": "passed"},
        {"name": "first speech P50", "value": 212.4, "unit": "ms", "status": "passed"},
        {"name": "similarity", "value": None, "unit": "", "status": "not measurable"},
    ]
    bundle = store.add(made(run, folder / "made", voice, gates=gates))
    store.move(store.see(voice), "publish", store.pointer(voice).published(bundle.name))
    return bundle.name


def ring(page: Page, node: str) -> str:
    return f'#ring .node[data-node="{node}"]'


async def test_two_nodes_their_load_and_who_speaks_a_voice_are_drawn_and_followed(
    look: Look, serving: Node, script: list[int], base: BaseModel, run_dir: RunDir, tmp_path: Path
) -> None:
    registry = MemoryRegistry()
    jack = publish(tmp_path, run_dir, "jack")
    async with AsyncExitStack() as stack:
        busy = Load(sessions=3, slots=4, resident={jack: 3})
        other = await joined(registry, base, "node-b", busy, stack)
        address = await stack.enter_async_context(serving(Reader(script), registry=registry))
        page = await stack.enter_async_context(look(address))
        note = page.locator("#fleet-note")
        await expect(note).to_contain_text("2 nodes, 2 ready; 3 sessions, one cloned voice")
        assert await page.locator("#ring .node").count() == 2
        await expect(page.locator(f"{ring(page, 'node-b')} .count")).to_have_text("3")
        await expect(page.locator(f"{ring(page, address)} .line1")).to_have_text("ready · this one")
        arrow = page.locator('#ring .arrow[data-voice=jack][data-node="node-b"]')
        await expect(arrow).to_have_class(re.compile("loaded"))
        row = page.get_by_role("row", name="node-b")
        await expect(row).to_contain_text("1 of 4")
        await page.get_by_role("radio", name="jack").check()
        await expect(page.locator("#ring .voice.chosen")).to_have_text("jackjack")
        await expect(arrow).to_have_class(re.compile("chosen"))
        await other.drain()
        await expect(row).to_contain_text("draining")
        await other.leave()
        await expect(note).to_contain_text("One node, ready")
        assert await page.locator("#ring .node").count() == 1


async def test_a_voice_shows_what_was_proved_and_one_that_is_broken_cannot_be_chosen(
    look: Look, serving: Node, script: list[int], run_dir: RunDir, tmp_path: Path
) -> None:
    publish(tmp_path, run_dir, "jack")
    broken = publish(tmp_path, run_dir, "broken")
    (tmp_path / "store" / "bundles" / broken / "voice.json").write_text("{", encoding="utf-8")
    async with serving(Reader(script)) as address, look(address) as page:
        await page.get_by_role("radio", name="jack").check()
        card = page.locator(".card", has_text="jack")
        await expect(card).to_contain_text("WER 0.04")
        await expect(card).to_contain_text("first speech 212 ms")
        await expect(card).not_to_contain_text("similarity")
        await expect(page.locator("#about")).to_contain_text("no consent recorded")
        await expect(page.get_by_role("radio", name="broken")).to_be_disabled()
        await expect(page.locator(".card", has_text="broken")).to_contain_text("cannot be read")


async def test_the_node_that_speaks_is_marked(look: Look, serving: Node, script: list[int]) -> None:
    engine = Reader(script, left=12)
    async with serving(engine) as address, look(address) as page:
        node = page.locator(ring(page, address))
        await expect(node).not_to_have_class(re.compile("speaking"))
        await page.get_by_role("button", name="Speak").click()
        await expect(node).to_have_class(re.compile("speaking"))
        engine.let(100)
        await expect(page.locator("#status")).to_contain_text("has spoken")
        await expect(node).not_to_have_class(re.compile("speaking"))


async def test_a_large_fleet_of_two_languages_fits(
    look: Look, serving: Node, script: list[int], base: BaseModel
) -> None:
    registry = MemoryRegistry()
    async with AsyncExitStack() as stack:
        french = replace(base, language="fr")
        for i in range(13):
            await joined(registry, french if i % 2 else base, f"node-{i}", Load(slots=8), stack)
        address = await stack.enter_async_context(serving(Reader(script), registry=registry))
        page = await stack.enter_async_context(look(address))
        await expect(page.locator("#fleet-note")).to_contain_text("14 nodes, 14 ready")
        assert await page.locator("#ring .node").count() == 14
        boxes = await page.evaluate(
            """[...document.querySelectorAll("#ring .body")]
                 .map((circle) => circle.getBoundingClientRect().toJSON())"""
        )
        centres = [(box["x"], box["y"]) for box in boxes]
        size = boxes[0]["width"]
        apart = [
            max(abs(ax - bx), abs(ay - by))
            for i, (ax, ay) in enumerate(centres)
            for bx, by in centres[:i]
        ]
        assert min(apart) > size
