"""The judges' models, laid out once a session in its own cache."""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from orpheus_clone import models

SCRIPT = Path(__file__).parents[1] / "recipes" / "fetch_judges.py"


@cache
def recipe() -> ModuleType:
    """recipes/fetch_judges.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("fetch_judges", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


def whisper_dir() -> Path:
    """A directory with whisper-base, as `asr.load` takes it; not to be changed."""
    return Path(recipe().lay_out(recipe().WHISPER, models.cache_dir() / "judges"))


def ecapa_file() -> Path:
    """The weights of ECAPA-TDNN, as `speaker.load` takes them; not to be changed."""
    return Path(recipe().lay_out(recipe().ECAPA, models.cache_dir() / "judges"))
