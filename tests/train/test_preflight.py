"""What the preflight reckons, against what torch holds; and what it says where it will not fit."""

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from orpheus_clone.bench.train import Alive, clips
from orpheus_clone.errors import MachineError
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Lora, Train
from orpheus_clone.tokens import TrainingRow
from orpheus_clone.train import preflight
from orpheus_clone.train.loss import AudioLoss
from orpheus_clone.train.model import add_lora
from orpheus_clone.train.optimizer import make_optimizer
from orpheus_clone.train.pack import pack
from orpheus_clone.train.preflight import Precision, estimate
from tests import tiny

DEEP: dict[str, Any] = tiny.LLAMA | {"hidden_size": 48, "num_hidden_layers": 5}
WIDE: dict[str, Any] = tiny.LLAMA | {
    "hidden_size": 96,
    "intermediate_size": 4096,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}
ORPHEUS: dict[str, Any] = {
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 28,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 156_940,
    "tie_word_embeddings": True,
}
ROWS = clips(3)
TOKENS = sum(len(row.input_ids) for row in ROWS)


def trainable(config: dict[str, Any], settings: Train, precision: Precision) -> Any:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**config))
    return add_lora(model.to(torch.bfloat16 if precision == "bf16" else torch.float32), settings)


@pytest.mark.parametrize(
    ("config", "precision", "is_checkpointed"),
    [(DEEP, "fp32", False), (WIDE, "bf16", False), (DEEP, "bf16", True), (WIDE, "fp32", True)],
    ids=["deep, fp32", "wide, bf16", "deep, bf16, forgotten", "wide, fp32, forgotten"],
)
def test_bytes_are_those_that_torch_holds(
    config: dict[str, Any], precision: Precision, is_checkpointed: bool
) -> None:
    settings = Train(gradient_checkpointing=is_checkpointed, lora=Lora(rank=8))
    need = estimate(config, settings, precision, TOKENS, on_gpu=False)
    model = trainable(config, settings, precision)
    parameters = [p for p in model.parameters() if p.requires_grad]
    adapter = sum(p.nbytes for p in parameters)
    assert need.weights == sum(p.nbytes for p in model.parameters()) - adapter
    assert need.adapter == 2 * adapter
    optimizer = make_optimizer(parameters, settings)
    loss = AudioLoss(model).train()
    with (
        Alive(model, lambda _tensor: True) as alive,
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
    ):
        loss(*pack(ROWS)).backward()
    optimizer.step()
    moments = [t for state in optimizer.state.values() for t in state.values() if t.ndim]
    assert need.optimizer == sum(tensor.nbytes for tensor in moments)
    reckoned = need.activations + need.working + adapter
    assert 0.9 < alive.peak / reckoned < 1.1


def test_orpheus_by_hand() -> None:
    settings = Train(gradient_checkpointing=True)
    need = estimate(ORPHEUS, settings, "bf16", 4096, on_gpu=True)
    projections = 28 * 3072 * (2 * 3072 + 2 * 1024 + 3 * 8192)
    assert need.weights == 2 * (projections + 156_940 * 3072 + 57 * 3072)
    assert need.adapter == 8 * 24_313_856
    assert need.optimizer == 8 * 24_313_856
    in_nf4 = settings.model_copy(update={"quantize": "nf4", "optimizer": "adamw_8bit"})
    less = estimate(ORPHEUS, in_nf4, "bf16", 4096, on_gpu=True)
    assert less.weights == pytest.approx(need.weights - projections * (2 - 0.516), rel=1e-3)
    assert less.optimizer == need.optimizer / 4
    assert 10e9 < need.total < 12e9
    untied = estimate(ORPHEUS | {"tie_word_embeddings": False}, settings, "bf16", 4096, on_gpu=True)
    assert untied.weights - need.weights == 2 * 156_940 * 3072


@pytest.fixture
def row() -> TrainingRow:
    return ROWS[0]


def free(monkeypatch: pytest.MonkeyPatch, count: float) -> None:
    monkeypatch.setattr(preflight, "_free_bytes", lambda: round(count))


def test_what_fits_passes(
    base: BaseModel, row: TrainingRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.LLAMA
    need = estimate(config, Train(batch_size=1), "fp32", len(row.input_ids), on_gpu=False)
    free(monkeypatch, need.total)
    preflight.check(base, Train(batch_size=1), "fp32", [row])
    free(monkeypatch, need.total - 1)
    with pytest.raises(MachineError):
        preflight.check(base, Train(batch_size=1), "fp32", [row])


def test_what_does_not_fit_is_told_with_the_settings_that_do(
    base: BaseModel, row: TrainingRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = estimate(tiny.LLAMA, Train(), "fp32", 4 * len(row.input_ids), on_gpu=False)
    free(monkeypatch, full.total - 1)
    with pytest.raises(
        MachineError,
        match=r"training nano needs about \d+\.\d GB of memory \(weights .*, activations .*\), and "
        r".* are free; with --set train\.gradient_checkpointing=true it needs about",
    ):
        preflight.check(base, Train(), "fp32", [row])
    saved = Train(gradient_checkpointing=True)
    small = estimate(tiny.LLAMA, saved, "fp32", len(row.input_ids), on_gpu=False)
    free(monkeypatch, small.total)
    message = rf"gradient_checkpointing=true --set train\.row_tokens={len(row.input_ids)} it needs"
    with pytest.raises(MachineError, match=message):
        preflight.check(base, Train(), "fp32", [row])
    free(monkeypatch, small.total - 1)
    with pytest.raises(MachineError, match=r"no setting makes it fit: .*prepare\.max_tokens"):
        preflight.check(base, Train(), "fp32", [row])


def test_the_machine_has_memory_and_processes_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = preflight._free_bytes()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert 0 < preflight._free_bytes() < alone
