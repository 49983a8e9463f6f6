import gc
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

from benchmark.errors import UserError
from benchmark.models import build_network
from benchmark.models.foreign import Request
from benchmark.probes.features import weights_hash
from benchmark.probes.regress import regress_latents
from benchmark.probes.results import PIXELS, TRAINED, UNTRAINED, load_results
from benchmark.probes.subjects import foreign, foreign_requests, pixels8, trained, untrained
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


def test_blocks_of_a_run(run):
    assert "block2.1" in trained(run, "block").open().layers
    assert "block2.1" in untrained(run, "block").open().layers
    assert "block2" in trained(run).open().layers


@pytest.fixture
def weights(tmp_path) -> Path:
    torch.save(timm.create_model("test_convnext", num_classes=3).state_dict(), tmp_path / "w.pth")
    return tmp_path / "w.pth"


A, B = "timm:test_convnext", "torchvision:resnet18"


def test_networks_with_weights_and_their_controls(weights):
    asked = foreign_requests([f"{A}={weights}", f"{B}=random"], seed=4)
    assert asked == {
        A: Request(A, weights, seed=4),
        f"untrained {A}": Request(A, seed=4),
        f"untrained {B}": Request(B, seed=4),
    }
    assert foreign_requests([A], weights=weights) == foreign_requests([f"{A}={weights}"])
    assert foreign_requests([A, B], random=True) == foreign_requests([f"{A}=random", f"{B}=random"])
    assert list(foreign_requests([f"{A}={weights}", B], random=True)) == [A, f"untrained {A}", f"untrained {B}"]


def test_one_architecture_with_several_weights():
    asked = foreign_requests([f"{A}=a/one.pth", f"{A}=b/two.pth"])
    assert list(asked) == [f"{A} (one)", f"{A} (two)", f"untrained {A}"]
    with pytest.raises(UserError, match="two of its files are called one"):
        foreign_requests([f"{A}=a/one.pth", f"{A}=b/one.pth"])


@pytest.mark.parametrize(
    ("models", "options", "says"),
    [
        ([A, B], {"weights": Path("w.pth")}, "--weights: for one --model"),
        ([f"{A}=w.pth"], {"weights": Path("w.pth")}, "--weights: for one --model"),
        ([A], {"weights": Path("w.pth"), "random": True}, "--weights: for one --model NAME without --random"),
        ([f"{A}=w.pth"], {"random": True}, "--random: no --model is left"),
        ([f"{A}="], {}, "after the = stands a FILE"),
        (["timm:resnet"], {"random": True}, "did you mean"),
    ],
)
def test_options_that_contradict(models, options, says):
    with pytest.raises(UserError, match=says) as caught:
        foreign_requests(models, **options)
    assert caught.value.exit_code == 2


def test_foreign_networks_are_regressed_like_ours(dataset, weights, tmp_path, capsys):
    """16-pixel images; what was read comes back from the file."""
    subjects = {A: foreign(A, Request(A, weights), 16), "pixels": pixels8()}
    assert "block4 = stages.3, trunk = what head.fc reads, head1 = output" in capsys.readouterr().err
    results = regress_latents(subjects, dataset, judge_on=("val",), device="cpu")
    results.save(tmp_path / "results")
    back = load_results(tmp_path / "results")
    assert back.role(A) == TRAINED
    assert back.layers(A) == ("stem", "block1", "block2", "block3", "block4", "trunk", "head1")
    stored = back.info["networks"][A]
    assert stored["config"] == subjects[A].config
    assert stored["config"]["modules"]["block2"] == "stages.1"
    assert stored["weights"] == weights_hash(subjects[A].open())


def test_a_random_network_is_a_control():
    assert foreign(A, Request(A), None).role == UNTRAINED


def test_only_the_network_that_is_read_is_in_memory(weights):
    subject = foreign(A, Request(A, weights), None)
    network = subject.open()
    alive = weakref.ref(network)
    assert weights_hash(network) == weights_hash(subject.open())
    del network
    gc.collect()
    assert alive() is None


def test_what_is_resized_and_left_out_is_said(tmp_path, capsys):
    name, path = "timm:vit_tiny_patch16_224", tmp_path / "w.pth"
    torch.save({k: v for k, v in timm.create_model(name[5:]).state_dict().items() if "head" not in k}, path)
    subject = foreign(name, Request(name, path), 64)
    said = capsys.readouterr().err
    assert f"{name}: is given the images of 64 x 64 at 224 x 224" in said
    assert f"warning: {name}: {path}: it has no head.weight, head.bias: the classifier is not read" in said
    assert subject.config["input"]["resized_to"] == 224


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
