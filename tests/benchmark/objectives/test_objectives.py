"""The losses against independent ones."""

import math

import pytest
import torch

from benchmark.data.table import ImageTable
from benchmark.objectives import OBJECTIVES
from benchmark.objectives.rotation import Rotation
from benchmark.objectives.simclr import nt_xent
from benchmark.recipes import RECIPES


@pytest.fixture
def outputs() -> torch.Tensor:
    return torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0))


def naive_nt_xent(outputs: torch.Tensor, temperature: float) -> float:
    """Equation 1 of SimCLR, term by term, in double precision."""
    z = [row for view in outputs.double() for row in view]
    batch = len(z) // 2

    def similarity(i: int, j: int) -> float:
        return (z[i] @ z[j] / z[i].norm() / z[j].norm()).item() / temperature

    total = 0.0
    for i in range(2 * batch):
        j = (i + batch) % (2 * batch)
        others = [math.exp(similarity(i, k)) for k in range(2 * batch) if k != i]
        total -= math.log(math.exp(similarity(i, j)) / sum(others))
    return total / (2 * batch)


@pytest.mark.parametrize("temperature", [0.1, 0.2, 1.0])
def test_nt_xent_is_the_papers_sum(outputs, temperature):
    assert nt_xent(outputs, temperature).item() == pytest.approx(naive_nt_xent(outputs, temperature), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_and_its_gradient_agree_with_lightly(outputs, temperature):
    loss = pytest.importorskip("lightly.loss")
    ours, theirs = outputs.clone().requires_grad_(), outputs.clone().requires_grad_()
    first, second = nt_xent(ours, temperature), loss.NTXentLoss(temperature=temperature)(*theirs)
    torch.testing.assert_close(first, second)
    first.backward()
    second.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_nt_xent_is_float32_under_autocast(outputs):
    with torch.autocast("cpu", torch.bfloat16):
        inside = nt_xent(outputs, 0.1)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, nt_xent(outputs, 0.1))


def test_nt_xent_of_a_perfect_batch_is_nearly_zero():
    assert nt_xent(torch.eye(6).expand(2, -1, -1), 0.05).item() == pytest.approx(0, abs=1e-6)


def test_rotation_is_the_mean_squared_error_of_the_raw_quaternion():
    objective = Rotation(dim=3)
    torch.nn.init.zeros_(objective.readout.weight)
    objective.readout.bias.data = torch.tensor([1.0, 0.0, 0.0, 0.0])
    target = torch.tensor([[1.0, 0, 0, 0], [0.0, 1, 0, 0]])
    assert objective(torch.rand(1, 2, 3), target).item() == pytest.approx((0 + 2) / 8)


def test_rotation_is_taught_the_tables_quaternion():
    quaternion = torch.nn.functional.normalize(torch.rand(4, 4, dtype=torch.float64))
    table = ImageTable(torch.empty(4, 3, 1, 1), torch.arange(4), torch.empty(4, 7), quaternion, [""] * 4, [""] * 4)
    assert torch.equal(Rotation(dim=3).target(table), quaternion.float())


@pytest.mark.parametrize("scale", RECIPES)
def test_recipes_give_every_objective_its_views(scale):
    assert set(RECIPES[scale]) == set(OBJECTIVES)
    for name, run in RECIPES[scale].items():
        assert run.objective == name
        assert OBJECTIVES[name](run, 8).views == len(run.views)


def test_recipes_never_flip_renders_and_keep_the_object_in_the_rotation_crop():
    for runs in RECIPES.values():
        assert all(view.flip == 0 for run in runs.values() for view in run.views)
        assert all(view.crop_scale[0] >= 0.6 for view in runs["rotation"].views)
