"""The vLLM engine: AsyncLLM in this process, its core in a process of its own.

Token ids go in and come out; no text, no detokenizer, no HTTP server of vLLM's. Adapters are
loaded under a name and id that come from their digest, so nothing stale can be reused.

On a GPU from compute capability 8.9 the weights are FP8 (all Linear layers but the head), else
bf16; fp16 audibly muffles. On a CPU they are float32.
"""

import contextlib
import os
import uuid
import warnings
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from orpheus_clone import disk, optimised, tokens
from orpheus_clone.bundle import Adapter
from orpheus_clone.engine.base import (
    MAX_STREAMS,
    Delta,
    EngineInfo,
    Finish,
    Precision,
    Request,
    hardware_name,
)
from orpheus_clone.errors import EngineDead, EngineError
from orpheus_clone.models import BaseModel

MAX_MODEL_LEN = 4096
"""Prompt and audio of one request; vLLM's default of 131072 starves the KV cache."""
CPU_KV_CACHE_GIB = "1"
MEMORY_SHARE = 0.85
"""Of a GPU, for weights and KV cache. vLLM's own 0.92 leaves this process, whose codec decodes on
the same GPU, 1.3 GB of 16; a GPU of which this share is not free is refused at the start."""
FIRST_FP8_CAPABILITY = (8, 9)
WORKER_SECONDS, CORE_SECONDS = 15, 25.0
"""For vLLM's processes to end, before they are killed. On a busy CPU the worker takes more than the
5 s that vLLM allows, and one that is killed leaves shared memory, of which Python then warns."""

_GONE = "vLLM's engine process is gone; restart this node"


class VllmEngine:
    """See the module docstring. Needs a running event loop only for its coroutines."""

    def __init__(
        self,
        base: BaseModel,
        *,
        max_adapters: int,
        max_rank: int,
        precision: Precision | None = None,
        max_streams: int = MAX_STREAMS,
    ) -> None:
        _quiet_environment()
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        self._has_audio_head = base.has_audio_head
        self._precision = precision or _best_precision()
        self._max_len = min(MAX_MODEL_LEN, _positions(base))
        arguments: dict[str, Any] = {
            "model": str(base.path),
            "skip_tokenizer_init": True,
            "dtype": "float32" if self._precision == "fp32" else "bfloat16",
            "quantization": "fp8" if self._precision == "fp8" else None,
            "max_model_len": self._max_len,
            "max_num_seqs": max_streams,
            "gpu_memory_utilization": MEMORY_SHARE,
            "enable_lora": True,
            "max_loras": max_adapters,
            "max_lora_rank": max_rank,
            "logits_processors": ["orpheus_clone.engine.slot_mask:SlotMask"],
            "enforce_eager": self._precision == "fp32",
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
        }
        try:
            self._llm: Any = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
        except (RuntimeError, ValueError, OSError) as error:
            raise EngineError(f"vLLM cannot load {base.path}: {error}") from error
        _leave_cores_to_core_process()
        self.info = EngineInfo("vllm", hardware_name(), self._precision)
        self._loaded: dict[str, None] = {}
        """Names of adapters, the least recently used first: vLLM's own order of forgetting."""
        self._max_adapters = max_adapters

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Stream an utterance; see `Engine.generate`."""
        from vllm.exceptions import VLLMValidationError
        from vllm.v1.engine.exceptions import EngineDeadError

        self._check_alive()
        frames = self._frames_that_fit(request)
        if request.adapter is not None:
            await self._make_resident(request.adapter)
        stream = self._llm.generate(
            {"prompt_token_ids": self._into(request.prompt)},
            _sampling_params(request, frames, self._into([tokens.END_OF_SPEECH])),
            uuid.uuid4().hex,
            lora_request=_lora_request(request.adapter),
        )
        try:
            async for output in stream:
                completion = output.outputs[0]
                yield _delta(self._out_of(completion.token_ids), completion.finish_reason)
        except EngineDeadError as error:
            raise EngineDead(_GONE) from error
        except (ValueError, VLLMValidationError) as error:
            raise EngineError(f"vLLM refused the request: {error}") from error
        finally:
            await stream.aclose()

    def _into(self, ids: list[int]) -> list[int]:
        """Ids as the model has them."""
        return optimised.turned(ids) if self._has_audio_head else ids

    def _out_of(self, ids: Sequence[int]) -> list[int]:
        """The model's ids as everybody else has them."""
        return optimised.restored(ids) if self._has_audio_head else list(ids)

    async def load(self, adapter: Adapter) -> None:
        """Make an adapter resident; see `Engine.load`."""
        self._check_alive()
        try:
            await self._llm.add_lora(_lora_request(adapter))
        except Exception as error:  # vLLM forwards whatever its core process raised
            if not self.is_alive():
                raise EngineDead(_GONE) from error
            raise EngineError(f"vLLM cannot load adapter {adapter.name}: {error}") from error
        self._loaded[adapter.name] = None
        if len(self._loaded) > self._max_adapters:
            del self._loaded[next(iter(self._loaded))]

    async def unload(self, adapter: Adapter) -> None:
        """Forget an adapter."""
        self._check_alive()
        self._loaded.pop(adapter.name, None)
        await self._llm.remove_lora(adapter.number)

    def _frames_that_fit(self, request: Request) -> int:
        """At most what was asked for; vLLM alone would stop at its limit inside a frame."""
        frames = (self._max_len - len(request.prompt)) // tokens.FRAME
        if frames < 1:
            raise EngineError(
                f"a prompt of {len(request.prompt)} tokens leaves no room for audio in "
                f"{self._max_len}; say it in shorter pieces"
            )
        return min(frames, request.max_frames)

    async def _make_resident(self, adapter: Adapter) -> None:
        """Load it now: one that the core cannot read in the middle of a step kills the core."""
        if adapter.name in self._loaded:
            self._loaded[adapter.name] = self._loaded.pop(adapter.name)
        else:
            await self.load(adapter)

    def is_alive(self) -> bool:
        """Whether the core process lives."""
        return self._llm is not None and not self._llm.errored

    async def close(self) -> None:
        """Stop the core process and wait for it."""
        if self._llm is not None:
            # In this thread, so that vLLM's output task is cancelled before it can see the end.
            self._llm.shutdown(timeout=CORE_SECONDS)
            # Let go now: vLLM's destructor fails when it only runs as the interpreter ends.
            self._llm = None

    def _check_alive(self) -> None:
        if not self.is_alive():
            raise EngineDead(_GONE)


