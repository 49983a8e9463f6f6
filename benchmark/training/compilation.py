"""torch.compile, where it is wanted and works."""

import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmark import distributed
from benchmark.errors import UserError

CHOICES = ("auto", "on", "off")


def wants_compile(choice: str, device: torch.device, deterministic: bool) -> bool:
    """Whether to compile. "auto": on a single CUDA device, unless to the bit the same weights are asked for.

    On CPUs it was measured not to pay (docs/training.md); beside SyncBatchNorm, on several ranks, nobody measured it.
    """
    if choice not in CHOICES:
        raise UserError(f"--compile {choice}: unknown; choose one of {', '.join(CHOICES)}", exit_code=2)
    if choice == "auto":
        return device.type == "cuda" and distributed.world_size() == 1 and not deterministic
    return choice == "on"


def compiled(network: nn.Module, batch: Tensor, autocast: torch.autocast, method: Callable | None = None) -> Callable:
    """``network``, or one of its methods whose output is a tensor or begins with one, compiled for batches like
    ``batch``, or, with a line on stderr, as it is where that cannot be done.

    Carries out one forward and backward pass, which is when torch compiles; parameters and buffers are afterwards what
    they were.
    """
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    fast = torch.compile(method or network.forward)
    try:
        with autocast:
            outputs = fast(batch)
        outputs = outputs if isinstance(outputs, Tensor) else outputs[0]
        if outputs.requires_grad:
            outputs.float().sum().backward()
        return fast
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a missing compiler, a broken one, a network it does not take: all sorts
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        print(f"torch.compile: does not work here ({reason}); training goes on without it", file=sys.stderr)
        return method or network
    finally:
        network.zero_grad(set_to_none=True)
        for name, buffer in network.named_buffers():
            buffer.copy_(before[name])
