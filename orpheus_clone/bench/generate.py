"""generate: tokens a second through the audio head against the stock head, 1 and 8 streams.

Both are vllm engines in this run, taking turns, with the sampling that is shipped. Also how long
their greedy tokens agree, always in float32 and until a near-tie flips in bf16; and what the slot
mask and the repetition penalty cost a step at either width.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict
from itertools import takewhile

from orpheus_clone import models, optimised, tokens
from orpheus_clone.bench import Result
from orpheus_clone.bench.decode import best_of
from orpheus_clone.engine import open_engine
from orpheus_clone.engine.base import Engine, Request
from orpheus_clone.engine.penalty import penalise, recently_said
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling

FRAMES = 12
STREAMS = (1, 8)
ROUNDS = 2
TEXT = "This sentence is spoken by both engines, one after the other."


def run() -> Result:
    """Best of some rounds, alternating; keys: audio_head_speedup_1, _8, greedy_agreement."""
    return asyncio.run(_run(models.locate("nano")))


async def _run(base: BaseModel) -> Result:
    engines: dict[str, Engine] = {"audio head": open_engine("vllm", base)}
    from orpheus_clone.engine.vllm import VllmEngine

    try:
        engines["stock"] = VllmEngine(base, max_adapters=4, max_rank=16)
        prompt = models.prompt_ids(base.tokenizer(), base.voices[0], TEXT, base.tags, base.language)
        rates = {(name, n): 0.0 for name in engines for n in STREAMS}
        for engine in engines.values():
            await _rate(engine, prompt, 1)  # the first forward pass is slow
        for _ in range(ROUNDS):
            for name, n in rates:
                rates[name, n] = max(rates[name, n], await _rate(engines[name], prompt, n))
        agreement = await _agreement(engines, prompt)
    finally:
        for engine in engines.values():
            await engine.close()
    rows = [
        {
            "head": name,
            "streams": n,
            "tokens_per_second_per_stream": round(rate, 1),
            "mask_and_penalty_ms_per_step": round(1000 * _control_seconds(name, n), 3),
        }
        for (name, n), rate in rates.items()
    ]
    line: dict[str, object] = {
        f"audio_head_speedup_{n}": round(rates["audio head", n] / rates["stock", n], 2)
        for n in STREAMS
    }
    line |= {"greedy_agreement": round(agreement, 3), **asdict(engines["audio head"].info)}
    return Result(rows, {"bench": "generate", **line, "model": "nano"})


async def _rate(engine: Engine, prompt: list[int], streams: int) -> float:
    """Tokens a second of each stream."""
    requests = [Request(prompt, Sampling(), FRAMES, seed=seed) for seed in range(streams)]
    began = time.perf_counter()
    spoken = await asyncio.gather(*[_tokens(engine, request) for request in requests])
    return sum(map(len, spoken)) / streams / (time.perf_counter() - began)


async def _agreement(engines: Mapping[str, Engine], prompt: list[int]) -> float:
    """Share of the stock head's greedy tokens that ours repeats before the first that differs."""
    request = Request(prompt, Sampling(temperature=0.0, repetition_penalty=1.0), FRAMES)
    ours, stock = [await _tokens(engines[name], request) for name in ("audio head", "stock")]
    pairs = zip(ours, stock, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)) / len(stock)


async def _tokens(engine: Engine, request: Request) -> list[int]:
    async with aclosing(engine.generate(request)) as deltas:
        return [token async for delta in deltas for token in delta.tokens]


def _control_seconds(head: str, streams: int) -> float:
    """What masking and penalising the logits of one step take, alone."""
    return best_of(20, _control(head, streams))[0]


def _control(head: str, streams: int) -> Callable[[], None]:
    import torch

    from orpheus_clone.engine.slot_mask import forbidden, mask_index

    is_short = head == "audio head"
    first, width = (optimised.FIRST, optimised.WIDTH) if is_short else (0, tokens.VOCABULARY)
    table = forbidden(first, width, torch.device("cpu"))
    logits = torch.randn(streams, width)
    said = [
        tokens.slot_ids(position % tokens.FRAME)[0] - first for position in range(60 * tokens.FRAME)
    ]
    masks = torch.full((streams,), mask_index(len(said)))

    def control() -> None:
        penalise(logits, [recently_said(said)] * streams, [1.1] * streams)
        logits.masked_fill_(table[masks], -torch.inf)

    return control
