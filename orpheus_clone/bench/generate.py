"""generate: tokens a second of the vllm engine over the hf engine, one stream and four."""

import asyncio
import time
from contextlib import aclosing

from orpheus_clone import models
from orpheus_clone.bench import Result
from orpheus_clone.engine import open_engine
from orpheus_clone.engine.base import Engine, Request
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling

FRAMES = 24
STREAMS = (1, 4)
ROUNDS = 3
TEXT = "This sentence is spoken by both engines, one after the other."


def run() -> Result:
    """Best of some rounds, alternating; keys: vllm_over_hf_1, vllm_over_hf_4."""
    return asyncio.run(_run(models.locate("nano")))


async def _run(base: BaseModel) -> Result:
    engines: dict[str, Engine] = {name: open_engine(name, base) for name in ("hf", "vllm")}
    try:
        prompt = models.prompt_ids(base.tokenizer(), base.voices[0], TEXT, base.tags)
        rates = {(name, n): 0.0 for name in engines for n in STREAMS}
        for engine in engines.values():
            await _rate(engine, prompt, 1)  # the first forward pass is slow
        for _ in range(ROUNDS):
            for name, n in rates:
                rates[name, n] = max(rates[name, n], await _rate(engines[name], prompt, n))
    finally:
        for engine in engines.values():
            await engine.close()
    rows = [
        {"engine": name, "streams": n, "tokens_per_second_per_stream": round(rate, 1)}
        for (name, n), rate in rates.items()
    ]
    line: dict[str, object] = {
        f"vllm_over_hf_{n}": round(rates["vllm", n] / rates["hf", n], 2) for n in STREAMS
    }
    hardware = engines["vllm"].info.hardware
    return Result(rows, {"bench": "generate", **line, "model": "nano", "hardware": hardware})


async def _rate(engine: Engine, prompt: list[int], streams: int) -> float:
    """Tokens a second of each stream."""

    async def one(seed: int) -> int:
        count = 0
        request = Request(prompt, Sampling(), FRAMES, seed=seed)
        async with aclosing(engine.generate(request)) as deltas:
            async for delta in deltas:
                count += len(delta.tokens)
        return count

    began = time.perf_counter()
    counts = await asyncio.gather(*[one(seed) for seed in range(streams)])
    return sum(counts) / streams / (time.perf_counter() - began)
