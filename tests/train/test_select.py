"""Which epoch is chosen, by hand: the lowest loss loses where it does not sound right."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.listening.figures import Figure, Figures
from orpheus_clone.recipe import Selection
from orpheus_clone.train.select import Epoch, choose, is_over, limits, violations

GOOD: dict[str, float | None] = {
    "stop_rate": 1.0, "loop_rate": 0.0, "wer": 0.05, "cer": 0.02, "coverage": 0.97, "pace": 1.0,
    "head_p50_ms": 50.0, "head_p95_ms": 60.0, "tail_p50_ms": 100.0, "tail_p95_ms": 150.0,
    "cut_rate": 0.0, "similarity": 0.6, "mos": 3.0, "pitch_semitones": 0.0,
}  # fmt: skip
SETTINGS = Selection()


def figures(**changed: float | None) -> Figures:
    values = GOOD | changed
    return Figures(**{name: Figure(value) for name, value in values.items()})


def epochs(*heard: tuple[float, Figures | None]) -> list[Epoch]:
    """Epochs 1, 2, … by their held-out loss and what was heard."""
    return [
        Epoch(number, 10 * number, loss - 0.1, loss, found)
        for number, (loss, found) in enumerate(heard, start=1)
    ]


def chosen(*heard: tuple[float, Figures | None]) -> int:
    return choose(epochs(*heard), SETTINGS).epoch


def test_between_equals_the_lowest_held_out_loss_is_chosen() -> None:
    assert chosen((4.2, figures()), (4.0, figures()), (4.1, figures())) == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"stop_rate": 0.9},
        {"loop_rate": 0.1},
        {"wer": 0.3},
        {"coverage": 0.8},
        {"pace": 1.6},
        {"head_p50_ms": 200.0},
        {"tail_p95_ms": 18_600.0},
        {"cut_rate": 0.25},
        {"similarity": 0.2},
    ],
)
def test_the_lowest_loss_loses_where_it_is_beyond_a_limit(fault: dict[str, float | None]) -> None:
    heard = epochs((4.2, figures()), (3.9, figures(**fault)), (4.4, figures()))
    choice = choose(heard, SETTINGS)
    assert choice.epoch == 1
    assert choice.note == f"epoch 2 has the lowest held-out loss, but misses {next(iter(fault))}"


@pytest.mark.parametrize("limit", [limit.name for limit in limits(SETTINGS)])
def test_at_a_limit_is_within_it_and_a_limit_can_be_switched_off(limit: str) -> None:
    (own,) = [one for one in limits(SETTINGS) if one.name == limit]
    assert own.value is not None
    worse = own.value + (-0.01 if own.is_minimum else 0.01)
    assert violations(figures(**{limit: own.value}), SETTINGS) == {}
    assert list(violations(figures(**{limit: worse}), SETTINGS)) == [limit]
    field = f"{limit}_{'min' if own.is_minimum else 'max'}"
    switched_off = SETTINGS.model_copy(update={field: None})
    assert violations(figures(**{limit: worse}), switched_off) == {}


def test_fewer_wrong_words_win_over_a_lower_loss() -> None:
    assert chosen((4.0, figures(wer=0.12)), (4.2, figures(wer=0.05))) == 2


def test_a_word_or_two_are_chance_and_then_the_nearer_voice_wins() -> None:
    nearer = figures(wer=0.065, similarity=0.66)
    assert chosen((4.0, figures(similarity=0.6)), (4.2, nearer)) == 2
    assert chosen((4.0, figures(wer=0.02)), (4.2, nearer)) == 1


def test_a_hardly_nearer_voice_is_chance_and_then_the_loss_decides() -> None:
    assert chosen((4.0, figures(similarity=0.6)), (4.2, figures(similarity=0.615))) == 1


def test_of_none_within_the_limits_the_one_with_the_fewest_faults_is_taken_and_it_is_said() -> None:
    two = figures(stop_rate=0.95, pace=1.55)
    one = figures(tail_p95_ms=5000.0)
    choice = choose(epochs((4.0, two), (4.1, one)), SETTINGS)
    assert choice.epoch == 2
    assert choice.note == "no epoch is within all limits; this one misses tail_p95_ms"


def test_of_equally_many_faults_the_smallest_is_taken() -> None:
    mute = figures(tail_p95_ms=math.inf)
    assert chosen((4.0, mute), (4.1, figures(tail_p95_ms=900.0)), (4.2, mute)) == 2


def test_of_equally_grave_faults_the_lower_loss_is_taken() -> None:
    assert chosen((4.1, figures(pace=1.61)), (4.0, figures(pace=1.62))) == 2


def test_without_a_judge_of_words_the_nearer_voice_is_chosen() -> None:
    unheard = figures(wer=None, cer=None, coverage=None)
    nearer = figures(wer=None, cer=None, coverage=None, similarity=0.7)
    assert chosen((4.0, unheard), (4.1, nearer)) == 2


def test_without_any_judge_the_limits_hold_and_then_the_loss_decides() -> None:
    def deaf(**changed: float | None) -> Figures:
        nothing = dict.fromkeys(("wer", "cer", "coverage", "similarity", "mos"))
        return figures(**nothing | changed)

    assert chosen((4.2, deaf()), (4.0, deaf(stop_rate=0.5)), (4.1, deaf())) == 3


def test_what_was_not_heard_is_chosen_by_its_loss_and_it_is_said() -> None:
    choice = choose(epochs((4.2, None), (4.0, None), (4.1, None)), SETTINGS)
    assert choice.epoch == 2
    assert choice.note == "chosen by its held-out loss alone: no epoch was heard"


def test_what_was_not_heard_is_never_chosen_beside_what_was() -> None:
    broken = figures(tail_p95_ms=18_600.0)
    choice = choose(epochs((3.0, None), (4.2, broken)), SETTINGS)
    assert choice.epoch == 2
    assert choice.note == "no epoch is within all limits; this one misses tail_p95_ms"
    assert chosen((3.0, None), (4.2, figures())) == 2


def test_the_note_says_when_another_sounded_better_than_the_lowest_loss() -> None:
    choice = choose(epochs((4.0, figures(wer=0.2)), (4.2, figures())), SETTINGS)
    assert choice.note == "epoch 1 has the lowest held-out loss, but this one sounds better"
    choice = choose(epochs((4.2, figures()), (4.0, figures())), SETTINGS)
    assert choice.note == "within all limits, and the lowest held-out loss too"


def over(heard: Sequence[tuple[float, Figures | None]], patience: int | None) -> bool:
    return is_over(epochs(*heard), SETTINGS.model_copy(update={"patience": patience}))


def test_training_stops_when_the_best_is_patience_epochs_old() -> None:
    heard = [(4.0, figures()), (4.1, figures(wer=0.2)), (4.2, figures(stop_rate=0.5))]
    assert [over(heard[:n], 2) for n in (1, 2, 3)] == [False, False, True]
    assert [over(heard[:n], 1) for n in (1, 2)] == [False, True]
    assert not over(heard, None)


def test_an_epoch_that_sounds_better_begins_the_count_anew() -> None:
    worse = (4.1, figures(wer=0.2))
    assert not over([(4.0, figures(wer=0.1)), worse, (4.2, figures(wer=0.02)), worse], 2)


def test_a_rising_loss_alone_ends_nothing() -> None:
    assert not over([(4.0, None), (4.1, None), (4.2, None), (4.3, None)], 1)


@given(
    st.lists(
        st.tuples(
            st.floats(1, 9),
            st.fixed_dictionaries(
                {
                    "stop_rate": st.sampled_from([1.0, 0.9]),
                    "wer": st.sampled_from([0.0, 0.1, 0.4, None]),
                    "similarity": st.sampled_from([0.1, 0.5, 0.8, None]),
                    "tail_p95_ms": st.sampled_from([100.0, 5000.0, math.inf]),
                }
            ),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_no_epoch_beyond_a_limit_is_chosen_while_another_is_within_all(
    heard: list[tuple[float, dict[str, float | None]]],
) -> None:
    found = epochs(*[(loss, figures(**changed)) for loss, changed in heard])
    faults = [len(violations(epoch.figures, SETTINGS)) for epoch in found]
    assert faults[choose(found, SETTINGS).epoch - 1] == min(faults)
