"""The teacher: an exponential moving average of the network's past (BYOL: Grill et al., 2020, section 3.1)."""

import copy

import torch
from torch import Tensor

from benchmark.models import Network


def make_teacher(network: Network) -> Network:
    """A copy of ``network`` that takes no gradients and, like it, normalises by its own batches."""
    return copy.deepcopy(network).requires_grad_(False).train()


@torch.no_grad()
def follow(teacher: Network, network: Network, momentum: float) -> None:
    """teacher = momentum * teacher + (1 - momentum) * network, parameters and buffers alike; counters are copied."""
    old, new = _averaged(teacher), _averaged(network)
    torch._foreach_lerp_(old, new, 1 - momentum)
    for name, buffer in network.named_buffers():
        if not buffer.is_floating_point():
            teacher.get_buffer(name).copy_(buffer)


def _averaged(network: Network) -> list[Tensor]:
    return [*network.parameters(), *(buffer for buffer in network.buffers() if buffer.is_floating_point())]
