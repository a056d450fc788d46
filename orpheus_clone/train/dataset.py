"""A prepared corpus as rows of token ids, in an order that a seed fixes.

Rows are whole: one that is over the sequence limit was rejected by prepare and is an error here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from orpheus_clone import models, tokens
from orpheus_clone.errors import ArtifactError, TokenError
from orpheus_clone.layout import PreparedDir
from orpheus_clone.manifest import Split
from orpheus_clone.models import BaseModel
from orpheus_clone.tokens import TrainingRow


def read_rows(data: PreparedDir, split: Split, voice: str, base: BaseModel) -> list[TrainingRow]:
    """All rows of a split; ArtifactError where the directory is not what prepare wrote."""
    from datasets import load_from_disk

    try:
        clips: Any = load_from_disk(str(data.dataset))[split]
    except (OSError, KeyError, ValueError) as error:
        raise ArtifactError(f"{data.dataset}: is not a prepared dataset ({error})") from None
    tokenizer = base.tokenizer()
    rows = []
    for clip in clips:
        try:
            prompt = models.prompt_ids(tokenizer, voice, clip["text"], base.tags, base.language)
            codes = np.asarray(clip["codes"], np.int64).reshape(-1, tokens.FRAME)
            rows.append(tokens.training_row(prompt, codes))
        except (TokenError, ValueError) as error:
            raise ArtifactError(
                f"{data.dataset}: clip {clip['id']}: {error}; run prepare again"
            ) from None
    return rows


def batches(count: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Row numbers of each batch of an epoch; a permutation of all rows, the last batch shorter."""
    order = np.random.default_rng([seed, epoch]).permutation(count).tolist()
    return [order[i : i + batch_size] for i in range(0, count, batch_size)]


def loss_tokens(rows: Sequence[TrainingRow]) -> int:
    """How many labels of these rows take a loss; the first id of a row is never predicted."""
    return sum(label != tokens.IGNORED for row in rows for label in row.labels[1:])
