"""A bundle of the small run, and every way in which one must not be trusted."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from orpheus_clone import bundle, disk, lora
from orpheus_clone.bundle import Bundle, VoiceCard
from orpheus_clone.errors import ArtifactError, DataError
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def card(run_dir: RunDir) -> VoiceCard:
    stamp = run_dir.stamp()
    return VoiceCard(
        voice="jack",
        language="en",
        base="nano",
        base_digest=stamp.base_digest,
        adapter_digest=stamp.adapter_digest,
        sampling=Sampling(temperature=0.5).model_dump(),
        proof="unproven",
        measured_on={"hardware": "CPU"},
        gates=[{"name": "stop_rate_min", "passed": True}],
        override_reason=None,
        licence="Apache-2.0",
        trained={"steps": 6},
        watermark="none",
        consent=None,
        versions=stamp.versions,
    )


@pytest.fixture
def good(tmp_path: Path, card: VoiceCard, run_dir: RunDir) -> Bundle:
    return bundle.write(tmp_path / "store", card, run_dir.adapter, "# jack\n")


def nameless(good: Bundle) -> Path:
    """The bundle under a name without a digest, so that its content may be changed."""
    return good.path.rename(good.path.with_name("jack"))


def with_card(path: Path, **values: Any) -> Path:
    data = disk.read_json(path / "voice.json", "")
    disk.write_json(path / "voice.json", data | values)
    return path


def with_config(path: Path, **values: Any) -> Path:
    data = disk.read_json(path / "adapter_config.json", "")
    disk.write_json(path / "adapter_config.json", data | values)
    return path


def test_what_is_written_reads_back(good: Bundle, card: VoiceCard) -> None:
    again = bundle.read(good.path)
    assert again == good
    assert again.card == card
    assert again.sampling == Sampling(temperature=0.5)
    assert sorted(path.name for path in good.path.iterdir()) == sorted(bundle.FILES)


def test_its_name_carries_its_digest(good: Bundle) -> None:
    assert good.name == good.path.name == f"jack@{good.digest[:12]}"
    assert good.adapter.name == good.name
    assert good.adapter.digest == good.digest == bundle.content_digest(good.path)


def test_writing_it_again_gives_the_same_name_and_leaves_nothing_else(
    good: Bundle, card: VoiceCard, run_dir: RunDir
) -> None:
    store = good.path.parent
    assert bundle.write(store, card, run_dir.adapter, "# jack\n") == good
    other = bundle.write(
        store, replace(card, override_reason="for a demo"), run_dir.adapter, "# jack\n"
    )
    assert other.name != good.name
    assert sorted(path.name for path in store.iterdir()) == sorted([good.name, other.name])


def test_a_bundle_under_a_plain_name_reads_too(good: Bundle) -> None:
    assert bundle.read(nameless(good)).digest == good.digest


def test_a_wrong_digest_in_the_name_is_refused(good: Bundle) -> None:
    path = good.path.rename(good.path.with_name("jack@000000000000"))
    with pytest.raises(ArtifactError, match="its name says 000000000000; publish again"):
        bundle.read(path)


def test_another_voices_name_is_refused(good: Bundle) -> None:
    path = good.path.rename(good.path.with_name(f"jill@{good.digest[:12]}"))
    with pytest.raises(ArtifactError, match="publish again"):
        bundle.read(path)


def test_any_changed_byte_is_refused(good: Bundle) -> None:
    for name in bundle.FILES:
        content = (good.path / name).read_bytes()
        (good.path / name).write_bytes(content + b" ")
        with pytest.raises(ArtifactError):
            bundle.read(good.path)
        (good.path / name).write_bytes(content)
    assert bundle.read(good.path) == good


@pytest.mark.parametrize("name", ["adapter_model.bin", "state.pt", "x.pkl", "x.pth"])
def test_a_pickle_is_refused(good: Bundle, name: str) -> None:
    (good.path / name).touch()
    with pytest.raises(ArtifactError, match=f"holds {name}, a pickle, which may run code"):
        bundle.read(good.path)


@pytest.mark.parametrize("name", ["LICENSE", ".hidden", "adapter_model.safetensors.1"])
def test_an_extra_file_is_refused(good: Bundle, name: str) -> None:
    (good.path / name).touch()
    with pytest.raises(ArtifactError, match="expected exactly"):
        bundle.read(good.path)


@pytest.mark.parametrize("name", bundle.FILES)
def test_a_missing_file_is_refused(good: Bundle, name: str) -> None:
    (good.path / name).unlink()
    with pytest.raises(ArtifactError, match="expected exactly"):
        bundle.read(good.path)


@pytest.mark.parametrize("name", bundle.FILES)
def test_a_link_is_refused(good: Bundle, tmp_path: Path, name: str) -> None:
    elsewhere = (good.path / name).rename(tmp_path / "elsewhere")
    (good.path / name).symlink_to(elsewhere)
    with pytest.raises(ArtifactError, match="expected exactly"):
        bundle.read(good.path)


@pytest.mark.parametrize("name", bundle.FILES)
def test_a_folder_in_place_of_a_file_is_refused(good: Bundle, name: str) -> None:
    (good.path / name).unlink()
    (good.path / name).mkdir()
    with pytest.raises(ArtifactError, match="expected exactly"):
        bundle.read(good.path)


def test_a_bundle_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="expected exactly"):
        bundle.read(tmp_path / "jack@000000000000")


def test_tampered_weights_are_refused_even_without_a_digest_in_the_name(good: Bundle) -> None:
    path = nameless(good)
    content = bytearray((path / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (path / WEIGHTS).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"its digest is not the one in voice.json"):
        bundle.read(path)


@pytest.mark.parametrize("rank", [512, 32, 17, 0, -1, None, "4", 4.0, True])
def test_a_rank_that_nodes_have_no_room_for_is_refused(good: Bundle, rank: object) -> None:
    with pytest.raises(ArtifactError, match=f"rank {rank} is not 1 to 16"):
        bundle.read(with_config(nameless(good), r=rank))


@pytest.mark.parametrize(
    "targets", [["q_proj"], "all-linear", None, [*lora.PROJECTIONS, "lm_head"]]
)
def test_other_targets_than_the_seven_are_refused(good: Bundle, targets: object) -> None:
    with pytest.raises(ArtifactError, match="sets target_modules otherwise"):
        bundle.read(with_config(nameless(good), target_modules=targets))


@pytest.mark.parametrize(
    "feature",
    [
        {"modules_to_save": ["lm_head"]},
        {"use_dora": True},
        {"bias": "all"},
        {"megatron_config": {}, "megatron_core": "os"},
        {"rank_pattern": {"q_proj": 64}},
    ],
)
def test_what_cannot_be_served_or_would_be_imported_is_refused(
    good: Bundle, feature: dict[str, object]
) -> None:
    with pytest.raises(ArtifactError, match="otherwise than a voice of ours"):
        bundle.read(with_config(nameless(good), **feature))


@pytest.mark.parametrize("alpha", [None, "32", [32], True, float("nan"), float("inf")])
def test_an_alpha_that_is_no_number_is_refused(good: Bundle, alpha: object) -> None:
    with pytest.raises(ArtifactError, match=r"lora_alpha .* is no number"):
        bundle.read(with_config(nameless(good), lora_alpha=alpha))


@pytest.mark.parametrize(
    "config",
    [
        {"lora_alpha": 1e300},
        {"lora_alpha": 32.5 * 4},
        {"lora_alpha": 0},
        {"lora_alpha": -32},
        {"lora_dropout": 1},
        {"lora_dropout": -0.1},
    ],
)
def test_an_update_that_is_scaled_beyond_sense_is_refused(
    good: Bundle, config: dict[str, Any]
) -> None:
    with pytest.raises(ArtifactError, match=r"at most 32 x rank 4, or lora_dropout"):
        bundle.read(with_config(nameless(good), **config))


def test_the_largest_scale_is_taken(good: Bundle) -> None:
    assert bundle.read(with_config(nameless(good), lora_alpha=32 * 4)).card == good.card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"proof": "sure"}, r"proof: .*\(got 'sure'\)"),
        ({"sampling": {"temperature": 99}}, r"temperature: .*\(got 99\)"),
        ({"sampling": {"tempo": 1}}, "tempo: "),
        ({"sampling": "fast"}, "sampling: "),
        ({"voice": 3}, "voice: "),
        ({"gates": {}}, "gates: "),
        ({"consent": "yes"}, "consent: "),
        ({"watermark": "perth"}, r"watermark: Input should be 'none' \(got 'perth'\)"),
        ({"extra": 1}, "is not a voice card of this version"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(
    good: Bundle, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        bundle.read(with_card(nameless(good), **change))


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "\ud800"], ids=["nan", "inf", "surrogate"]
)
def test_a_card_that_would_break_every_list_it_stands_in_is_refused(
    good: Bundle, value: object
) -> None:
    path = nameless(good)
    data = disk.read_json(path / "voice.json", "") | {"measured_on": {"hardware": value}}
    (path / "voice.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"voice\.json: .*publish the voice again"):
        bundle.read(path)


@pytest.mark.parametrize("name", bundle.FILES)
def test_a_file_that_is_too_large_is_refused_unread(good: Bundle, name: str) -> None:
    with (good.path / name).open("r+b") as file:
        file.truncate(bundle.LARGEST[name] + 1)
    with pytest.raises(ArtifactError, match=f"{name} has .* bytes, a voice's has at most"):
        bundle.read(good.path)


@pytest.mark.parametrize("voice", ["../x", "Jack", ""])
def test_a_card_with_a_name_that_is_no_name_is_refused(good: Bundle, voice: object) -> None:
    with pytest.raises(ArtifactError, match=r"voice\.json: voice name"):
        bundle.read(with_card(nameless(good), voice=voice))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"a":' + b"1" * 5000 + b"}"],
    ids=["empty", "open", "list", "bytes", "deep", "long"],
)
def test_a_card_that_is_no_json_object_is_refused(good: Bundle, content: bytes) -> None:
    path = nameless(good)
    (path / "voice.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"voice\.json: is not .*publish the voice again"):
        bundle.read(path)


def test_it_fits_the_base_it_was_trained_on_and_no_other(good: Bundle, base: BaseModel) -> None:
    bundle.check_fits(good, base)
    with pytest.raises(
        ArtifactError, match=r"was trained on nano .* but this is nano 000000000000"
    ):
        bundle.check_fits(good, replace(base, digest="0" * 64))


def test_tensors_of_another_models_shape_do_not_fit_though_the_card_says_so(
    good: Bundle, base: BaseModel, tmp_path: Path
) -> None:
    other = replace(base, path=tmp_path)
    config = disk.read_json(base.path / "config.json", "")
    disk.write_json(tmp_path / "config.json", config | {"intermediate_size": 256})
    with pytest.raises(ArtifactError, match=r"intermediate 128, .*than nano .*intermediate 256"):
        bundle.check_fits(good, other)
    disk.write_json(tmp_path / "config.json", config | {"num_hidden_layers": 3})
    with pytest.raises(ArtifactError, match=r"layers 2, .*than nano .*layers 3"):
        bundle.check_fits(good, other)


def test_it_may_not_have_a_stock_voices_name(good: Bundle, base: BaseModel) -> None:
    with pytest.raises(DataError, match="is a stock voice"):
        bundle.check_fits(good, replace(base, voices=("jack",)))


def test_consent_is_said_and_so_is_its_absence(card: VoiceCard) -> None:
    assert card.consent_line == "no consent recorded"
    given = replace(card, consent={"sha256": "0123456789abcdef", "record": "I agree."})
    assert given.consent_line == "consent recorded (sha256 0123456789ab)"


def test_a_card_is_plain_json(card: VoiceCard) -> None:
    assert VoiceCard(**json.loads(json.dumps(asdict(card)))) == card


def test_a_copied_bundle_is_the_same_bundle(good: Bundle, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(good.path, tmp_path / good.path.name))
    assert bundle.read(copy).digest == good.digest
