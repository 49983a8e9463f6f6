from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.errors import UserError
from benchmark.models import build_network
from benchmark.probes.features import weights_hash
from benchmark.probes.results import PIXELS, TRAINED, UNTRAINED
from benchmark.probes.subjects import pixels8, trained, untrained
from benchmark.recipes import SMALL
from benchmark.training.run import Checkpoint, save_checkpoint, write_config, write_json


@pytest.fixture
def run(tmp_path) -> Path:
    """A run of a network without head whose training consisted in adding 1 to the first weight."""
    config = replace(SMALL["rotation"], head="none", seed=3)
    network = build_network(config.arch, config.stem, config.head, config.seed)
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += 1
    write_config(tmp_path, config, {"seed": 0})
    state = network.state_dict()
    save_checkpoint(tmp_path, Checkpoint(1, 10, 1.0, state, {}, None, torch.get_rng_state()))
    return tmp_path


def test_trained_and_untrained_differ_by_the_training(run):
    after, before = trained(run), untrained(run)
    assert (after.role, before.role) == (TRAINED, UNTRAINED)
    assert after.config == before.config
    assert after.config["objective"] == "rotation"
    assert weights_hash(before.network) == weights_hash(build_network("resnet18", "imagenet", "none", seed=3))
    step = next(after.network.parameters()) - next(before.network.parameters())
    assert step.view(-1)[0].item() == pytest.approx(1)
    assert step.count_nonzero() == 1


def test_a_run_knows_its_data_and_how_far_it_is(run):
    subject = trained(run)
    assert (subject.data_spec, subject.unfinished_step) == ({"seed": 0}, 1)
    write_json(run / "report.json", {"images": 10})
    assert trained(run).unfinished_step is None
    assert untrained(run).data_spec is None


def test_no_run_is_a_clear_line(tmp_path):
    for read in (trained, untrained):
        with pytest.raises(UserError, match="not a run"):
            read(tmp_path)


@pytest.mark.parametrize("side", [8, 20, 64])
def test_pixels_are_192_averages(side):
    images = torch.rand(5, 3, side, side)
    subject = pixels8()
    assert subject.role == PIXELS
    features = subject.network.features(images, pool=4)
    assert list(features) == ["pixels"]
    assert features["pixels"].shape == (5, 192)
    if side == 64:
        torch.testing.assert_close(features["pixels"][:, 9], images[:, 0, 8:16, 8:16].mean(dim=(1, 2)))
