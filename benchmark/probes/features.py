"""Reads every layer of a frozen network, and makes sure that it stays frozen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.probes.progress import Progress


def read_layers(
    network: nn.Module,
    images: Tensor,
    source: str,
    pool: int,
    device: torch.device,
    batch_size: int,
    order: Tensor | None = None,
) -> Iterator[tuple[slice, dict[str, Tensor]]]:
    """Yield (rows, {layer: float32 (b, d) on `device`}) for uint8 images (N, 3, H, W), batch by batch.

    order: int64 (n,), the images to read, in this order; rows are then places in it. None: all, as they come.
    Eval mode, float32, no gradients; pool as in Network.features; `source` names network and split in messages.
    The network stays on `device`. Raises UserError for a layer without features or with one that is
    not finite, and RuntimeError after the
    last batch if a weight or a buffer has changed.
    """
    count = len(images) if order is None else len(order)
    progress = Progress(source, count)
    modes = {module: module.training for module in network.modules()}
    network.to(device).eval()
    before = weights_hash(network)
    try:
        with _exact_float32():
            for start in range(0, count, batch_size):
                rows = slice(start, min(start + batch_size, count))
                batch = images[rows] if order is None else images[order[rows]]
                yield rows, _read(network, batch.to(device), source, pool)
                progress.update(rows.stop - rows.start)
    finally:
        for module, training in modes.items():
            module.training = training
    progress.finish()
    if weights_hash(network) != before:
        raise RuntimeError(f"{source}: reading the layers changed the network's weights or buffers")


@torch.inference_mode()
def _read(network: nn.Module, images: Tensor, source: str, pool: int) -> dict[str, Tensor]:
    features = {layer: x.float() for layer, x in network.features(images.float() / 255, pool).items()}
    for layer, x in features.items():
        if x.shape[1] == 0:
            raise UserError(f"{source}: layer {layer} has no features (width 0)")
        if not x.isfinite().all():
            raise UserError(f"{source}: layer {layer} gives values that are not finite; its training diverged")
    return features


@contextmanager
def _exact_float32() -> Iterator[None]:
    """No TF32 on NVIDIA devices: its 10-bit mantissa would be a second, hidden precision."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        matmul = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = matmul


def weights_hash(network: nn.Module) -> str:
    """sha256 over names, types, shapes and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    for kind in (network.named_parameters, network.named_buffers):
        for name, value in kind():
            digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
