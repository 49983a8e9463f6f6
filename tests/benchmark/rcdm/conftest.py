"""A small trained network and small diffusion models that look into it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.rcdm.config import DiffusionConfig, DiffusionTraining
from benchmark.rcdm.train import train
from benchmark.recipes import SMALL
from benchmark.training import TrainConfig
from benchmark.training import train as train_network

TINY = DiffusionConfig(layers=("trunk", "stem"), side=32, patch=4, width=32, epochs=2, batch=8, precision="fp32")


@pytest.fixture(scope="session")
def photos(tmp_path_factory, write_dataset) -> Path:
    """32 renders of 32 x 32 pixels, split train, and 10, split val."""
    folder = tmp_path_factory.mktemp("rcdm") / "data"
    write_dataset(folder, count=32)
    return write_dataset(folder, count=10, split="val")


@pytest.fixture(scope="session")
def network(tmp_path_factory, photos) -> Path:
    """A run of `gr3d train` of a single epoch, without head."""
    out = tmp_path_factory.mktemp("rcdm") / "network"
    run = replace(SMALL["simclr"], head="none", epochs=1, batch=16, precision="fp32")
    train_network(TrainConfig(run=run, data=photos, out=out, device="cpu", online_probes=False))
    return out


@pytest.fixture(scope="session")
def training(network, photos) -> Callable[..., DiffusionTraining]:
    """training(out, **changes of the model) -> its settings"""

    def settings(out: Path, **changes: object) -> DiffusionTraining:
        return DiffusionTraining(run=replace(TINY, **changes), network=network, data=photos, out=out, device="cpu")

    return settings


@pytest.fixture(scope="session")
def model(tmp_path_factory, training) -> Path:
    """A trained diffusion model of layers stem and trunk."""
    out = tmp_path_factory.mktemp("rcdm") / "model"
    train(training(out))
    return out
