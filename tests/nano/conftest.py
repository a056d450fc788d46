"""A corpus of nano's own words."""

import pytest
import spoken as recipe

from orpheus_clone.layout import PreparedDir
from orpheus_clone.models import BaseModel

CLIPS = 30


@pytest.fixture(scope="session")
def spoken(base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> PreparedDir:
    """Not to be changed."""
    corpus = PreparedDir(tmp_path_factory.mktemp("spoken"))
    recipe.write(corpus, base, "ada", recipe.said("ada", CLIPS))
    return corpus
