"""An epoch's voice, heard as a caller would hear it: the fixed prompts, spoken with the live model.

Through `speech.Speaker` and the hf engine over the model in training, so the base is in memory
once. What speaks is the adapter as it was written, in the precision that is released. Prompts come
one after the other, each with its number as seed, and the codec waits for its look-ahead: so an
epoch sounds the same whenever it is asked.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from importlib.resources import files
from typing import Any

import numpy as np

from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.hf import HfEngine
from orpheus_clone.listening.hear import Ending, Spoken
from orpheus_clone.listening.reference import Reference
from orpheus_clone.models import BaseModel
from orpheus_clone.speech import Speaker, Voice
from orpheus_clone.tokens import SAMPLE_RATE

Progress = Callable[[int, int], None]


def prompt_set(count: int, base: BaseModel, reference: Reference) -> list[str]:
    """The first `count` of the fixed prompts, in which short and long, question and number mix.

    They are English; of a speaker of another language, what the held-out clips say. A base that
    cannot say everything brings its own.
    """
    if base.prompts:
        return list(base.prompts[:count])
    if reference.language != "en":
        return [clip.text for clip in reference.clips[:count]]
    text = (files("orpheus_clone.train") / "prompts.txt").read_text(encoding="utf-8")
    return text.splitlines()[:count]


async def speak_prompts(
    model: Any, base: BaseModel, voice: Voice, prompts: Sequence[str], progress: Progress
) -> list[Spoken]:
    """Every prompt through `voice.adapter`, loaded beside the one that `model` is learning."""
    engine = HfEngine(base, in_training=model)
    spoken: list[Spoken] = []
    with _own_random_numbers(str(model.device)):
        try:
            speaker = Speaker(engine, Codec(base.codec_path), base, is_exact=True)
            for seed, prompt in enumerate(prompts):
                progress(seed, len(prompts))
                spoken.append(await _speak(speaker, voice, prompt, seed))
            progress(len(prompts), len(prompts))
        finally:
            await engine.close()
    return spoken


async def _speak(speaker: Speaker, voice: Voice, prompt: str, seed: int) -> Spoken:
    import torch

    torch.manual_seed(seed)  # the codec's noise
    parts, dropped = [np.zeros(0, np.float32)], 0
    finish: Ending = "stop"
    async with aclosing(speaker.speak(prompt, voice, seed=seed)) as chunks:
        async for chunk in chunks:
            parts.append(chunk.samples)
            dropped += chunk.dropped
            # Of several utterances the one that did not stop tells.
            finish = chunk.finish if chunk.finish not in (None, "stop") else finish
    return Spoken(prompt, np.concatenate(parts), finish, 1000 * dropped / SAMPLE_RATE)


@contextmanager
def _own_random_numbers(device: str) -> Iterator[None]:
    """What is drawn in the block changes nothing outside it."""
    import torch

    with torch.random.fork_rng([device] if device.startswith("cuda") else []):
        yield
