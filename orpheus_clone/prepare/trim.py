"""Cut a recording to its speech, with room tone around it, to whole frames.

    recording   ~~~~~~~~~~~~~~speech speech~~~~~~~~~~~~~~~~~~~
    clip                  [50]speech speech[100   ]+ up to one frame
                          └ head ┘               └ tail ┘ room tone, to a multiple of 2048 samples

The head is what a model learns to wait before it speaks, and the tail what it learns to add. What
the recording lacks is filled with its own room tone, mirrored, or with faint noise where it has
none: never with digital zeros, which become a token attractor.
"""

from dataclasses import dataclass

import numpy as np

from orpheus_clone import silence
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import NoSpeechError
from orpheus_clone.quality import zero_samples
from orpheus_clone.silence import SpeechSpan
from orpheus_clone.tokens import FRAME_SAMPLES, SAMPLE_RATE

FAINT_DBFS = -66.0
"""Level of the noise that stands in for room tone where a recording has none."""
LIFTED_DBFS = -20.0
MOST_LIFT_DB = 30.0
"""So that nothing below -80 dBFS is taken for speech."""
LEAST_RANGE_DB = 15.0
"""Between the loud and the quiet tenths of a clip with speech in it; room tone has 2 or 3."""
_FADE = 240
_SHORTEST_TONE_MS = 20.0


@dataclass(frozen=True)
class Trimmed:
    """A clip of whole frames, and where speech lay in the recording."""

    samples: Waveform
    source: SpeechSpan


def trim(recording: Waveform, head_ms: float, tail_ms: float) -> Trimmed:
    """Trim a 24 kHz recording of shape (samples,); NoSpeechError where nobody speaks."""
    span = _span(recording)
    start = _samples(span.onset_ms) - _samples(head_ms)
    end = _samples(span.offset_ms) + _samples(tail_ms)
    end += -(end - start) % FRAME_SAMPLES
    tone = _room_tone(recording, span)
    pieces = [
        _fill(tone, max(0, -start)),
        recording[max(0, start) : end],
        _fill(tone, max(0, end - len(recording))),
    ]
    return Trimmed(np.concatenate(pieces), span)


def shorten_pauses(recording: Waveform, longest_s: float) -> Waveform:
    """The recording with every pause between words at most `longest_s` long.

    What is left out is the middle of the pause; its two sides fade into each other.
    """
    lifted = recording * np.float32(_lift(recording))
    kept, at = [], 0
    for start_ms, end_ms in silence.pauses(lifted, SAMPLE_RATE, 1000 * longest_s):
        middle_ms, half_ms = (start_ms + end_ms) / 2, 500 * longest_s
        surplus_ms = (end_ms - start_ms) / 2 - half_ms
        cut, on = _samples(middle_ms - surplus_ms), _samples(middle_ms + surplus_ms)
        kept.append(recording[at:cut])
        at = on
    return _joined([*kept, recording[at:]])


def _joined(stretches: list[Waveform]) -> Waveform:
    """One after the other, each fading into the next over `_FADE` samples."""
    whole = stretches[0]
    ramp = np.linspace(0, 1, _FADE, dtype=np.float32)
    for stretch in stretches[1:]:
        seam = whole[-_FADE:] * (1 - ramp) + stretch[:_FADE] * ramp
        whole = np.concatenate([whole[:-_FADE], seam, stretch[_FADE:]])
    return whole


def spoken_part(recording: Waveform) -> Waveform:
    """From the onset of the speech to its end; NoSpeechError where nobody speaks."""
    span = _span(recording)
    return recording[_samples(span.onset_ms) : _samples(span.offset_ms)]


def span_of_clip(clip: Waveform) -> SpeechSpan:
    """Where speech lies in what `trim` made, however quiet it is: that somebody speaks is known."""
    loud = float(np.percentile(silence.levels_dbfs(clip, SAMPLE_RATE), 95))
    return silence.speech_span(clip * np.float32(10 ** ((LIFTED_DBFS - loud) / 20)), SAMPLE_RATE)


def _span(recording: Waveform) -> SpeechSpan:
    """Where speech lies, found at the level that silence.py expects of speech."""
    if not len(recording):
        raise NoSpeechError("the clip has no samples")
    return silence.speech_span(recording * np.float32(_lift(recording)), SAMPLE_RATE)


def _lift(recording: Waveform) -> float:
    """What brings a quiet memo to the level of speech; 1 for room tone alone, which is even."""
    db = silence.levels_dbfs(recording, SAMPLE_RATE)
    quiet, loud = np.percentile(db, (10, 95))
    if loud - quiet < LEAST_RANGE_DB:
        return 1.0
    return float(10 ** (min(max(0.0, LIFTED_DBFS - loud), MOST_LIFT_DB) / 20))


def _samples(ms: float) -> int:
    return round(ms * SAMPLE_RATE / 1000)


def _room_tone(recording: Waveform, span: SpeechSpan) -> Waveform:
    """The longer of the silences around the speech, or faint noise where there is none."""
    head = recording[: _samples(span.onset_ms)]
    tail = recording[_samples(span.offset_ms) :]
    longer = head if len(head) >= len(tail) else tail
    if len(longer) >= _samples(_SHORTEST_TONE_MS) and zero_samples(longer) == 0:
        return longer
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE // 4)
    return (noise * 10 ** (FAINT_DBFS / 20)).astype(np.float32)


def _fill(tone: Waveform, n: int) -> Waveform:
    """`n` samples of `tone`, there and back again so that it has no seams."""
    if n == 0:
        return np.zeros(0, np.float32)
    there_and_back = np.concatenate([tone, tone[::-1]])
    return np.resize(there_and_back, n).astype(np.float32)
