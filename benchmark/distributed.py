"""One run on several processes (ranks), each with a part of every batch: who this one is, and what they exchange.

Convention of the losses: every rank returns the loss of the joined batch, and its backward pass leaves at the rank's
own inputs N times that loss's gradient (N ranks). DistributedDataParallel averages the parameters' gradients over the
ranks, which makes them exactly those of one process that sees the joined batch.

Without a process group everything here is the identity, so that nobody else has to ask how many ranks there are.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from benchmark.errors import UserError

_LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # torchrun sets them all


@contextmanager
def started(device: torch.device) -> Iterator[None]:
    """Inside, this process belongs to the group that torchrun started (gloo on a CPU, NCCL on CUDA); without torchrun
    nothing is done. An exception leaves the group too."""
    if not _launched() or _grouped():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(local_rank())
    # Flags and messages stay on the CPU, so that no GPU is waited for when ranks agree on something.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def end_process(code: int) -> None:
    """Under torchrun, end this process here and now; else return.

    gloo's threads live as long as the process. One that lets go of a tensor while Python winds up kills it with SIGABRT
    (seen once in some thirty runs): a finished run would look like a failed one.
    """
    if _launched():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def rank() -> int:
    """This process's number among all, from 0; before ``started`` already what torchrun says."""
    return dist.get_rank() if _grouped() else int(os.environ["RANK"]) if _launched() else 0


def world_size() -> int:
    """Number of ranks, 1 without torchrun."""
    return dist.get_world_size() if _grouped() else int(os.environ["WORLD_SIZE"]) if _launched() else 1


def local_rank() -> int:
    """This process's number on its machine, from 0: the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0)) if _launched() else 0


def local_ranks() -> int:
    """How many ranks there are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if _launched() else 1


def is_main() -> bool:
    """Whether this is the rank that writes and speaks."""
    return rank() == 0


def gather(x: Tensor, dim: int) -> Tensor:
    """All ranks' ``x``, of one shape, side by side along ``dim`` in the order of the ranks.

    Its backward pass sums the ranks' gradients of each part and gives every rank the sum of its own.
    """
    return _Gather.apply(x, dim) if _grouped() else x


def mean(x: Tensor) -> Tensor:
    """The mean of ``x`` over the ranks; its gradient passes through as if ``x`` had been returned.

    For a loss that is a mean over images: the local mean's gradient is already N times the joined one's (see above).
    """
    return _Mean.apply(x) if _grouped() else x


def highest(*numbers: int) -> list[int]:
    """The highest of each of the ranks' ``numbers``, on all ranks."""
    if not _grouped():
        return list(numbers)
    together = torch.tensor(numbers, dtype=torch.int64)
    dist.all_reduce(together, dist.ReduceOp.MAX)
    return together.tolist()


def from_main(value: Any) -> Any:
    """The main rank's ``value`` (anything that can be pickled), on all ranks."""
    if not _grouped():
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


@contextmanager
def together() -> Iterator[None]:
    """A block that all ranks leave or none: after a UserError on some, the first of those raises it at the block's end
    and the others SystemExit, so that one line says what was wrong. The ranks exchange nothing inside."""
    failure = None
    try:
        yield
    except UserError as error:
        failure = error
    code = highest(0 if failure is None else failure.exit_code)[0]
    if code:
        first = -highest(-rank() if failure is not None else -world_size())[0]
        raise failure if failure is not None and rank() == first else SystemExit(code)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, dim: int) -> Tensor:
        ctx.dim, ctx.size = dim, x.shape[dim]
        x = x.contiguous()
        parts = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(parts, x)
        return torch.cat(parts, dim)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.narrow(ctx.dim, rank() * ctx.size, ctx.size), None


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total / world_size()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


def _launched() -> bool:
    return all(name in os.environ for name in _LAUNCHED)


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()
