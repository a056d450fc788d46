"""The stages between recordings and clips: decode, listen, cut, measure, judge, level, tokenize."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orpheus_clone import audio, manifest, models, tokens
from orpheus_clone.codec.snac import Codec
from orpheus_clone.errors import NoSpeechError, RecipeError
from orpheus_clone.judges import Judges
from orpheus_clone.layout import PreparedDir
from orpheus_clone.manifest import Clip, Rejected
from orpheus_clone.prepare import gain
from orpheus_clone.prepare.encode import Encoded, clip_key, encode_all
from orpheus_clone.prepare.identity import Voices, identify
from orpheus_clone.prepare.judge import Judged, judge
from orpheus_clone.prepare.listen import listen
from orpheus_clone.prepare.measure import Measures, measure_all
from orpheus_clone.prepare.memory import Memory
from orpheus_clone.prepare.order import Order
from orpheus_clone.prepare.pieces import Piece, pieces
from orpheus_clone.prepare.source import decode
from orpheus_clone.prepare.survival import Survival, survival
from orpheus_clone.prepare.transcripts import Recording
from orpheus_clone.prepare.trim import spoken_part
from orpheus_clone.recipe import Prepare
from orpheus_clone.speaker import Embedding

NOTEWORTHY_SHARE = 0.3
"""Of the time: a second voice that speaks so much may be the one that is wanted."""

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
    survival: Survival | None
    """None where the codec was never trained, or nothing is kept."""
    sounds: dict[str, tuple[Path, float]]
    """By the id of a piece: where it can be heard, and from which second on."""


@dataclass(frozen=True)
class Stages:
    """See the module docstring; `threads` is how much is done at a time."""

    order: Order
    out: PreparedDir
    judges: Judges
    memory: Memory
    progress: Progress
    threads: int

    def make(self, found: Sequence[Recording]) -> Made:
        """From recordings to clips; nothing is written but the cache and the clips' audio."""
        base, settings = self.order.base, self.order.recipe.prepare
        stage = partial(partial, self.progress)
        words, language = None, self.order.language
        if language is None and self.judges.asr is None:
            raise RecipeError("--language auto needs an ASR, which is not here; name the language")
        reference = self._reference()
        sources, rejected = decode(found, self.out.recordings, self.threads, stage("decode"))
        if self.judges.asr is not None:
            words, language = listen(
                sources, self.judges.asr, language, self.memory, stage("listen")
            )
        assert language is not None
        cut, textless, left_out = pieces(sources, words, settings, language)
        measured, silent = measure_all(
            cut, self.judges.speaker, self.judges.mos, self.memory, self.threads, stage("measure")
        )
        voices = self._voices([measures for _, measures in measured], reference)
        kept, faulty = judge(measured, voices, base.tags, language, settings.limits)
        gain_db = self._gain_db(kept, settings)
        keys = [clip_key(k.piece, settings, gain_db, base.codec_digest) for k in kept]
        encoded = encode_all(
            [k.piece for k in kept],
            keys,
            settings,
            gain_db,
            self._codec,
            self.out,
            self.threads,
            stage("tokenize"),
        )
        clips, fitting, misfits = self._clips(kept, keys, encoded)
        survived = self._survival(clips, fitting)
        return Made(
            clips=clips,
            encoded=fitting,
            rejected=[*rejected, *textless, *silent, *faulty, *misfits],
            language=language,
            gain_db=gain_db,
            notes=[*self.judges.notes, *left_out, *self._notes(voices, survived, language)],
            survival=survived,
            sounds={p.id: (p.source.copy, p.span.start_s) for p in cut},
        )

    def _codec(self) -> Codec:
        return Codec(self.order.base.codec_path)

    def _reference(self) -> Embedding | None:
        """Of the speaker that is wanted, if one is named; before what takes long."""
        path, model = self.order.speaker, self.judges.speaker
        if path is None or model is None:
            return None
        try:
            return model.embed(spoken_part(audio.read(path)))
        except NoSpeechError as error:
            raise NoSpeechError(
                f"--speaker {path}: {error}; name a recording in which the speaker is heard"
            ) from None

    def _voices(self, measured: Sequence[Measures], reference: Embedding | None) -> Voices | None:
        if self.judges.speaker is None:
            return None
        return identify([m.voice for m in measured if m.voice is not None], reference)

    def _gain_db(self, kept: Sequence[Judged], settings: Prepare) -> float:
        if settings.loudness_lufs is None or not kept:
            return 0.0
        gain_db = gain.corpus_gain_db(
            [(k.measures.quality.lufs, k.piece.span.end_s - k.piece.span.start_s) for k in kept],
            max(k.measures.peak for k in kept),
            settings.loudness_lufs,
            self.memory.recall("gain", "last"),
        )
        self.memory.keep("gain", "last", gain_db)
        return gain_db

    def _clips(
        self, kept: Sequence[Judged], keys: Sequence[str], encoded: Sequence[Encoded]
    ) -> tuple[list[Clip], list[Encoded], list[Rejected]]:
        """The clips, what is remembered of each, and those that make no row."""
        base, settings = self.order.base, self.order.recipe.prepare
        tokenizer = base.tokenizer()
        clips: list[Clip] = []
        fitting: list[Encoded] = []
        misfits: list[Rejected] = []
        for judged, key, item in zip(kept, keys, encoded, strict=True):
            prompt = models.prompt_ids(
                tokenizer, self.order.voice, judged.text, base.tags, base.language
            )
            misfit = _misfit(judged.piece, item, len(prompt), settings)
            if misfit is not None:
                misfits.append(misfit)
                continue
            clips.append(_clip(judged, key, item, settings))
            fitting.append(item)
        return clips, fitting, misfits

    def _survival(self, clips: Sequence[Clip], encoded: Sequence[Encoded]) -> Survival | None:
        if self.order.base.is_random or not clips:
            return None
        return survival(
            [
                (clip.key, self.out.audio / f"{clip.key}.flac", item.codes)
                for clip, item in zip(clips, encoded, strict=True)
            ],
            self.order.base.codec_digest,
            self._codec,
            self.judges.speaker,
            self.memory,
        )

    def _notes(self, voices: Voices | None, survived: Survival | None, made_in: str) -> list[str]:
        notes = []
        wanted = self.order.speaker
        if voices is not None and wanted is not None and not voices.share:
            notes.append(f"nobody in the recordings sounds like {wanted}")
        if voices is not None and wanted is None and voices.runner_up_share >= NOTEWORTHY_SHARE:
            notes.append(
                f"two voices speak much ({voices.share:.0%} and {voices.runner_up_share:.0%} of "
                "the time), and the first was kept; to be sure, pass --speaker REFERENCE.wav"
            )
        if made_in != self.order.base.language:
            notes.append(
                f"the recordings are in {made_in}, and {self.order.base.name} reads numbers and "
                f"signs in {self.order.base.language}: write them out in what is to be spoken"
            )
        warning = survived.warning() if survived else None
        return [*notes, warning] if warning else notes


def _clip(judged: Judged, key: str, encoded: Encoded, settings: Prepare) -> Clip:
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
        split=manifest.split_of(piece.content, settings.heldout_fraction),
        measured=judged.measured,
        flags=judged.flags,
    )


def _misfit(piece: Piece, encoded: Encoded, prompt: int, settings: Prepare) -> Rejected | None:
    """Too short to teach, or too long for a row: a cut row never learns to stop."""
    seconds = encoded.samples / tokens.SAMPLE_RATE
    if seconds < settings.min_seconds:
        reason = f"{seconds:.2f} s is shorter than {settings.min_seconds} s"
        return piece.rejected("too_short", reason)
    length = tokens.row_length(prompt, len(encoded.codes))
    if length > settings.max_tokens:
        reason = (
            f"{seconds:.1f} s make a row of {length} tokens, over the limit of "
            f"{settings.max_tokens}; let an ASR listen (judges.asr), so that it can be cut"
        )
        return piece.rejected("too_long", reason)
    return None
