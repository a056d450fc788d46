"""train: a LoRA adapter of a prepared corpus."""
