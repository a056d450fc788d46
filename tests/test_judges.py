"""The jury that is called first and opened when all is spoken."""

import gc

import pytest

from orpheus_clone import judges, quality, recipe
from orpheus_clone.dnsmos import Dnsmos
from orpheus_clone.errors import MachineError
from orpheus_clone.quality import Mos

AUTO = recipe.load(None, ["judges.asr=none", "judges.speaker=none"]).judges


def out_of_memory() -> Mos:
    raise MachineError("the model does not load on cuda: out of memory")


def alive() -> int:
    return sum(type(one) is Dnsmos for one in gc.get_objects())


def test_a_jury_that_is_called_says_who_will_listen_and_holds_nobody() -> None:
    before = alive()
    jury = judges.call(AUTO)
    assert alive() == before
    opened = jury.open()
    assert alive() == before + 1
    assert opened.digests() == jury.digests
    assert (opened.asr, opened.mos is None) == (None, False)
    assert jury.notes == opened.notes


def test_a_judge_that_does_not_load_a_second_time_is_not_done_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jury = judges.call(AUTO)
    monkeypatch.setattr(quality, "load_mos", out_of_memory)
    with pytest.raises(
        MachineError, match=r"^judges\.mos: not what .*out of memory.*again.*--set judges\.mos=none"
    ):
        jury.open()


def test_a_judge_that_was_never_here_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "load_mos", out_of_memory)
    assert judges.call(AUTO).open().mos is None


def test_judges_that_are_here_already_are_the_jury() -> None:
    here = judges.open_judges(AUTO)
    assert judges.seated(here).open() is here
