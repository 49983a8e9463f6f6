"""Samples: which model draws them, that they depend on the layer, and files of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark.data.table import load_table
from benchmark.errors import UserError
from benchmark.rcdm.config import DiffusionConfig
from benchmark.rcdm.sample import Model, draw, find_models, load_model, load_samples, sample
from benchmark.rcdm.trainer import DiffusionTrainer, as_seen
from benchmark.training import TrainConfig, load_run, train
from benchmark.training.run import CHECKPOINT, Checkpoint, load_checkpoint, save_checkpoint

CPU = torch.device("cpu")


def test_models_are_found_by_layer(network, model):
    assert find_models(network, [model], ["all"]) == {"stem": model, "trunk": model}
    assert find_models(network, [model], ["trunk"]) == {"trunk": model}
    with pytest.raises(UserError, match="rcdm: no diffusion model; train one: gr3d rcdm train"):
        find_models(network, [], ["all"])
    with pytest.raises(UserError, match="no diffusion model of layer block1; train one"):
        find_models(network, [model], ["block1"])
    with pytest.raises(UserError, match=r"--layers head9: the network of .* has no such layer"):
        find_models(network, [model], ["head9"])
    with pytest.raises(UserError, match="both have layer stem; say which"):
        find_models(network, [model, model], ["all"])


def test_another_networks_model_is_refused(tmp_path, photos, model, network):
    config = replace(load_run(network)[1], seed=5)
    train(TrainConfig(run=config, data=photos, out=tmp_path / "other", device="cpu", online_probes=False))
    with pytest.raises(UserError, match="was trained to look into another network"):
        load_model(model, load_run(tmp_path / "other")[0], CPU)


@pytest.mark.parametrize("damage", ["readers.0.mean", "nothing"])
def test_a_damaged_model_is_refused(tmp_path, model, network, damage):
    for name in ("config.json", "report.json"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    whole = load_checkpoint(model)
    weights = {name: value for name, value in whole.network.items() if name != damage}
    save_checkpoint(tmp_path, Checkpoint(**{**vars(whole), "network": weights}))
    with pytest.raises(UserError, match=r"damaged|from another architecture"):
        load_model(tmp_path, load_run(network)[0], CPU)
    (tmp_path / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match=r"checkpoint\.pt: damaged, or not a checkpoint of gr3d rcdm train"):
        load_model(tmp_path, load_run(network)[0], CPU)


def test_an_unfinished_model_is_refused(tmp_path, model, network):
    for name in ("config.json", CHECKPOINT):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    with pytest.raises(UserError, match="is not trained to its end"):
        load_model(tmp_path, load_run(network)[0], CPU)


def test_samples_repeat_and_differ_by_column_and_layer(model, network, photos):
    images = load_table(photos, "val").images[:2]
    how = {"folders": [model], "samples": 2, "steps": 3, "device": "cpu"}
    drawn = sample(network, ["all"], images, unconditional=True, **how)
    assert list(drawn.of) == ["stem", "trunk", None]
    assert all(x.shape == (2, 2, 3, 32, 32) and x.dtype == torch.uint8 for x in drawn.of.values())
    again = sample(network, ["trunk"], images, **how)
    assert torch.equal(again.of["trunk"], drawn.of["trunk"])
    assert not torch.equal(drawn.of["trunk"][:, 0], drawn.of["trunk"][:, 1])
    with pytest.raises(UserError, match="--steps 1001"):
        sample(network, ["trunk"], images, **{**how, "steps": 1001})


def test_samples_survive_a_file(tmp_path, model, network, photos):
    images = load_table(photos, "val").images[:2]
    how = {"folders": [model], "samples": 1, "steps": 2, "device": "cpu", "unconditional": True}
    drawn = sample(network, ["trunk"], images, **how)
    drawn.save(tmp_path / "deep" / "samples.npz", "asked")
    known = load_samples(tmp_path / "deep" / "samples.npz", "asked")
    assert torch.equal(known.images, images) and list(known.of) == ["trunk", None]
    assert all(torch.equal(known.of[layer], drawn.of[layer]) for layer in drawn.of)
    assert load_samples(tmp_path / "deep" / "samples.npz", "something else") is None
    (tmp_path / "torn.npz").write_bytes((tmp_path / "deep" / "samples.npz").read_bytes()[:500])
    assert load_samples(tmp_path / "torn.npz", "asked") is None
    assert load_samples(tmp_path / "none.npz", "asked") is None


def coloured(count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of a single colour each, and a layer that knows their red and green, but not their blue."""
    colours = rng.integers(30, 226, (count, 3))
    images = np.broadcast_to(colours[:, :, None, None], (count, 3, 32, 32)).astype(np.uint8)
    features = np.concatenate([colours[:, :2] / 128 - 1, rng.normal(size=(count, 4))], axis=1)
    return torch.from_numpy(images.copy()), torch.from_numpy(features).float()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_samples_keep_what_the_layer_knows_and_scatter_in_what_it_does_not():
    rng = np.random.default_rng(0)
    images, features = coloured(512, rng)
    run = DiffusionConfig(
        layers=("trunk",), side=32, patch=4, width=32, batch=32, epochs=40, lr=2e-3, ema=0.99, precision="fp32"
    )
    trainer = DiffusionTrainer(run, images, {"trunk": features}, CPU)
    for step in range(trainer.steps):
        trainer.step(step)
    trainer.average.copy_to(trainer.denoiser.parameters())
    made = Model(trainer.denoiser.eval(), run, None, CPU)
    asked, known = coloured(24, rng)
    truth = as_seen(asked, 32).mean(dim=(2, 3))[:, None]

    def scatter(layer: str | None, told: torch.Tensor) -> torch.Tensor:
        drawn = draw(made, layer, told, samples=4, steps=20)
        return (as_seen(drawn.flatten(0, 1), 32).mean(dim=(2, 3)).unflatten(0, (24, 4)) - truth).square().mean((0, 1))

    given, nothing = scatter("trunk", known), scatter(None, known)
    shuffled = scatter("trunk", known.roll(1, dims=0))
    lost, all_lost = given / nothing, shuffled / nothing
    assert lost[0] < 0.25 and lost[1] < 0.25, lost  # red and green are told
    assert 0.6 < lost[2] < 1.4, lost  # blue is not
    assert (all_lost[:2] > 0.6).all(), all_lost  # told another image's