def _quiet_environment() -> None:
    """Settings that vLLM reads from the environment when it is imported."""
    os.environ["ORPHEUS_CLONE_NODE_PID"] = str(os.getpid())  # slot_mask.NODE_PID
    defaults = {
        # SlotMask speaks the interface of the V1 runner, on a GPU as on a CPU.
        "VLLM_USE_V2_MODEL_RUNNER": "0",
        "VLLM_CPU_KVCACHE_SPACE": CPU_KV_CACHE_GIB,
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # stdout is for data
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_WORKER_SHUTDOWN_TIMEOUT_SECONDS": str(WORKER_SECONDS),
        "TOKENIZERS_PARALLELISM": "false",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "TORCH_LOGS": "-torch._library.triton",
        "PYTHONWARNINGS": "ignore::FutureWarning",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning, module="vllm")


def _leave_cores_to_core_process() -> None:
    """One thread for this process on a CPU: two pools that wait for each other on the same cores
    made decoding ten times slower (measured with nano on two cores).
    """
    import torch

    if not torch.cuda.is_available():
        torch.set_num_threads(1)


def _best_precision() -> Precision:
    import torch

    if not torch.cuda.is_available():
        return "fp32"
    return "fp8" if torch.cuda.get_device_capability() >= FIRST_FP8_CAPABILITY else "bf16"


def _positions(base: BaseModel) -> int:
    config = disk.read_json(base.path / "config.json", "fetch the base model again")
    return int(config.get("max_position_embeddings", MAX_MODEL_LEN))


def _sampling_params(request: Request, frames: int, stop_ids: list[int]) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=request.sampling.temperature,
        top_p=request.sampling.top_p,
        extra_args={"repetition_penalty": request.sampling.repetition_penalty},
        max_tokens=frames * tokens.FRAME,
        stop_token_ids=stop_ids,
        seed=request.seed,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )


def _lora_request(adapter: Adapter | None) -> Any:
    from vllm.lora.request import LoRARequest

    if adapter is None:
        return None
    return LoRARequest(adapter.name, adapter.number, str(adapter.path))


def _delta(ids: list[int], reason: str | None) -> Delta:
    """vLLM's output with the stop id taken off."""
    finish: Finish | None = None
    if reason == "stop":
        finish = "stop"
        with contextlib.suppress(ValueError):
            ids.remove(tokens.END_OF_SPEECH)
    elif reason == "length":
        finish = "length"
    elif reason is not None:
        raise EngineError(f"vLLM ended the utterance: {reason}")
    return Delta(ids, finish)
