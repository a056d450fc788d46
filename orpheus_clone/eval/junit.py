"""JUnit XML of the gates, which CI systems show as tests: passed, failed or skipped."""

from collections.abc import Sequence
from xml.etree import ElementTree

from orpheus_clone.eval.gates import Gate


def junit(voice: str, measured_on: str, gates: Sequence[Gate]) -> str:
    """The document; what is not measurable is skipped, with the reason."""
    failed = sum(gate.status == "failed" for gate in gates)
    skipped = sum(gate.status == "not measurable" for gate in gates)
    counts = {"tests": len(gates), "failures": failed, "errors": 0, "skipped": skipped}
    attributes = {name: str(count) for name, count in counts.items()}
    root = ElementTree.Element("testsuites", {"name": "orpheus-clone eval", **attributes})
    suite = ElementTree.SubElement(root, "testsuite", {"name": voice, "time": "0", **attributes})
    properties = ElementTree.SubElement(suite, "properties")
    ElementTree.SubElement(properties, "property", name="measured_on", value=measured_on)
    for gate in gates:
        suite.append(_case(voice, gate))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(voice: str, gate: Gate) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname=f"{voice}.gates", name=gate.name, time="0")
    measured = "never" if gate.value is None else f"{gate.value:g} {gate.unit}".strip()
    if gate.status == "failed":
        said = f"{measured}, wanted {gate.bound}"
        failure = ElementTree.SubElement(case, "failure", message=said, type="gate")
        failure.text = "\n".join(filter(None, [said, gate.why, gate.means, gate.advice]))
    elif gate.status == "not measurable":
        ElementTree.SubElement(case, "skipped", message=gate.why or "not measurable")
    else:
        ElementTree.SubElement(case, "system-out").text = f"{measured}, wanted {gate.bound}"
    return case
