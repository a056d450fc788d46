"""Training by several processes of one core each, where torch's threads would wait for each other.

With one process there is no group, and every function here leaves things as they are.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

Work = Callable[[int, argparse.Namespace], None]


def run(work: Work, args: argparse.Namespace, count: int, meeting_dir: Path) -> None:
    """`work` in `count` processes, which is told which of them it is."""
    if count == 1:
        work(0, args)
        return
    meeting = (meeting_dir / "meeting").resolve()
    meeting.unlink(missing_ok=True)
    spawn(_joined, (work, args, count, str(meeting)), nprocs=count)  # type: ignore[no-untyped-call]


def _joined(rank: int, work: Work, args: argparse.Namespace, count: int, meeting: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=count)
    work(rank, args)


def gathered(rows: Tensor) -> Tensor:
    """Every worker's rows, which are equally many."""
    if not dist.is_initialized():
        return rows
    all_rows = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(all_rows, rows)
    return torch.cat(all_rows)


def share(module: nn.Module) -> None:
    """Every worker's gradients become the mean of all workers'."""
    if not dist.is_initialized():
        return
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([grad.flatten() for grad in grads]) / dist.get_world_size()
    dist.all_reduce(flat)
    for grad in grads:
        grad.copy_(flat[: grad.numel()].view_as(grad))
        flat = flat[grad.numel() :]


@torch.no_grad()
def agree(module: nn.Module) -> None:
    """Every worker's weights become those of the first."""
    if dist.is_initialized():
        for weight in module.parameters():
            dist.broadcast(weight, 0)


def is_first() -> bool:
    """Whether this process is the one that saves and tells."""
    return not dist.is_initialized() or dist.get_rank() == 0
