"""The model card: what a person reads of a voice, and what a hub does."""

from dataclasses import replace

import pytest
import yaml

from orpheus_clone.bundle import Bundle, VoiceCard
from orpheus_clone.layout import RunDir
from orpheus_clone.models import ORPHEUS_3B
from orpheus_clone.publish.card import model_card
from orpheus_clone.publish.run import make_bundle
from tests.bundles import made, reported

GATE = {
    "name": "stop rate",
    "limit": 0.95,
    "unit": "",
    "value": 0.987654,
    "status": "passed",
    "why": None,
}


@pytest.fixture
def card(run_dir: RunDir, tmp_path_factory: pytest.TempPathFactory) -> VoiceCard:
    return made(run_dir, tmp_path_factory.mktemp("card")).card


def test_a_run_becomes_a_bundle_whose_card_says_how_it_was_made(
    run_dir: RunDir, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = reported(run_dir, tmp_path_factory.mktemp("run") / "run", "proven", "passed")
    written: Bundle = make_bundle(run)
    text = (written.path / "README.md").read_text(encoding="utf-8")
    assert text == model_card(written.card)
    assert "- steps: 6\n" in text
    assert "- rank: 16\n- alpha: 32\n- learning rate: 0.0002" in text
    assert "Licence: Apache-2.0 (made by this project)." in text
    assert "- hardware: CPU (none)" in text


def test_its_head_is_what_a_hub_reads(card: VoiceCard) -> None:
    _, head, body = model_card(card).split("---\n", 2)
    facts = yaml.safe_load(head)
    assert facts["language"] == "en"
    assert (facts["pipeline_tag"], facts["library_name"]) == ("text-to-speech", "peft")
    assert facts["tags"] == ["orpheus-clone", "lora", "unproven"]
    assert body.lstrip().startswith("# jack\n")


def test_figures_of_the_gates_stand_beside_their_limits(card: VoiceCard) -> None:
    bad = GATE | {"name": "a|b", "value": None, "status": "not measurable", "why": "random\nbase"}
    text = model_card(replace(card, gates=[GATE, bad]))
    assert "| stop rate | 0.9877 | 0.95 | passed |" in text
    assert "| a/b | — | 0.95 | not measurable (random base) |" in text
    assert "No gate was judged." in model_card(card)


def test_what_was_overridden_says_why(card: VoiceCard) -> None:
    text = model_card(replace(card, proof="overridden", override_reason="the demo on Friday"))
    assert "released it all the same: the demo on Friday." in text
    assert "nobody has shown" in model_card(card)


def test_consent_and_its_absence_are_said(card: VoiceCard) -> None:
    assert "Consent: no consent recorded." in model_card(card)
    given = replace(card, consent={"sha256": "ab" * 32, "record": "I, Jane, agree."})
    assert "Consent: consent recorded (sha256 abababababab)." in model_card(given)
    assert "Jane" not in model_card(given)


def test_the_licence_of_the_base_is_named(card: VoiceCard) -> None:
    text = model_card(replace(card, base="orpheus-3b", licence=ORPHEUS_3B.licence))
    assert yaml.safe_load(text.split("---\n")[1])["license_name"] == ORPHEUS_3B.licence
    assert f"Licence: {ORPHEUS_3B.licence}." in text


def test_a_watermark_that_is_not_there_is_not_claimed(card: VoiceCard) -> None:
    assert "Watermark: none." in model_card(card)
