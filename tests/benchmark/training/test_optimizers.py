"""Who decays, and LARS against lightly's."""

import pytest
import timm
import torch
from lightly.utils import lars
from torch import nn

from benchmark.errors import UserError
from benchmark.models import build_network
from benchmark.recipes import RECIPES
from benchmark.training.optimizers import load_optimizer, make_optimizer

RUN = RECIPES["small"]["simclr"]


def run(**changes: object):
    return RUN.__class__(**{**vars(RUN), **changes})


def names(modules: list[nn.Module], group: dict) -> set[str]:
    of = {id(parameter): name for module in modules for name, parameter in module.named_parameters()}
    return {of[id(parameter)] for parameter in group["params"]}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lars"])
def test_norms_and_biases_do_not_decay(optimizer):
    network = build_network("resnet18", "imagenet", "mlp3", 0)
    decayed, others = make_optimizer([network], run(optimizer=optimizer, weight_decay=0.1)).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    expected = set()
    for prefix, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            expected.add(f"{prefix}.weight")
    assert names([network], decayed) == expected
    every = {name for name, _ in network.named_parameters()}
    assert names([network], others) == every - expected


def test_positions_and_class_tokens_do_not_decay():
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, dynamic_img_size=False)
    decayed, others = make_optimizer([vit], RUN).param_groups
    assert {"pos_embed", "cls_token", "norm.weight", "patch_embed.proj.bias"} <= names([vit], others)
    assert "patch_embed.proj.weight" in names([vit], decayed)


def twins() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 2, bias=False)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    return tuple(models)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 20, lr: float = 0.01) -> None:
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr / (1 + step)
        optimizer.zero_grad()
        model(torch.randn(8, 6, generator=generator)).square().sum().backward()
        optimizer.step()


def test_lars_is_lightlys():
    ours, theirs = twins()
    train(ours, make_optimizer([ours], run(optimizer="lars", weight_decay=0.05, momentum=0.8)), lr=0.5)
    matrices = [parameter for parameter in theirs.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in theirs.parameters() if parameter.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    start = [parameter.detach().clone() for parameter in theirs.parameters()]
    train(theirs, lars.LARS(groups, lr=1.0, momentum=0.8), lr=0.5)
    for mine, other, before in zip(ours.parameters(), theirs.parameters(), start, strict=True):
        assert other.dim() == 1 or not torch.allclose(other, before)
        torch.testing.assert_close(mine, other)


def test_lars_moves_from_zero_as_sgd_does():
    zero = nn.Linear(3, 2, bias=False)
    nn.init.zeros_(zero.weight)
    optimizer = make_optimizer([zero], run(optimizer="lars", lr=0.1))
    zero(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(zero.weight.data, torch.full((2, 3), -0.1))


def test_sgd_is_torchs():
    ours, theirs = twins()
    train(ours, make_optimizer([ours], run(optimizer="sgd", weight_decay=0.0, momentum=0.7)))
    train(theirs, torch.optim.SGD(theirs.parameters(), lr=1.0, momentum=0.7))
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lars"])
def test_state_comes_back(optimizer, tmp_path):
    one, other = twins()
    first = make_optimizer([one], run(optimizer=optimizer))
    train(one, first, steps=3)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = make_optimizer([other], run(optimizer=optimizer))
    load_optimizer(second, torch.load(tmp_path / "state.pt", weights_only=True), tmp_path)
    other.load_state_dict(one.state_dict())
    for model, its in ((one, first), (other, second)):
        train(model, its, steps=2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def spoil(state: dict, how: str) -> object:
    number = next(iter(state["state"]))
    if how == "shape":
        state["state"][number]["exp_avg"] = torch.zeros(3)
    elif how == "decay":
        state["param_groups"][0]["weight_decay"] = 9.0
    elif how == "groups":
        state["param_groups"].pop()
    elif how == "number":
        state["state"][999] = state["state"].pop(number)
    elif how == "kind":
        state["state"][number]["exp_avg"] = "zero"
    return None if how == "none" else state


@pytest.mark.parametrize("how", ["shape", "decay", "groups", "number", "kind", "none"])
def test_foreign_state_is_refused(how, tmp_path):
    model, _ = twins()
    optimizer = make_optimizer([model], RUN)
    train(model, optimizer, steps=1)
    with pytest.raises(UserError, match=r"checkpoint\.pt: its optimizer's state does not fit this run"):
        load_optimizer(optimizer, spoil(optimizer.state_dict(), how), tmp_path / "checkpoint.pt")
