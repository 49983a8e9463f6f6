"""Samples: which model draws them, that they depend on the layer, and files of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark.data.table import load_table
from benchmark.errors import UserError
from benchmark.rcdm.config import DiffusionConfig
from benchmark.rcdm.sample import Model, draw, find_models, load_model, load_samples, ready_models, sample
from benchmark.rcdm.trainer import DiffusionTrainer, as_seen
from benchmark.training import TrainConfig, load_run, train
from benchmark.training.run import CHECKPOINT, Checkpoint, load_checkpoint, save_checkpoint

CPU = torch.device("cpu")
WIDTHS = {"stem": 64, "trunk": 512}  # of the network's layers


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
        ready_models(tmp_path / "other", [model], ["all"], 50)


@pytest.mark.parametrize("damage", ["readers.0.mean", "nothing"])
def test_a_damaged_model_is_refused(tmp_path, model, damage):
    for name in ("config.json", "report.json"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    whole = load_checkpoint(model)
    weights = {name: value for name, value in whole.network.items() if name != damage}
    save_checkpoint(tmp_path, Checkpoint(**{**vars(whole), "network": weights}))
    with pytest.raises(UserError, match=r"damaged|from another architecture"):
        load_model(tmp_path, WIDTHS, CPU)
    (tmp_path / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match=r"checkpoint\.pt: damaged, or not a checkpoint of gr3d rcdm train"):
        load_model(tmp_path, WIDTHS, CPU)


@pytest.mark.parametrize(
    "teacher",
    [None, torch.zeros(3), {"shadow_params": [torch.zeros(2)], "optimization_step": 1}, {"shadow_params": "kept"}],
)
def test_damaged_averages_are_refused(tmp_path, model, teacher):
    for name in ("config.json", "report.json"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    whole = load_checkpoint(model)
    if isinstance(teacher, dict) and teacher["shadow_params"] == "kept":
        teacher = {"shadow_params": whole.teacher["shadow_params"], "optimization_step": "many"}
    save_checkpoint(tmp_path, Checkpoint(**{**vars(whole), "teacher": teacher}))
    with pytest.raises(UserError, match=r"averaged weights do not fit|damaged"):
        load_model(tmp_path, WIDTHS, CPU)


def test_a_model_of_none_of_the_networks_layers_is_named(tmp_path, photos, model, network):
    config = json.loads((model / "config.json").read_text())
    config["rcdm"]["layers"] = ["head7"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"is of layers that the network of .* has not \(head7\); name another --rcdm"):
        find_models(network, [tmp_path], ["all"])


def test_an_unfinished_model_is_refused_before_a_finished_one_draws(tmp_path, model, network, photos):
    (tmp_path / CHECKPOINT).write_bytes((model / CHECKPOINT).read_bytes())
    for folder, layer in ((tmp_path, "trunk"), (tmp_path / "whole", "stem")):
        folder.mkdir(exist_ok=True)
        config = json.loads((model / "config.json").read_text())
        config["rcdm"]["layers"] = [layer]
        (folder / "config.json").write_text(json.dumps(config))
    (tmp_path / "whole" / "report.json").write_bytes((model / "report.json").read_bytes())
    with pytest.raises(
        UserError, match=f"{tmp_path}: is not trained to its end; gr3d rcdm train with --resume goes on"
    ):
        ready_models(network, [tmp_path / "whole", tmp_path], ["all"], 50)


def hostile(whole: Checkpoint, what: str) -> dict[str, object]:
    """Entries of a checkpoint that no training wrote."""
    first, *others = whole.teacher["shadow_params"]
    averages = {
        "huge": [first.flatten()[:1].expand(10**13), *others],
        "meta": [first.to("meta"), *others],
        "sparse": [first.to_sparse(), *others],
        "whole numbers": [first.long(), *others],
        "not finite": [first * torch.nan, *others],
    }
    if what in averages:
        return {"teacher": {**whole.teacher, "shadow_params": averages[what]}}
    if what == "step":
        return {"teacher": {**whole.teacher, "optimization_step": 10**400}}
    name, mean = "readers.0.mean", whole.network["readers.0.mean"]
    network = {
        "huge reader": mean[:1].expand(10**13),
        "sparse weights": mean.to_sparse(),
        "meta weights": mean.to("meta"),
    }
    return {"network": {**whole.network, name: network[what]}}


@pytest.mark.parametrize(
    "what",
    ["huge", "meta", "sparse", "whole numbers", "not finite", "step", "huge reader", "sparse weights", "meta weights"],
)
def test_hostile_checkpoints_are_one_line(tmp_path, model, what):
    for name in ("config.json", "report.json"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    whole = load_checkpoint(model)
    save_checkpoint(tmp_path, Checkpoint(**{**vars(whole), **hostile(whole, what)}))
    with pytest.raises(UserError, match=r"checkpoint\.pt: "):
        load_model(tmp_path, WIDTHS, CPU)


def test_a_model_of_other_widths_is_refused(model):
    load_model(model, WIDTHS, CPU)
    with pytest.raises(UserError, match="from another architecture"):
        load_model(model, {**WIDTHS, "trunk": 7}, CPU)
    with pytest.raises(UserError, match="is of layer stem, which the network has not"):
        load_model(model, {"trunk": 512}, CPU)


def test_samples_repeat_and_differ_by_column_and_layer(model, network, photos):
    images = load_table(photos, "val").images[:2]
    how = {"folders": [model], "samples": 2, "steps": 4, "device": "cpu"}
    drawn = sample(network, ["all"], images, unconditional=True, **how)
    assert list(drawn.of) == ["stem", "trunk", None]
    assert all(x.shape == (2, 2, 3, 32, 32) and x.dtype == torch.uint8 for x in drawn.of.values())
    again = sample(network, ["trunk"], images, **how)
    assert torch.equal(again.of["trunk"], drawn.of["trunk"])
    assert not torch.equal(drawn.of["trunk"][:, 0], drawn.of["trunk"][:, 1])
    for steps in (0, 30, 61, 2000):
        with pytest.raises(UserError, match=f"--steps {steps}: choose a divisor of 1000, as 25, 50 or 100"):
            sample(network, ["trunk"], images, **{**how, "steps": steps})
    with pytest.raises(UserError, match=r"--images: 16 x 16, smaller than the 32 pixels that the model in"):
        sample(network, ["trunk"], images[:, :, :16, :16], **how)


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
    (tmp_path / "empty.npz").touch()
    np.save(tmp_path / "array.npz", np.zeros(3))
    (tmp_path / "array.npz.npy").rename(tmp_path / "array.npz")
    packed = bytearray((tmp_path / "deep" / "samples.npz").read_bytes())
    packed[packed.index(b"PK\1\2") + 10] = 99  # a way of packing that zipfile does not know
    (tmp_path / "packed.npz").write_bytes(packed)
    for name in ("none", "empty", "array", "packed"):
        assert load_samples(tmp_path / f"{name}.npz", "asked") is None


def test_a_checkpoint_of_other_images_or_more_steps_is_refused(tmp_path):
    images, features = coloured(16, np.random.default_rng(0))
    run = DiffusionConfig(layers=("trunk",), side=32, patch=4, width=32, batch=8, epochs=1, precision="fp32")
    trainer = DiffusionTrainer(run, images, {"trunk": features}, CPU)
    whole = vars(trainer.checkpoint(1, 0.0))
    with pytest.raises(UserError, match="began with 15 training images, the dataset now has 16"):
        trainer.restore(Checkpoint(**{**whole, "images": 15}), tmp_path)
    with pytest.raises(UserError, match=r"is of step 1000, this run has 2"):
        trainer.restore(Checkpoint(**{**whole, "step": 1000}), tmp_path)
    trainer.restore(Checkpoint(**whole), tmp_path)


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
