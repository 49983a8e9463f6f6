"""Reads latents and category off an image whose latents nobody knows: a network trained on real renders to do so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.errors import UserError
from benchmark.models import Network
from benchmark.objectives.latents import Latents, factor_slices
from benchmark.training.run import load_checkpoint, load_run, load_weights, read_config

_AT_ONCE = 256


@dataclass(frozen=True)
class Reading:
    """columns: float64 (N, t), the factors (benchmark.objectives.latents.factor_columns). categories: N names.
    features: float32 (N, d), the reader's trunk."""

    columns: Tensor
    categories: list[str]
    features: Tensor


@dataclass(frozen=True)
class Reader:
    """side: of the images it was trained on, to which others are scaled."""

    network: Network
    objective: Latents
    side: int
    device: torch.device

    @torch.inference_mode()
    def read(self, images: Tensor) -> Reading:
        """images: uint8 (N, 3, H, W)."""
        columns, categories, trunks = [], [], []
        for part in images.split(_AT_ONCE):
            x = part.to(self.device).float() / 255
            if x.shape[2:] != (self.side, self.side):
                x = F.interpolate(x, size=(self.side, self.side), mode="bilinear", antialias=True, align_corners=False)
            output, features = self.network.forward_with_features(x)
            values, places = self.objective.read(output)
            columns.append(values.double().cpu())
            categories += [self.objective.classes[place] for place in places.tolist()]
            trunks.append(features["trunk"].cpu())
        return Reading(torch.cat(columns), categories, torch.cat(trunks))


def load_reader(run: Path, device: torch.device) -> Reader:
    """The reader that `gr3d train --objective latents` trained. UserError for any other run."""
    network, config = load_run(run)
    if config.objective != "latents":
        raise UserError(
            f"{run}: was trained on {config.objective}; a reader is a run of gr3d train --objective latents"
        )
    state = load_checkpoint(run).objective
    try:
        classes = list(map(str, state["_extra_state"]["classes"]))
        if len(state["mean"]) != (columns := max(place.stop for place in factor_slices().values())):
            raise ValueError(f"reads {len(state['mean'])} columns, not {columns}")
        objective = Latents(network.dim, torch.zeros(2, columns, dtype=torch.float64), classes)
        side = int(read_config(run)["data"]["spec"]["resolution"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{run}: its checkpoint is damaged, or its images have no side ({error})") from error
    load_weights(objective, state, run)
    return Reader(network.to(device).eval(), objective.to(device).eval(), side, device)
