"""What is read layer by layer: trained networks, and controls that show what depth and pooling do alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models import build_network
from benchmark.probes.results import PIXELS, TRAINED, UNTRAINED
from benchmark.training.config import RunConfig, to_dict
from benchmark.training.run import is_finished, load_checkpoint, load_run, read_config


@dataclass(frozen=True)
class Subject:
    """A feature extractor and what it is.

    network: a module with features(images float (B, 3, H, W) in [0, 1], pool) -> {layer: (B, d)}, in layer
    order. role: TRAINED, or the control it is: UNTRAINED or PIXELS. config: the run's settings, kept with the
    results. data_spec: `spec` of the dataset it was trained on, None for none. unfinished_step: of its training,
    after which the checkpoint was written; None when the training is finished.
    """

    network: nn.Module
    role: str = TRAINED
    config: dict = field(default_factory=dict)
    data_spec: dict | None = None
    unfinished_step: int | None = None


def trained(run: Path) -> Subject:
    """The network of a run directory. UserError, as `load_run`, for no run or a checkpoint that does not fit."""
    network, config = load_run(run)
    step = None if is_finished(run) else load_checkpoint(run).step
    return Subject(network, TRAINED, _as_json(config), read_config(run)["data"]["spec"], step)


def untrained(run: Path) -> Subject:
    """The network of `run` as it was before the first step; its BatchNorms, having seen no data, do nothing."""
    _, config = load_run(run)
    network = build_network(config.arch, config.stem, config.head, config.seed)
    return Subject(network.eval(), UNTRAINED, _as_json(config))


def _as_json(config: RunConfig) -> dict:
    """As it reads back from a results file: lists for tuples."""
    return json.loads(json.dumps(to_dict(config)))


def pixels8() -> Subject:
    """No network at all: the image average-pooled to 8 x 8, 192 features in one layer called `pixels`."""
    return Subject(PooledPixels(8), PIXELS)


class PooledPixels(nn.Module):
    """Reads an image as its own average over side x side cells."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def features(self, x: Tensor, pool: int = 1) -> dict[str, Tensor]:
        """(B, 3, H, W) -> {"pixels": (B, 3 * side * side)}, whatever `pool` is."""
        return {"pixels": F.adaptive_avg_pool2d(x, self.side).flatten(1)}
