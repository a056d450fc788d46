"""The reference engine: transformers' forward pass and samplers, PEFT's adapters, one token a step.

Streams take turns token by token behind one lock, each with its own KV cache, so several can be
open at a time; there is no batching and no claim to speed.

It can also speak with a model that is being trained: adapters are then loaded beside the one that
learns, which is as it was when the engine is closed.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator
from typing import Any

from safetensors import SafetensorError

from orpheus_clone import optimised, tokens
from orpheus_clone.bundle import Adapter
from orpheus_clone.engine.base import (
    Delta,
    EngineInfo,
    Request,
    allowed_ids,
    hardware_name,
)
from orpheus_clone.engine.penalty import penalise, recently_said
from orpheus_clone.errors import EngineError, MachineError
from orpheus_clone.models import BaseModel


class HfEngine:
    """See the module docstring."""

    def __init__(self, base: BaseModel, in_training: Any = None) -> None:
        """`in_training` is a PeftModel of `base`, which is then not loaded a second time."""
        import torch

        self._torch = torch
        self._model: Any = _opened(base) if in_training is None else in_training
        self._own: str | None = None
        """The adapter that learns, which nobody speaks through."""
        if in_training is not None:
            self._own = in_training.active_adapter
            self._attention = in_training.config._attn_implementation  # made for packed rows
            in_training.set_attn_implementation("sdpa")
        self._device = str(self._model.device)
        self._first = optimised.FIRST if base.has_audio_head else 0
        """The id of the head's first row."""
        self._model.eval()
        self._lock = threading.Lock()
        self._loaded: set[str] = set()
        self._is_alive = True
        precision = "bf16" if self._model.dtype == torch.bfloat16 else "fp32"
        self.info = EngineInfo("hf", hardware_name(), precision)

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Stream an utterance; see `Engine.generate`."""
        if request.adapter is not None:
            await self.load(request.adapter)
        stream = _Stream(self._torch, request, self._device, self._first)
        longest = request.max_frames * tokens.FRAME
        for position in range(longest):
            token = await asyncio.to_thread(self._step, stream)
            if token == tokens.END_OF_SPEECH:
                yield Delta([], "stop")
                return
            yield Delta([token], "length" if position + 1 == longest else None)

    async def load(self, adapter: Adapter) -> None:
        """Make an adapter resident; see `Engine.load`."""
        await asyncio.to_thread(self._load, adapter)

    async def unload(self, adapter: Adapter) -> None:
        """Forget an adapter."""
        await asyncio.to_thread(self._unload, adapter)

    def is_alive(self) -> bool:
        """Whether `close` has not been called."""
        return self._is_alive

    async def close(self) -> None:
        """Free the model, or leave it to who trains it, with its own adapter alone."""
        self._is_alive = False
        if self._own is not None and self._model is not None:
            self._model.set_adapter(self._own)
            for name in sorted(self._loaded):
                self._model.delete_adapter(_peft_name(name))
            self._model.set_attn_implementation(self._attention)
        self._loaded.clear()
        self._model = None

    def _load(self, adapter: Adapter) -> None:
        try:
            from peft import PeftModel, load_peft_weights
        except ImportError as missing:
            raise MachineError(
                "the hf engine needs peft to speak through an adapter: "
                "pip install 'orpheus-clone[train]'"
            ) from missing
        with self._lock:
            if adapter.name in self._loaded:
                return
            name = _peft_name(adapter.name)
            try:
                load_peft_weights(str(adapter.path))  # fails before the model is changed
                if isinstance(self._model, PeftModel):
                    self._model.load_adapter(str(adapter.path), adapter_name=name)
                else:
                    self._model = PeftModel.from_pretrained(
                        self._model, str(adapter.path), adapter_name=name
                    )
            except (OSError, ValueError, RuntimeError, SafetensorError) as error:
                raise EngineError(f"peft cannot load adapter {adapter.name}: {error}") from error
            self._model.eval()
            self._loaded.add(adapter.name)

    def _unload(self, adapter: Adapter) -> None:
        with self._lock:
            if adapter.name not in self._loaded:
                return
            self._loaded.remove(adapter.name)
            left = self._own or next(map(_peft_name, self._loaded), None)
            if left is None:
                self._model = self._model.unload()  # PEFT cannot run with no adapter at all
                return
            self._model.set_adapter(left)
            self._model.delete_adapter(_peft_name(adapter.name))

    def _step(self, stream: "_Stream") -> int:
        """One forward pass of one stream, with its adapter switched on."""
        with self._lock, self._torch.inference_mode():
            if stream.adapter is not None:
                self._model.set_adapter(_peft_name(stream.adapter.name))
                return stream.step(self._model)
            if self._loaded or self._own:
                with self._model.disable_adapter():
                    return stream.step(self._model)
            return stream.step(self._model)


class _Stream:
    """What one utterance has said so far, and the KV cache of it."""

    def __init__(self, torch: Any, request: Request, device: str, first: int) -> None:
        from transformers import (
            LogitsProcessorList,
            TemperatureLogitsWarper,
            TopPLogitsWarper,
        )

        self.adapter = request.adapter
        self._torch = torch
        self._first = first
        prompt = optimised.turned(request.prompt) if first else request.prompt
        self._coming = torch.tensor([prompt], device=device)
        """What the model has not seen yet."""
        self._said: list[int] = []
        """Columns of the head, which are the model's ids of what may be generated."""
        self._cache: Any = None
        self._generator = torch.Generator(device)
        if request.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(request.seed)
        sampling = request.sampling
        self._penalty = sampling.repetition_penalty
        self._is_greedy = sampling.temperature == 0
        self._warp = LogitsProcessorList()
        if not self._is_greedy:
            self._warp.append(TemperatureLogitsWarper(float(sampling.temperature)))
            if sampling.top_p < 1:
                self._warp.append(TopPLogitsWarper(sampling.top_p))

    def step(self, model: Any) -> int:
        """The next id, which is legal at this position."""
        output = model(input_ids=self._coming, past_key_values=self._cache, use_cache=True)
        self._cache = output.past_key_values
        logits = output.logits[:, -1].float()
        if not logits.isfinite().all():
            who = f"with adapter {self.adapter.name}" if self.adapter else "of the base"
            raise EngineError(f"the scores {who} are not numbers; it cannot speak")
        penalise(logits, [recently_said(self._said)], [self._penalty])
        scores = self._warp(None, self._mask(logits))
        if self._is_greedy:
            chosen = scores.argmax(dim=-1, keepdim=True)
        else:
            chosen = self._torch.multinomial(scores.softmax(-1), 1, generator=self._generator)
        self._coming = chosen
        self._said.append(int(chosen))
        return int(chosen) + self._first

    def _mask(self, logits: Any) -> Any:
        ids, may_stop = allowed_ids(len(self._said))
        slot = slice(ids.start - self._first, ids.stop - self._first)
        masked = self._torch.full_like(logits, -self._torch.inf)
        masked[:, slot] = logits[:, slot]
        if may_stop:
            stop = tokens.END_OF_SPEECH - self._first
            masked[:, stop] = logits[:, stop]
        return masked


def _opened(base: BaseModel) -> Any:
    """The model, in bfloat16 on a GPU and in float32 on a CPU."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    kind = _with_audio_head() if base.has_audio_head else AutoModelForCausalLM
    return kind.from_pretrained(base.path, dtype=dtype).to(device)


def _with_audio_head() -> Any:
    """transformers' Llama with the head that `optimised.write` leaves."""
    from torch import nn
    from transformers import LlamaForCausalLM

    class AudioHeadLlama(LlamaForCausalLM):  # type: ignore[misc]  # transformers is skipped by mypy
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.lm_head = nn.Linear(config.hidden_size, optimised.WIDTH, bias=False)

    return AudioHeadLlama


def _peft_name(name: str) -> str:
    """PEFT makes module names of adapter names, which cannot hold a dot."""
    return name.replace(".", "_")
