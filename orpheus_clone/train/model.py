"""The base model with a fresh LoRA on all seven projections, and the adapter's files."""

from pathlib import Path
from typing import Any, Literal

from orpheus_clone import bundle, layout
from orpheus_clone.errors import ArtifactError, MachineError
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Lora


def pick_precision(chosen: Literal["auto", "bf16", "fp32"]) -> Literal["bf16", "fp32"]:
    """Arithmetic for training: bf16 on a GPU, fp32 on a CPU, unless chosen."""
    import torch

    if chosen != "auto":
        return chosen
    return "bf16" if torch.cuda.is_available() else "fp32"


def with_lora(base: BaseModel, lora: Lora, precision: Literal["bf16", "fp32"]) -> Any:
    """The frozen base in `precision` with trainable float32 adapters (a PeftModel)."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(base.path, dtype=dtype)
    except torch.cuda.OutOfMemoryError as error:
        raise MachineError(f"the GPU has too little memory for {base.name}: {error}") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{base.path}: cannot be loaded: {error}") from error
    model.config.use_cache = False
    if torch.cuda.is_available():
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(bundle.PROJECTIONS),
        bias="none",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


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
    with layout.atomic_dir(out) as temporary:
        # safetensors does not say that a disk is full; Python does.
        (temporary / bundle.WEIGHTS_FILE).write_bytes(save(weights, metadata={"format": "pt"}))
        layout.write_json(temporary / bundle.CONFIG_FILE, plain)
    return layout.sha256_file(out / bundle.WEIGHTS_FILE)
