"""What a step does: parts of a batch, the teacher, random numbers."""

from dataclasses import replace

import pytest
import torch

from benchmark.data.table import ImageTable, load_table
from benchmark.models import build_network
from benchmark.recipes import RECIPES
from benchmark.training.schedule import ema_momentum
from benchmark.training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def table(tiny) -> ImageTable:
    return load_table(tiny, "train")


def run(objective: str, **changes: object):
    return replace(RECIPES["small"][objective], head="none", batch=8, epochs=2, precision="fp32", **changes)


def test_parts_of_a_batch_have_its_mean_gradient(table):
    """A transformer normalises each image by itself, and rotation's loss is a mean over images."""
    steps = {}
    for accumulate in (1, 4):
        trainer = Trainer(run("rotation", arch="vit-s8", accumulate=accumulate, optimizer="sgd", lr=0.01), table, CPU)
        steps[accumulate] = trainer.step(0), [parameter.detach() for parameter in trainer.network.parameters()]
    (whole, weights), (parts, others) = steps[1], steps[4]
    torch.testing.assert_close(parts.loss, whole.loss)
    torch.testing.assert_close(parts.gradient, whole.gradient)
    torch.testing.assert_close(others, weights)


def test_teacher_is_the_moving_average_of_the_network(table):
    trainer = Trainer(run("byol", ema=0.9), table, CPU)
    expected = {name: value.double() for name, value in trainer.network.state_dict().items()}
    for step in range(3):
        trainer.step(step)
        momentum = ema_momentum(step, trainer.steps, 0.9)
        for name, value in trainer.network.named_parameters():
            expected[name] = momentum * expected[name] + (1 - momentum) * value.detach().double()
    for name, value in trainer.teacher.named_parameters():
        assert not value.requires_grad
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
    assert not torch.equal(trainer.teacher.stem[0].weight, trainer.network.stem[0].weight)
    assert trainer.network.stem[1].num_batches_tracked == trainer.teacher.stem[1].num_batches_tracked == 3


def test_gradient_is_the_length_over_all_parameters(table):
    """With plain SGD at rate lr and no decay, an update is lr times the gradient."""
    trainer = Trainer(run("rotation", optimizer="sgd", momentum=0.0, weight_decay=0.0, lr=0.1, warmup=0.0), table, CPU)
    modules = (trainer.network, trainer.objective)
    before = [parameter.detach().clone() for module in modules for parameter in module.parameters()]
    gradient = trainer.step(0).gradient
    after = [parameter.detach() for module in modules for parameter in module.parameters()]
    moved = sum((a - b).square().sum() for a, b in zip(after, before, strict=True)).sqrt()
    torch.testing.assert_close(moved, 0.1 * gradient, rtol=1e-3, atol=0)


def test_every_step_has_random_numbers_of_its_own(table):
    """Whatever the state of torch's generator was, so that none needs to be stored."""
    trainer, drawn = Trainer(run("simclr"), table, CPU), []
    for noise, step in ((0, 0), (1, 0), (1, 1)):
        torch.manual_seed(noise)
        trainer.step(step)
        drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])


def test_training_starts_from_the_untrained_control(table):
    trainer = Trainer(run("byol", seed=5), table, CPU)
    control = build_network("resnet18", "imagenet", "none", 5)
    for name, value in control.state_dict().items():
        assert torch.equal(trainer.network.state_dict()[name], value)
        assert torch.equal(trainer.teacher.state_dict()[name], value)
