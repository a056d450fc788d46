"""generate: tokens a second of the vllm engine over the hf engine, one stream and four.

Also how long their greedy tokens agree: always in float32, and until a near-tie flips in bf16.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import asdict
from itertools import takewhile

from orpheus_clone import models
from orpheus_clone.bench import Result
from orpheus_clone.engine import open_engine
from orpheus_clone.engine.base import Engine, Request
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling

FRAMES = 12
STREAMS = (1, 4)
ROUNDS = 2
TEXT = "This sentence is spoken by both engines, one after the other."


def run() -> Result:
    """Best of some rounds, alternating; keys: vllm_over_hf_1, _4, greedy_agreement."""
    return asyncio.run(_run(models.locate("nano")))


async def _run(base: BaseModel) -> Result:
    import torch

    threads = torch.get_num_threads()
    engines: dict[str, Engine] = {name: open_engine(name, base) for name in ("hf", "vllm")}
    try:
        prompt = models.prompt_ids(base.tokenizer(), base.voices[0], TEXT, base.tags)
        rates = {(name, n): 0.0 for name in engines for n in STREAMS}
        for engine in engines.values():
            await _rate(engine, prompt, 1)  # the first forward pass is slow
        for _ in range(ROUNDS):
            for name, n in rates:
                # Each with the threads that it has alone: vllm's work is in its own process.
                torch.set_num_threads(threads if name == "hf" else 1)
                rates[name, n] = max(rates[name, n], await _rate(engines[name], prompt, n))
        agreement = await _agreement(engines, prompt)
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
    line |= {"greedy_agreement": round(agreement, 3), **asdict(engines["vllm"].info)}
    return Result(rows, {"bench": "generate", **line, "model": "nano"})


async def _rate(engine: Engine, prompt: list[int], streams: int) -> float:
    """Tokens a second of each stream."""
    requests = [Request(prompt, Sampling(), FRAMES, seed=seed) for seed in range(streams)]
    began = time.perf_counter()
    spoken = await asyncio.gather(*[_tokens(engine, request) for request in requests])
    return sum(map(len, spoken)) / streams / (time.perf_counter() - began)


async def _agreement(engines: Mapping[str, Engine], prompt: list[int]) -> float:
    """Share of the reference's greedy tokens that vllm repeats before the first that differs."""
    request = Request(prompt, Sampling(temperature=0.0, repetition_penalty=1.0), FRAMES)
    ours, reference = [await _tokens(engines[name], request) for name in ("vllm", "hf")]
    pairs = zip(ours, reference, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)) / len(reference)


async def _tokens(engine: Engine, request: Request) -> list[int]:
    async with aclosing(engine.generate(request)) as deltas:
        return [token async for delta in deltas for token in delta.tokens]
