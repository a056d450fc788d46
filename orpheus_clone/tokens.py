"""Orpheus's token layout: SNAC codes to token ids and back, prompts, training rows.

A frame is 7 tokens, 2048 samples at 24 kHz, 85.33 ms. SNAC's three codebooks run at 1, 2 and 4
codes a frame, and Orpheus lays them out depth first, each slot in a range of ids of its own:

    slot     0      1       2       3       4         5       6
    code     c0[i]  c1[2i]  c2[4i]  c2[4i+1] c1[2i+1] c2[4i+2] c2[4i+3]
    id       AUDIO_BASE + slot * 4096 + code

A row of training data, and what a model is asked to go on from:

    [128259] [128000 text…] [128009] [128260] [128261] [128257] | 7 ids a frame … [128258] [128262]
    └──────────────────────── prompt ────────────────────────┘   └── what the voice learns ──┘

Every function is total: it returns a whole legal sequence or raises TokenError; nothing is
dropped, clamped or guessed. numpy only. Source of the ids: the Orpheus-3B tokenizer, where
`<custom_token_N>` is 128256 + N.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orpheus_clone.errors import TokenError

SAMPLE_RATE = 24_000
FRAME_SAMPLES = 2_048
FRAME = 7
CODEBOOK = 4_096
REAL_TIME_RATE = FRAME * SAMPLE_RATE / FRAME_SAMPLES
"""Tokens a second that keep one stream in real time: 82.03125."""

VOCABULARY = 156_940
BEGIN_OF_TEXT = 128_000
END_OF_TEXT = 128_009
START_OF_SPEECH = 128_257
END_OF_SPEECH = 128_258
START_OF_HUMAN = 128_259
END_OF_HUMAN = 128_260
START_OF_AI = 128_261
END_OF_AI = 128_262
PAD = 128_263
AUDIO_BASE = 128_266
AUDIO_END = AUDIO_BASE + FRAME * CODEBOOK
"""One past the last audio id, 156938."""

PROMPT_HEAD = (START_OF_HUMAN,)
PROMPT_TAIL = (END_OF_TEXT, END_OF_HUMAN, START_OF_AI, START_OF_SPEECH)
IGNORED = -100
"""The label that cross-entropy ignores (PyTorch's default `ignore_index`)."""

Codes = NDArray[np.int64]
"""Codes in frame order: shape (frames, 7), each 0..4095, columns are the slots."""


def slot_ids(slot: int) -> range:
    """The 4096 token ids that may stand in `slot` (0..6)."""
    if not 0 <= slot < FRAME:
        raise TokenError(f"slot {slot} does not exist; a frame has slots 0 to {FRAME - 1}")
    start = AUDIO_BASE + slot * CODEBOOK
    return range(start, start + CODEBOOK)


def interleave(codebooks: Sequence[NDArray[np.integer]]) -> Codes:
    """SNAC's three codebooks, of n, 2n and 4n codes, as (n, 7) in Orpheus's order."""
    if len(codebooks) != 3:
        raise TokenError(f"SNAC 24 kHz has 3 codebooks, got {len(codebooks)}")
    coarse, middle, fine = (np.asarray(book, dtype=np.int64).reshape(-1) for book in codebooks)
    n = len(coarse)
    if len(middle) != 2 * n or len(fine) != 4 * n:
        raise TokenError(
            f"codebooks of {n}, {len(middle)}, {len(fine)} codes are not 1 : 2 : 4 of whole frames"
        )
    m, f = middle.reshape(n, 2), fine.reshape(n, 4)
    frames = np.stack([coarse, m[:, 0], f[:, 0], f[:, 1], m[:, 1], f[:, 2], f[:, 3]], axis=1)
    return checked_codes(frames)


def deinterleave(codes: Codes) -> tuple[Codes, Codes, Codes]:
    """The inverse of `interleave`: (n, 7) to codebooks of n, 2n and 4n codes."""
    frames = checked_codes(codes)
    return (
        frames[:, 0].copy(),
        frames[:, [1, 4]].reshape(-1),
        frames[:, [2, 3, 5, 6]].reshape(-1),
    )


def checked_codes(codes: NDArray[np.integer]) -> Codes:
    """`codes` as int64 of shape (frames, 7), or TokenError naming the first bad one."""
    frames = np.asarray(codes, dtype=np.int64)
    if frames.ndim != 2 or frames.shape[1] != FRAME:
        raise TokenError(f"codes have shape {frames.shape}, expected (frames, {FRAME})")
    bad = np.argwhere((frames < 0) | (frames >= CODEBOOK))
    if len(bad):
        frame, slot = bad[0]
        raise TokenError(
            f"frame {frame} slot {slot} holds code {frames[frame, slot]}, "
            f"outside 0 to {CODEBOOK - 1}"
        )
    return frames


def codes_to_tokens(codes: Codes) -> list[int]:
    """(frames, 7) codes to 7 * frames token ids."""
    offsets = AUDIO_BASE + np.arange(FRAME) * CODEBOOK
    tokens: list[int] = (checked_codes(codes) + offsets).reshape(-1).tolist()
    return tokens


def tokens_to_codes(tokens: Sequence[int]) -> Codes:
    """7 * frames token ids to (frames, 7) codes; a partial frame or a foreign id is an error."""
    if len(tokens) % FRAME:
        raise TokenError(
            f"{len(tokens)} audio tokens are not whole frames of {FRAME}: "
            f"{len(tokens) % FRAME} left over"
        )
    ids = np.asarray(tokens, dtype=np.int64).reshape(-1, FRAME)
    codes = ids - (AUDIO_BASE + np.arange(FRAME) * CODEBOOK)
    bad = np.argwhere((codes < 0) | (codes >= CODEBOOK))
    if len(bad):
        frame, slot = bad[0]
        raise TokenError(
            f"token {frame * FRAME + slot} is {ids[frame, slot]}, outside the range of slot {slot}"
        )
    return codes


def prompt(text_ids: Sequence[int]) -> list[int]:
    """What the model goes on from, given the ids of "voice: text".

    `text_ids` is what the tokenizer returned, which begins with BEGIN_OF_TEXT by itself. A second
    one makes voices speak their own name, and any other control id lets a text write the dialogue.
    """
    if not text_ids or text_ids[0] != BEGIN_OF_TEXT:
        raise TokenError(
            f"the tokenized text begins with {text_ids[0] if text_ids else 'nothing'}, "
            f"not with {BEGIN_OF_TEXT}; is this Orpheus's tokenizer?"
        )
    for i, token in enumerate(text_ids[1:], start=1):
        if not 0 <= token < BEGIN_OF_TEXT:
            raise TokenError(f"text token {i} is {token}, a control id that no text may contain")
    return [*PROMPT_HEAD, *text_ids, *PROMPT_TAIL]


@dataclass(frozen=True)
class TrainingRow:
    """One clip as the model sees it; `labels` is IGNORED wherever no loss is taken."""

    input_ids: list[int]
    labels: list[int]

    def __post_init__(self) -> None:
        if len(self.input_ids) != len(self.labels):
            raise TokenError(f"{len(self.input_ids)} ids have {len(self.labels)} labels")


def training_row(prompt_ids: Sequence[int], codes: Codes) -> TrainingRow:
    """Prompt, audio, end of speech, end of turn; loss on the audio and the end of speech alone.

    END_OF_AI closes the row as upstream's does, but generation has stopped before it, so it
    teaches nothing.
    """
    if not len(codes):
        raise TokenError("a training row needs at least one frame of audio")
    spoken = [*codes_to_tokens(codes), END_OF_SPEECH]
    return TrainingRow(
        input_ids=[*prompt_ids, *spoken, END_OF_AI],
        labels=[IGNORED] * len(prompt_ids) + spoken + [IGNORED],
    )


def row_length(prompt_length: int, frames: int) -> int:
    """How many ids `training_row` will have."""
    return prompt_length + frames * FRAME + 2
