"""One stream's tokens to samples, as early and as exactly as its listener's buffer allows.

A frame's sound depends on the three frames after it. Decoded at once, as if the stream ended with
it, it is there 256 ms sooner and wrong towards its end. So a frame is decoded

    the first           at once: nobody hears anything until then
    any other           when the three after it are known, or when the listener is about to run
                        out of sound, whichever is earlier, with whatever has come by then

    tokens  ──▶ frames known ──▶ Window ──▶ (codec) ──▶ samples, joined to those before
                       └ waits while what was handed out has not been played

What has come counts to the token: of a frame's four latents (21 ms each) the first is known with
its third token, the second with its fourth, the third with its sixth, the last with its seventh.

The last `JOIN` samples of a frame are kept back, and fade into the next window's estimate of them,
so that no join clicks. Samples out are frames x 2048 in all.

A stream is as many utterances as are spoken one after the other. `begin` says where one starts, and
may drop the silence before its speech; `pause` says that what has come of it is all.
"""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from orpheus_clone import tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.codec.snac import Codec
from orpheus_clone.codec.window import FRAMES, JOIN, LATENTS, LEFT_FRAMES, RIGHT_FRAMES, Window
from orpheus_clone.silence import HeadTrim

FRAME_S = tokens.FRAME_SAMPLES / tokens.SAMPLE_RATE
MARGIN_S = 0.01
"""Sound that the listener should still have when the next comes: for decoding it, and for wakes
that are late."""

_KNOWN_LATENTS = (0, 0, 0, 1, 2, 2, 3)
"""Of a frame, by how many of its tokens have come: slots 0, 1 and 4 are of 4, 2 and 2 latents."""

_FADE_IN = (np.arange(JOIN, dtype=np.float32) + 0.5) / JOIN


class StreamDecoder:
    """The state of one stream; not for two at once. It computes nothing itself."""

    def __init__(
        self, *, is_exact: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`is_exact` waits for three frames of look-ahead always; `clock` gives seconds."""
        self._is_exact = is_exact
        self._clock = clock
        self._partial: list[int] = []
        self._codes = np.zeros((0, tokens.FRAME), np.int64)
        """The known frames from `_first` on."""
        self._first = 0
        self._next = 0
        """The frame to be decoded next."""
        self._is_whole = False
        """No frame follows, as far as is known."""
        self._is_finished = False
        self._held = np.zeros(0, np.float32)
        self._trim: HeadTrim | None = None
        self._plays_until = -math.inf
        """When the listener will have heard what was handed out, and what is being decoded."""
        self._arrived = math.inf
        self._interval = FRAME_S
        """Seconds from frame to frame, as they have been coming."""

    def begin(self, trim: HeadTrim | None = None) -> None:
        """An utterance follows, of which `trim` lets through what is to be heard."""
        self._trim = trim
        self._interval = FRAME_S
        self._arrived = math.inf

    def push(self, new_tokens: Sequence[int]) -> None:
        """Take tokens as they come; TokenError for one in the wrong slot."""
        self._is_whole = False
        self._partial.extend(new_tokens)
        whole = len(self._partial) - len(self._partial) % tokens.FRAME
        if not whole:
            return
        codes = tokens.tokens_to_codes(self._partial[:whole])
        del self._partial[:whole]
        now = self._clock()
        if self._arrived < now:
            self._interval += 0.3 * ((now - self._arrived) / len(codes) - self._interval)
        self._arrived = now
        self._codes = np.concatenate([self._codes, codes])

    def pause(self) -> None:
        """Say that the utterance is over; TokenError if it ended inside a frame."""
        tokens.tokens_to_codes(self._partial)
        self._is_whole = True

    def cut(self) -> None:
        """Forget the tokens of a frame that is not whole: no more are wanted."""
        self._partial.clear()

    def finish(self) -> None:
        """Say that no token follows at all; TokenError if the stream ended inside a frame."""
        self.pause()
        self._is_finished = True

    def due(self) -> list[Window]:
        """The windows to decode now, in order; each is handed out once."""
        windows = []
        while self._next < self._known and self._wait_s() <= 0:
            windows.append(self._window())
            # The first frame leaves without the samples that are kept back.
            self._owe(tokens.FRAME_SAMPLES - JOIN * (self._next == 0))
            self._next += 1
        return windows

    def wait_s(self) -> float | None:
        """Seconds until `due` has more without another token; None if it never will."""
        return self._wait_s() if self._next < self._known else None

    def joined(self, decoded: Sequence[Waveform]) -> Waveform:
        """The samples that `due`'s windows made ready, given what they decoded to."""
        parts = []
        for samples in decoded:
            head, body = samples[:JOIN], samples[JOIN:]
            if len(self._held):
                parts.append(self._held + _FADE_IN * (head - self._held))
            parts.append(body[:-JOIN])
            self._held = body[-JOIN:]
        if self._is_finished and self._next == self._known:
            parts.append(self._held)
            self._held = np.zeros(0, np.float32)
        ready = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        if self._trim is None:
            return ready
        heard = self._trim.push(ready)
        if self._is_whole and self._next == self._known:
            heard = np.concatenate([heard, self._trim.finish()])
        self._owe(len(heard) - len(ready))
        return heard

    @property
    def _known(self) -> int:
        return self._first + len(self._codes)

    def _wait_s(self) -> float:
        """Seconds that the next frame may still wait for the frames after it."""
        if self._is_whole or self._next + RIGHT_FRAMES < self._known:
            return 0.0
        if self._is_exact:
            return math.inf
        last_moment = self._plays_until - MARGIN_S
        # Worth it only if a latent comes in that time; else the frame is late and no better.
        comes = self._arrived + self._interval * 3 / tokens.FRAME
        return last_moment - self._clock() if comes < last_moment else 0.0

    def _owe(self, samples: int) -> None:
        """So many samples more, or fewer, are on their way to the listener."""
        now = self._clock() if samples > 0 else -math.inf
        self._plays_until = max(self._plays_until, now) + samples / tokens.SAMPLE_RATE

    def _window(self) -> Window:
        before = min(LEFT_FRAMES, self._next)
        after = min(RIGHT_FRAMES, self._known - self._next - 1)
        codes = np.zeros((FRAMES, tokens.FRAME), np.int64)
        at, end = self._next - self._first, LEFT_FRAMES + 1 + after
        codes[LEFT_FRAMES - before : end] = self._codes[at - before : at + 1 + after]
        latents = after * LATENTS
        if after < RIGHT_FRAMES and self._partial:
            padding = [tokens.slot_ids(slot)[0] for slot in range(len(self._partial), tokens.FRAME)]
            codes[end] = tokens.tokens_to_codes([*self._partial, *padding])[0]
            latents += _KNOWN_LATENTS[len(self._partial)]
        drop = max(0, at + 1 - LEFT_FRAMES)
        self._codes, self._first = self._codes[drop:], self._first + drop
        return Window(codes, before, latents)


def decoded(codec: Codec, stream: StreamDecoder) -> Waveform:
    """What is due of `stream`, decoded here and now."""
    return stream.joined(codec.decode_windows(stream.due()))
