"""The GPU's memory, which training, engines and judges take in turns."""


def give_back() -> None:
    """Give back what this process no longer uses: torch keeps it, where no other process gets it.

    Nothing to do where there is no GPU, but that garbage is collected.
    """
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
