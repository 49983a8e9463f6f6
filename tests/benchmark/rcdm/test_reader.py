from dataclasses import replace

import pytest
import torch

from benchmark.data.table import load_table
from benchmark.errors import UserError
from benchmark.objectives.latents import factor_columns
from benchmark.rcdm.reader import load_reader
from benchmark.recipes import SMALL
from benchmark.training import TrainConfig, train
from benchmark.training.run import CHECKPOINT, Checkpoint, load_checkpoint, save_checkpoint

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory, photos):
    out = tmp_path_factory.mktemp("reader") / "run"
    config = replace(SMALL["latents"], head="none", epochs=60, batch=16, lr=2e-3, precision="fp32")
    config = replace(config, views=(replace(config.views[0], blur_p=0.0),))
    train(TrainConfig(run=config, data=photos, out=out, device="cpu", online_probes=False))
    return out


def test_a_reader_learns_what_its_images_show(run, photos):
    """32 images of noise, each with labels of its own: read again, they are known by heart."""
    table = load_table(photos, "train")
    reading = load_reader(run, CPU).read(table.images)
    truth = factor_columns(table)
    error = (reading.columns - truth).square().mean() / (truth - truth.mean(dim=0)).square().mean()
    assert error < 0.5
    assert sum(a == b for a, b in zip(reading.categories, table.categories, strict=True)) > 24
    assert reading.features.shape == (32, 512)


def test_images_of_another_side_are_scaled(run):
    colours = torch.randint(0, 256, (4, 3, 1, 1), dtype=torch.uint8)
    reader = load_reader(run, CPU)
    small, large = (reader.read(colours.expand(-1, -1, side, side)) for side in (32, 64))
    torch.testing.assert_close(small.columns, large.columns, atol=1e-3, rtol=1e-3)


def test_other_runs_are_no_readers(network):
    with pytest.raises(UserError, match="was trained on simclr; a reader is a run of gr3d train --objective latents"):
        load_reader(network, CPU)


@pytest.mark.parametrize("state", [{}, {"mean": torch.zeros(3)}, {"mean": 1, "_extra_state": {"classes": ["a"]}}])
def test_a_damaged_readout_is_refused(run, tmp_path, state):
    for name in ("config.json", "report.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    save_checkpoint(tmp_path, Checkpoint(**{**vars(load_checkpoint(run)), "objective": state}))
    with pytest.raises(UserError, match=CHECKPOINT.partition(".")[0]):
        load_reader(tmp_path, CPU)
