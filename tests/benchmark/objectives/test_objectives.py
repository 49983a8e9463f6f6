"""What holds for every objective: its views, its teacher, its precision, its recipes."""

import math
from dataclasses import replace

import pytest
import torch

from benchmark.objectives import OBJECTIVES, Objective
from benchmark.objectives.rotation import Rotation
from benchmark.recipes import RECIPES

NAMES = ("simclr", "rotation", "barlow-twins", "vicreg", "byol", "supervised", "latents")
CATEGORIES = ["chair", "lamp"] * 4
DIM = 6


@pytest.fixture
def table(make_table):
    return make_table(CATEGORIES)


def build(name: str, table) -> Objective:
    torch.manual_seed(0)
    return OBJECTIVES[name](RECIPES["small"][name], DIM, table)


def inputs(objective: Objective, table, outputs: torch.Tensor) -> tuple:
    """(outputs, target, teacher) as the trainer passes them"""
    target = objective.target(table)
    rows = None if target is None else target[: outputs.shape[1]]
    return outputs, rows, -outputs if objective.needs_teacher else None


def test_the_designs_names():
    assert tuple(OBJECTIVES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_computes_in_float32_under_autocast(name, table):
    objective = build(name, table)
    outputs = torch.randn(objective.views, 8, DIM, generator=torch.Generator().manual_seed(1)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        inside = objective(*inputs(objective, table, outputs))
    assert inside.dtype == torch.float32
    assert torch.equal(inside, objective(*inputs(objective, table, outputs.float())))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_dead_outputs_have_finite_gradients(name, value, table):
    objective = build(name, table)
    outputs = torch.full((objective.views, 8, DIM), value, requires_grad=True)
    loss = objective(*inputs(objective, table, outputs))
    loss.backward()
    assert math.isfinite(loss.item())
    assert all(p.grad.isfinite().all() for p in (outputs, *objective.parameters()))


@pytest.mark.parametrize("name", NAMES)
def test_every_own_parameter_is_trained_and_state_comes_back(name, table, tmp_path):
    objective = build(name, table)
    outputs = torch.randn(objective.views, 8, DIM, requires_grad=True)
    objective(*inputs(objective, table, outputs)).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in objective.parameters())
    torch.save(objective.state_dict(), tmp_path / "state.pt")
    torch.manual_seed(1)
    other = OBJECTIVES[name](RECIPES["small"][name], DIM, table)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    objective.eval(), other.eval()
    torch.testing.assert_close(other(*inputs(objective, table, outputs)), objective(*inputs(objective, table, outputs)))


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [("simclr", "temperature", 3.0), ("barlow-twins", "redundancy", 3.0), ("vicreg", "vicreg", (1.0, 0.0, 9.0))],
)
def test_settings_of_the_run_reach_the_loss(name, setting, value, table):
    outputs = torch.randn(2, 8, DIM)
    run = replace(RECIPES["small"][name], **{setting: value})
    assert OBJECTIVES[name](run, DIM, table)(outputs, None) != build(name, table)(outputs, None)


def test_rotation_is_the_mean_squared_error_of_the_raw_quaternion():
    objective = Rotation(dim=3)
    torch.nn.init.zeros_(objective.readout.weight)
    objective.readout.bias.data = torch.tensor([1.0, 0.0, 0.0, 0.0])
    target = torch.tensor([[1.0, 0, 0, 0], [0.0, 1, 0, 0]])
    assert objective(torch.rand(1, 2, 3), target).item() == pytest.approx((0 + 2) / 8)


def test_rotation_is_taught_the_tables_quaternion(table):
    assert torch.equal(Rotation(dim=3).target(table), table.quaternion.float())


@pytest.mark.parametrize("scale", RECIPES)
def test_recipes_give_every_objective_its_views(scale, table):
    assert tuple(RECIPES[scale]) == NAMES
    for name, run in RECIPES[scale].items():
        assert run.objective == name
        assert OBJECTIVES[name](run, DIM, table).views == len(run.views)


def test_recipes_never_flip_renders_and_keep_the_object_in_the_rotation_crop():
    for runs in RECIPES.values():
        assert all(view.flip == 0 for run in runs.values() for view in run.views)
        assert all(view.crop_scale[0] >= 0.6 for view in runs["rotation"].views)


def test_paper_recipes_are_section_4_2():
    for run in RECIPES["paper"].values():
        assert (run.arch, run.head, run.batch, run.epochs) == ("resnet50", "mlp3", 2048, 100)
        assert (run.lr, run.weight_decay, run.warmup) == (pytest.approx(4e-3), 4e-5, 0.1)
