"""The stages between recordings and clips: decode, listen, cut, measure, judge, level, tokenize."""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from orpheus_clone import audio, manifest, models, text, tokens
from orpheus_clone.codec.snac import Codec
from orpheus_clone.errors import ArtifactError, RecipeError, TextError
from orpheus_clone.layout import PreparedDir
from orpheus_clone.manifest import Clip, Measured, Rejected
from orpheus_clone.prepare import check, gain
from orpheus_clone.prepare.encode import Encoded, clip_key, encode_all
from orpheus_clone.prepare.identity import Voices, identify
from orpheus_clone.prepare.judge import faults
from orpheus_clone.prepare.judges import Judges
from orpheus_clone.prepare.listen import listen
from orpheus_clone.prepare.measure import Measures, measure_all
from orpheus_clone.prepare.memory import Memory
from orpheus_clone.prepare.order import Order
from orpheus_clone.prepare.pieces import Piece, pieces
from orpheus_clone.prepare.source import decode
from orpheus_clone.prepare.transcripts import Recording
from orpheus_clone.prepare.trim import spoken_part
from orpheus_clone.recipe import Recipe

Progress = Callable[[str, int, int], None]
"""Told the stage, and how much of it is done, of how much."""


@dataclass(frozen=True)
class Made:
    """What the recordings became."""

    clips: list[Clip]
    encoded: list[Encoded]
    rejected: list[Rejected]
    language: str
    gain_db: float
    notes: list[str]


@dataclass(frozen=True)
class _Judged:
    """A piece that is kept, and what is known of it."""

    piece: Piece
    text: str
    measures: Measures
    measured: Measured
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Stages:
    """The stages between the recordings and the clips."""

    order: Order
    out: PreparedDir
    judges: Judges
    memory: Memory
    progress: Progress
    threads: int

    def make(self, found: Sequence[Recording]) -> Made:
        """Decode, listen, cut, measure, judge, level, tokenize."""
        settings, threads = self.order.recipe.prepare, self.threads
        stage = partial(partial, self.progress)
        sources, rejected = decode(found, self.out.recordings, threads, stage("decode"))
        words, language = None, self.order.language
        if self.judges.asr is not None:
            words, language = listen(
                sources, self.judges.asr, language, self.memory, stage("listen")
            )
        if language is None:
            raise RecipeError("--language auto needs an ASR, which is not here; name the language")
        cut, more = pieces(sources, words, settings)
        rejected += more
        measured, more = measure_all(
            cut, self.judges.speaker, self.judges.mos, self.memory, threads, stage("measure")
        )
        rejected += more
        voices = self._voices([measures for _, measures in measured])
        kept, more = self._judge(measured, voices, language)
        rejected += more
        gain_db = self._gain_db(kept)
        base = self.order.base
        keys = [clip_key(k.piece, settings, gain_db, base.codec_digest) for k in kept]
        encoded = encode_all(
            [k.piece for k in kept],
            keys,
            settings,
            gain_db,
            lambda: Codec(base.codec_path),
            self.out,
            threads,
            stage("tokenize"),
        )
        clips, fitting, more = self._clips(kept, keys, encoded)
        notes = [*self.judges.notes, *_notes_of(voices, self.order)]
        return Made(clips, fitting, [*rejected, *more], language, gain_db, notes)

    def _judge(
        self, measured: Sequence[tuple[Piece, Measures]], voices: Voices | None, language: str
    ) -> tuple[list[_Judged], list[Rejected]]:
        identities = voices.clips if voices else [None] * len(measured)
        kept: list[_Judged] = []
        rejected: list[Rejected] = []
        for (piece, measures), identity in zip(measured, identities, strict=True):
            try:
                spoken = text.clean(piece.text, self.order.base.tags)
            except TextError as error:
                rejected.append(_rejected(piece, "bad_text", str(error)))
                continue
            matched = None
            if piece.heard is not None and not piece.is_transcribed:
                matched = check.match(spoken, piece.heard, language)
            limits = self.order.recipe.prepare.limits
            speech_s = measures.voice.seconds if measures.voice else 0.0
            wrong = faults(measures.quality, identity, matched, limits, speech_s)
            if wrong:
                reasons = "; ".join(fault.reason for fault in wrong)
                rejected.append(_rejected(piece, wrong[0].kind, reasons))
                continue
            quality = measures.quality
            numbers = Measured(
                snr_db=_rounded(quality.snr_db, 1),
                bandwidth_hz=_rounded(quality.bandwidth_hz, 0),
                lufs=_rounded(quality.lufs, 1),
                mos=_rounded(quality.mos, 2),
                similarity=_rounded(identity.similarity if identity else None, 3),
                cer=_rounded(matched.cer if matched else None, 3),
                pitch_hz=_rounded(measures.pitch_hz, 1),
            )
            kept.append(_Judged(piece, spoken, measures, numbers, ()))
        return kept, rejected

    def _voices(self, measured: Sequence[Measures]) -> Voices | None:
        model = self.judges.speaker
        if model is None:
            return None
        reference = None
        if self.order.speaker is not None:
            reference = model.embed(spoken_part(audio.read(self.order.speaker)))
        return identify([m.voice for m in measured if m.voice is not None], reference)

    def _gain_db(self, kept: Sequence[_Judged]) -> float:
        target = self.order.recipe.prepare.loudness_lufs
        if target is None or not kept:
            return 0.0
        before_db = None
        with contextlib.suppress(ArtifactError):
            before_db = self.out.stamp().gain_db
        return gain.corpus_gain_db(
            [(k.measures.quality.lufs, k.piece.span.end_s - k.piece.span.start_s) for k in kept],
            max(k.measures.peak for k in kept),
            target,
            before_db,
        )

    def _clips(
        self, kept: Sequence[_Judged], keys: Sequence[str], encoded: Sequence[Encoded]
    ) -> tuple[list[Clip], list[Encoded], list[Rejected]]:
        tokenizer = self.order.base.tokenizer()
        clips: list[Clip] = []
        fitting: list[Encoded] = []
        rejected: list[Rejected] = []
        for judged, key, item in zip(kept, keys, encoded, strict=True):
            prompt = models.prompt_ids(
                tokenizer, self.order.voice, judged.text, self.order.base.tags
            )
            misfit = _misfit(judged.piece, item, len(prompt), self.order.recipe)
            if misfit is not None:
                rejected.append(misfit)
                continue
            clips.append(_clip(judged, key, item, self.order.recipe))
            fitting.append(item)
        return clips, fitting, rejected


