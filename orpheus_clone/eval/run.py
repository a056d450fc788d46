"""eval, from top to bottom: speak, listen, judge, report.

    parts.speak ──▶ Takes ──▶ Listener.hear ──▶ Line, … ──▶ measure ──▶ gates ──▶ report
     (an engine)                (the judges)                 with intervals

Killed while it speaks, it goes on with what was not spoken yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from orpheus_clone import disk, layout
from orpheus_clone.errors import ArtifactError
from orpheus_clone.eval import compare, report, special
from orpheus_clone.eval.compare import Compared
from orpheus_clone.eval.gates import judge, verdict
from orpheus_clone.eval.keep import Kept
from orpheus_clone.eval.lines import Line, lines_of, spoken
from orpheus_clone.eval.measures import measure
from orpheus_clone.eval.parts import Asked, OpenSpeaker, Progress, Takes, speak
from orpheus_clone.eval.prompts import prompts_for
from orpheus_clone.eval.report import Evaluation
from orpheus_clone.eval.special import OneWord, Tag
from orpheus_clone.eval.speed import Utterance
from orpheus_clone.eval.summary import Real, Stock, nearest, real_of, summary, unmeasured
from orpheus_clone.eval.sweep import cost_per_hour, real_time_streams
from orpheus_clone.judges import Judges, Jury
from orpheus_clone.layout import RunDir
from orpheus_clone.listening import reference
from orpheus_clone.listening.figures import Figures, add_up
from orpheus_clone.listening.hear import Hearing, Listener
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Recipe, proof_digest
from orpheus_clone.speech import voice_of_run


@dataclass(frozen=True)
class Order:
    """What is to be evaluated, by whom, and beside what."""

    run: RunDir
    recipe: Recipe
    base: BaseModel
    judges: Jury
    engine: str
    hardware: str
    """What will speak, for the key: an evaluation is of a machine."""
    others: tuple[RunDir, ...] = ()
    """Runs whose voices share the batch, where several do."""
    network_ms: float | None = None
    """A round trip to the node that will speak, where one was measured."""

    @property
    def key(self) -> str:
        """Hash of everything that an evaluation is about: equal keys need no second one."""
        stamp, base, recipe = self.run.stamp(), self.base, self.recipe
        about = [stamp.voice, stamp.adapter_digest, base.digest, base.codec_digest]
        heard_by = [layout.versions(), self.judges.digests, self.engine, self.hardware]
        own = reference.read(self.run)
        heldout = [clip.text for clip in own.clips]
        asked = [proof_digest(recipe), prompts_for(recipe.eval, base, own.language, heldout)]
        beside = [other.stamp().adapter_digest for other in self.others]
        return disk.sha256_json([*about, *heard_by, *asked, *beside])


async def evaluate(
    order: Order, open_speaker: OpenSpeaker, progress: Progress = lambda _part, _done, _of: None
) -> Evaluation:
    """Speak through the trained adapter, judge what is heard, and write the report."""
    _check_base(order)
    own = reference.read(order.run)
    kept = Kept(order.run.unfinished_eval, order.key)
    asked = Asked(
        voice_of_run(order.run, order.recipe.sampling),
        [voice_of_run(other, order.recipe.sampling) for other in order.others],
        order.recipe.eval,
        own,
    )
    takes = await speak(asked, open_speaker, kept, progress)
    judges = order.judges.open()  # only now: the engine had the GPU
    listener = Listener(judges, own, is_random=order.base.is_random)
    heard = _listen(takes, listener, order.base, partial(progress, "listening"))
    evaluation = _judged(order, takes, heard, judges)
    report.write(order.run, evaluation, kept, own)
    kept.forget()
    return evaluation


def _check_base(order: Order) -> None:
    """ArtifactError for a voice of another base: what it says would prove nothing."""
    for run in (order.run, *order.others):
        stamp = run.stamp()
        if stamp.base_digest != order.base.digest:
            raise ArtifactError(
                f"{run.root} was trained on {stamp.base} {stamp.base_digest[:12]}, but this is "
                f"{order.base.name} {order.base.digest[:12]}: evaluate it with that base (--base)"
            )


@dataclass(frozen=True)
class _Heard:
    """What the judges made of it."""

    lines: list[Line]
    figures: Figures
    heldout: list[Line]
    real: Real
    stock: list[Stock]
    tags: list[Tag]
    words: list[OneWord]
    in_bf16: list[Line]


def _listen(takes: Takes, listener: Listener, base: BaseModel, progress: partial[None]) -> _Heard:
    def hear(utterances: Sequence[Utterance]) -> list[Hearing]:
        return listener.hear([spoken(one) for one in utterances], progress)

    hearings = hear(takes.prompts)
    return _Heard(
        lines=lines_of(takes.prompts, hearings),
        figures=add_up(hearings, listener),
        heldout=lines_of(takes.heldout, hear(takes.heldout)),
        real=real_of(listener, progress),
        stock=_stock(takes, listener),
        tags=_tags(takes, listener, base.tags),
        words=[special.one_word(hearing) for hearing in hear(takes.words)],
        in_bf16=lines_of(takes.in_bf16, hear(takes.in_bf16)),
    )


def _stock(takes: Takes, listener: Listener) -> list[Stock]:
    """How near the stock voices are; of their words and sound nobody asks."""
    spoke = {name: utterances for name, utterances in takes.stock.items() if utterances}
    if listener.judges.speaker is None or not spoke:
        return []
    by_voice = Listener(replace(listener.judges, asr=None, mos=None), listener.reference)
    return [
        Stock.of(name, by_voice.hear([spoken(one) for one in utterances]))
        for name, utterances in spoke.items()
    ]


def _tags(takes: Takes, listener: Listener, tags: Sequence[str]) -> list[Tag]:
    if listener.judges.asr is None or not takes.tags:
        return []
    language = listener.reference.language
    return special.hear_tags(tags, takes.tags, listener.judges.asr, language)


def _judged(order: Order, takes: Takes, heard: _Heard, judges: Judges) -> Evaluation:
    stamp, settings, info = order.run.stamp(), order.recipe.eval, takes.info
    stock = nearest(heard.stock, judges, order.base)
    measured = measure(heard.lines, heard.figures, stock, is_random=order.base.is_random)
    gates = judge(settings, measured, info)
    where = report.measured_on(info, settings.concurrency)
    streams = real_time_streams(takes.points)
    return Evaluation(
        key=order.key,
        voice=stamp.voice,
        adapter_digest=stamp.adapter_digest,
        settings_digest=proof_digest(order.recipe),
        base=stamp.base,
        is_random_base=order.base.is_random,
        engine=info.engine,
        hardware=info.hardware,
        precision=info.precision,
        concurrency=settings.concurrency,
        speed_target=settings.speed_target,
        measured_on=where,
        verdict=verdict(gates),
        gates=gates,
        summary=summary(heard.lines, heard.figures),
        notes=[*judges.notes, *unmeasured(order.base, takes, heard.tags)],
        judges=judges.digests(),
        real=heard.real,
        stock=heard.stock,
        tags=heard.tags,
        words=heard.words,
        points=takes.points,
        shared=takes.shared,
        real_time_streams=streams,
        price_per_hour=settings.price_per_hour,
        cost_per_hour_of_audio=cost_per_hour(settings.price_per_hour, streams),
        currency=settings.currency,
        network_ms=order.network_ms,
        bf16=_against_bf16(heard),
        against=None,
        lines=heard.lines,
        heldout=heard.heldout,
        consent=stamp.consent,
        versions=layout.versions(),
    )


def _against_bf16(heard: _Heard) -> list[Compared]:
    """The FP8 that was measured against bf16."""
    if not heard.in_bf16:
        return []
    return compare.compare(heard.lines[: len(heard.in_bf16)], heard.in_bf16)
