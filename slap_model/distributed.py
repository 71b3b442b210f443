"""Several processes, one per GPU, started by ``torchrun``; a single one where there is nothing to share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from slap_model.config import ConfigError


class LostRankError(RuntimeError):
    """Another process of the job died or hangs; the message says what to look at."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of the job."""

    rank: int
    world: int
    device: torch.device

    @property
    def main(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0


@contextmanager
def started(wanted: str, patience: float) -> Iterator[Ranks]:
    """Join the other processes that ``torchrun`` started, and say clearly when one of them is lost.

    Args:
        wanted: ``auto``, ``cpu`` or ``cuda``.
        patience: seconds to wait for the others in one exchange.

    Raises:
        ConfigError: a GPU is wanted and there is none.
        LostRankError: another process died, or did not answer in time.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    cuda = wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available())
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if cuda:
        if not torch.cuda.is_available():
            raise ConfigError("train.device = 'cuda': torch sees no GPU here; auto or cpu trains without one")
        torch.cuda.set_device(device)
    if world == 1:
        yield Ranks(rank, world, device)
        return
    # Small questions (shall we stop?) go over gloo: they need not wait for the GPU.
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=timedelta(seconds=patience))
    try:
        yield Ranks(rank, world, device)
    except (dist.DistError, RuntimeError) as error:
        if not _is_of_the_others(error):
            raise
        raise LostRankError(
            f"process {rank} of {world} had no answer from the others: one of them died, or was stuck for "
            f"{patience:.0f} s (train.patience). Look at the log of that one; start the same command again and it goes "
            f"on from the last checkpoint. ({str(error).splitlines()[0]})"
        ) from error
    finally:
        dist.destroy_process_group()


def _is_of_the_others(error: Exception) -> bool:
    """Gloo raises plain RuntimeErrors that name the connection or the wait; NCCL has a class of its own."""
    if isinstance(error, dist.DistError):
        return True
    words = ("gloo", "Connection", "Timed out", "timed out", "timeout", "NCCL")
    return any(word in str(error) for word in words)


def gather(rows: Tensor) -> Tensor:
    """Rows ``[n, d]`` of all processes, ``[world * n, d]`` in the order of their ranks, with gradients.

    Every process must compute the same loss from the result: the gradient of its own rows is then known here, and
    nothing is sent back.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        context.count = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        # DDP averages over the processes, but only this one has a gradient for its rows: it counts for all.
        first = dist.get_rank() * context.count
        return gradients[0][first : first + context.count] * dist.get_world_size()


def any_of(value: int) -> int:
    """The largest of the processes' values."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    tensor = torch.tensor([value])
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return int(tensor)


def mean(value: Tensor) -> Tensor:
    """The mean of the processes' values."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
