"""say: one text to samples, through a node or on this machine."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from orpheus_clone import models, recipe
from orpheus_clone.audio import Waveform
from orpheus_clone.client import NodeClient
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine import EngineName, open_engine
from orpheus_clone.errors import RecipeError, UnknownVoice
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.speech import Speaker, Voice, voice_of_run


def through_node(text: str, voice: str, server: str, key: str | None) -> Waveform:
    """Samples of `text` that a node speaks, shape (samples,)."""
    pcm = b"".join(NodeClient(server, key).speak(text, voice))
    return (np.frombuffer(pcm, dtype="<i2") / 32768).astype(np.float32)


def base_of(run: Path | None) -> str | None:
    """The base model that a run was trained on."""
    return None if run is None else RunDir(run).stamp().base


def voice_of(run: Path | None) -> str:
    """The voice that a run has learnt; RecipeError where there is no run to tell."""
    if run is None:
        raise RecipeError("name the voice: --voice NAME; `orpheus-clone voices` lists a node's")
    return RunDir(run).stamp().voice


def check_is_known(voice: str, base: str, run: Path | None) -> None:
    """UnknownVoice for a stock voice that a known base has not, before gigabytes are fetched."""
    if run is None and base in models.KNOWN:
        _check_is_stock(voice, base, models.KNOWN[base].voices)


async def here(
    text: str,
    voice: str,
    run: Path | None,
    base: BaseModel,
    engine_name: EngineName,
    say: Callable[[str], None] = lambda _: None,
) -> Waveform:
    """Samples of `text` spoken on this machine, with a run's adapter or in a stock voice.

    `say` is told before anything that takes long.
    """
    speaking = _voice(voice, run, base)
    engine = open_engine(engine_name, base, say=say)
    try:
        speaker = Speaker(engine, Codec(base.codec_path), base)
        if speaking.adapter is not None:
            await engine.load(speaking.adapter)
        return await speaker.say(text, speaking)
    finally:
        await engine.close()


def _voice(name: str, run: Path | None, base: BaseModel) -> Voice:
    if run is None:
        _check_is_stock(name, base.name, base.voices)
        return Voice(name)
    directory = RunDir(run)
    found = voice_of_run(directory, recipe.load(directory.recipe).sampling)
    if found.name != name:
        raise UnknownVoice(f"{run} has learnt the voice {found.name!r}, not {name!r}")
    return found


def _check_is_stock(voice: str, base: str, stock: tuple[str, ...]) -> None:
    if voice not in stock:
        raise UnknownVoice(
            f"{base} has no stock voice {voice!r}, only {', '.join(stock)}; a clone is spoken with "
            "--run RUN_DIR or --server URL"
        )
