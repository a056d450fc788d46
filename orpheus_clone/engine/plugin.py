"""What vLLM's entry point for plugins calls, in each of its processes; it must be light."""

from orpheus_clone import optimised


def register() -> None:
    """Tell vLLM which class runs the checkpoints that `models optimise` writes."""
    from vllm import ModelRegistry

    where = "orpheus_clone.engine.audio_head:OrpheusAudioHeadForCausalLM"
    ModelRegistry.register_model(optimised.ARCHITECTURE, where)
