"""The base model with a fresh LoRA on all seven projections, and the adapter's files."""

import os
from pathlib import Path
from typing import Any, Literal

from orpheus_clone import bundle, disk
from orpheus_clone.errors import ArtifactError, MachineError
from orpheus_clone.lora import PROJECTIONS
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Train
from orpheus_clone.train.optimizer import bitsandbytes
from orpheus_clone.train.pack import use_within_clips


def pick_precision(chosen: Literal["auto", "bf16", "fp32"]) -> Literal["bf16", "fp32"]:
    """Arithmetic for training: bf16 on a GPU, fp32 on a CPU, unless chosen."""
    import torch

    if chosen != "auto":
        return chosen
    return "bf16" if torch.cuda.is_available() else "fp32"


def forgets_activations(settings: Train) -> bool:
    """Whether gradient checkpointing is on, on this machine."""
    import torch

    chosen = settings.gradient_checkpointing
    return torch.cuda.is_available() if chosen is None else chosen


def with_lora(base: BaseModel, settings: Train, precision: Literal["bf16", "fp32"]) -> Any:
    """The frozen base in `precision`, or in 4 bits, with trainable float32 adapters (PeftModel)."""
    return add_lora(_load(base, settings, precision), settings)


def add_lora(model: Any, settings: Train) -> Any:
    """A PeftModel of a transformers model, ready for packed rows."""
    from peft import LoraConfig, get_peft_model

    model.config.use_cache = False
    use_within_clips(model)
    if forgets_activations(settings):
        model.gradient_checkpointing_enable({"use_reentrant": False})
    config = LoraConfig(
        r=settings.lora.rank,
        lora_alpha=settings.lora.alpha,
        lora_dropout=settings.lora.dropout,
        target_modules=list(PROJECTIONS),
        bias="none",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _load(base: BaseModel, settings: Train, precision: Literal["bf16", "fp32"]) -> Any:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    options: dict[str, Any] = {"dtype": torch.bfloat16 if precision == "bf16" else torch.float32}
    if settings.quantize == "nf4":
        options |= _in_nf4(options["dtype"])
    try:
        return AutoModelForCausalLM.from_pretrained(base.path, **options)
    except torch.cuda.OutOfMemoryError as error:
        raise MachineError(f"the GPU has too little memory for {base.name}: {error}") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{base.path}: cannot be loaded: {error}") from error


def _in_nf4(computed_in: Any) -> dict[str, Any]:
    """Options that let transformers load the projections in 4 bits; embeddings and head stay."""
    import torch
    from transformers import BitsAndBytesConfig

    bitsandbytes("train.quantize=nf4", "none")
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=computed_in,
    )
    # Such weights are made where they stay: each process has a GPU of its own.
    here = int(os.environ.get("LOCAL_RANK", "0")) if torch.cuda.is_available() else "cpu"
    return {"quantization_config": quantization, "device_map": {"": here}}


def save_adapter(model: Any, out: Path, base_name: str) -> str:
    """Write the adapter as vLLM loads it, bf16 safetensors; returns the digest of its weights."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    weights = {
        name: tensor.detach().to("cpu", torch.bfloat16).contiguous()
        for name, tensor in get_peft_model_state_dict(model).items()
    }
    lora = model.peft_config["default"]
    plain = bundle.adapter_config(base_name, lora.r, lora.lora_alpha, lora.lora_dropout)
    with disk.atomic_dir(out) as temporary:
        # safetensors does not say that a disk is full; Python does.
        (temporary / bundle.WEIGHTS_FILE).write_bytes(save(weights, metadata={"format": "pt"}))
        disk.write_json(temporary / bundle.CONFIG_FILE, plain)
    return disk.sha256_file(out / bundle.WEIGHTS_FILE)
