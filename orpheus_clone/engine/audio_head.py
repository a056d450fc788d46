"""The audio head inside vLLM: a Llama whose head has fewer rows than its embedding.

vLLM loads it through its entry point for plugins (`vllm.general_plugins` in pyproject.toml), in
each of its processes, for checkpoints that `optimised.write` wrote.
"""

from typing import Any

from vllm.model_executor.layers.logits_processor import LogitsProcessor
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
from vllm.model_executor.models.llama import LlamaForCausalLM

from orpheus_clone import optimised


class OrpheusAudioHeadForCausalLM(LlamaForCausalLM):  # type: ignore[misc]  # vLLM has no types here
    """vLLM's own Llama, but for its last layer."""

    def __init__(self, *, vllm_config: Any, prefix: str = "", **more: Any) -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix, **more)
        self.lm_head = ParallelLMHead(
            optimised.WIDTH,
            self.config.hidden_size,
            quant_config=vllm_config.quant_config,
            prefix=f"{prefix}.lm_head" if prefix else "lm_head",
        )
        self.logits_processor = LogitsProcessor(optimised.WIDTH)