NOTEWORTHY_SHARE = 0.3
"""Of the time: a second voice that speaks so much may be the one that is wanted."""


def _notes_of(voices: Voices | None, order: Order) -> list[str]:
    if voices is None:
        return []
    if order.speaker is not None and not voices.share:
        return [f"nobody in the recordings sounds like {order.speaker}"]
    if order.speaker is None and voices.runner_up_share >= NOTEWORTHY_SHARE:
        return [
            f"two voices speak much ({voices.share:.0%} and {voices.runner_up_share:.0%} of the "
            "time), and the first was kept; to be sure, pass --speaker REFERENCE.wav"
        ]
    return []


def _clip(judged: _Judged, key: str, encoded: Encoded, recipe: Recipe) -> Clip:
    piece = judged.piece
    return Clip(
        id=piece.id,
        text=judged.text,
        source=str(piece.source.recording.path),
        start_s=round(piece.span.start_s, 3),
        end_s=round(piece.span.end_s, 3),
        key=key,
        seconds=round(encoded.samples / tokens.SAMPLE_RATE, 3),
        frames=len(encoded.codes),
        source_head_ms=encoded.source_head_ms,
        source_tail_ms=encoded.source_tail_ms,
        split=manifest.split_of(piece.content, recipe.prepare.heldout_fraction),
        measured=judged.measured,
        flags=judged.flags,
    )


def _misfit(piece: Piece, encoded: Encoded, prompt: int, recipe: Recipe) -> Rejected | None:
    """Too short to teach, or too long for a row: a cut row never learns to stop."""
    seconds = encoded.samples / tokens.SAMPLE_RATE
    if seconds < recipe.prepare.min_seconds:
        reason = f"{seconds:.2f} s is shorter than {recipe.prepare.min_seconds} s"
        return _rejected(piece, "too_short", reason)
    length = tokens.row_length(prompt, len(encoded.codes))
    if length > recipe.prepare.max_tokens:
        reason = (
            f"{seconds:.1f} s make a row of {length} tokens, over the limit of "
            f"{recipe.prepare.max_tokens}; let an ASR listen (prepare.asr), so that it can be cut"
        )
        return _rejected(piece, "too_long", reason)
    return None


def _rejected(piece: Piece, kind: manifest.Kind, reason: str) -> Rejected:
    seconds = round(piece.span.end_s - piece.span.start_s, 3)
    return Rejected(piece.id, str(piece.source.recording.path), kind, reason, seconds)


def _rounded(number: float | None, digits: int) -> float | None:
    """JSON has no infinities, and nobody reads the eighth digit."""
    return round(number, digits) if number is not None and math.isfinite(number) else None
