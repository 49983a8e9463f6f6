"""`gr3d train --objective` with every name, for a few steps on a small dataset, and what the run then holds."""

import json
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmark.cli import cli
from benchmark.errors import UserError
from benchmark.models import build_network
from benchmark.objectives import OBJECTIVES
from benchmark.training import load_run


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_dataset) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


def train(data: Path, out: Path, objective: str, *options: str):
    """4 steps of 8 images"""
    few = ["--data", str(data), "--out", str(out), "--epochs", "1", "--batch", "8", "--device", "cpu", "--head", "none"]
    return CliRunner().invoke(cli, ["train", "--objective", objective, *few, *options])


OPTIONS = ["--temperature", "0.7", "--redundancy", "0.5", "--vicreg", "1", "2", "3", "--ema", "0.5", "--seed", "3"]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_trains_with_the_options_given(objective, data, tmp_path):
    result = train(data, tmp_path / "run", objective, *OPTIONS)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "run" / "report.json").read_text())["steps"] == 4
    network, config = load_run(tmp_path / "run")
    assert (config.objective, config.seed) == (objective, 3)
    assert (config.temperature, config.redundancy, config.vicreg, config.ema) == (0.7, 0.5, (1.0, 2.0, 3.0), 0.5)
    begun = build_network(config.arch, config.stem, config.head, config.seed).state_dict()
    for name, value in network.state_dict().items():
        assert value.isfinite().all(), name
        assert not torch.equal(value, begun[name]), f"{name} was not trained"
    if objective == "supervised":
        stored = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
        assert stored["objective"]["_extra_state"] == {"classes": ["category-0", "category-1"]}


def test_nothing_to_classify(tmp_path, make_sample, put_shard):
    data = tmp_path / "data"
    data.mkdir()
    (data / "dataset.json").write_text('{"spec": {"seed": 0}}')
    put_shard(data / "train-000000.tar", [make_sample(index) for index in range(0, 32, 2)])
    result = train(data, tmp_path / "run", "supervised")
    assert isinstance(result.exception, UserError)
    assert str(result.exception).startswith(
        "--objective supervised: all training images are of one category (category-0)"
    )


@pytest.mark.parametrize("objective", ["vicreg", "byol"])
def test_run_that_explodes_stops_with_step_seed_and_last_good_checkpoint(objective, data, tmp_path):
    far = ["--lr", "1e30", "--warmup", "0", "--checkpoint-minutes", "0"]
    said = str(train(data, tmp_path / "run", objective, *far).exception)
    assert re.search(r"the (loss|gradient) became (nan|inf) at step \d, batch seed \(0, 2, \d\)", said)
    assert f"last good checkpoint: {tmp_path / 'run' / 'checkpoint.pt'} of step 1" in said
    stored = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert all(value.isfinite().all() for value in stored["network"].values())
    assert not (tmp_path / "run" / "report.json").exists()


def test_last_update_into_infinity_is_no_finished_run(data, tmp_path):
    """One step, whose loss and gradient are finite."""
    far = ["--optimizer", "sgd", "--lr", "1e38", "--warmup", "0", "--batch", "32", "--precision", "fp32"]
    said = str(train(data, tmp_path / "run", "barlow-twins", *far).exception)
    assert "the weights became infinite or NaN at step 1, batch seed (0, 2, 0); last good checkpoint: none" in said
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
    assert not (tmp_path / "run" / "report.json").exists()
