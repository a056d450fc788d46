"""The JUnit file as a CI system reads it."""

from dataclasses import replace
from xml.etree import ElementTree

from orpheus_clone.eval.gates import judge
from orpheus_clone.eval.junit import junit
from orpheus_clone.listening.figures import Figure
from orpheus_clone.recipe import Eval
from tests.eval.test_gates import AT_THE_LIMITS, GPU, with_figure


def test_each_gate_is_a_case_that_passed_failed_or_was_skipped() -> None:
    gates = judge(Eval(), with_figure("stop rate", Figure(0.5, "ten were <cut>")), GPU)
    gates[0] = replace(gates[0], status="not measurable", why="the target is a GPU")
    suite = ElementTree.fromstring(junit("jack", "H200, fp8", gates))[0]
    counts = {name: suite.get(name) for name in ("name", "tests", "failures", "skipped")}
    assert counts == {"name": "jack", "tests": "14", "failures": "1", "skipped": "1"}
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert len(cases) == 14
    failure = cases["stop rate"].find("failure")
    assert failure is not None
    assert failure.get("message") == "0.5, wanted >= 0.95"
    assert "ten were <cut>" in (failure.text or "")
    assert gates[4].advice in (failure.text or "")
    skipped = cases["stream rate P5"].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "the target is a GPU"
    assert cases["loops"].findtext("system-out") == "0.02, wanted <= 0.02"


def test_a_file_without_failures_says_so_and_where_it_was_measured() -> None:
    root = ElementTree.fromstring(junit("jack", "H200, fp8", judge(Eval(), AT_THE_LIMITS, GPU)))
    assert (root.get("failures"), root.get("skipped")) == ("0", "0")
    prop = root.find("testsuite/properties/property")
    assert prop is not None
    assert prop.get("value") == "H200, fp8"
