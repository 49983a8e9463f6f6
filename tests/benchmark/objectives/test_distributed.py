"""Two processes with half a batch each against one with the whole: losses and gradients of every objective.

torchrun starts this very file twice (gloo); what the ranks found lies in one file each. BatchNorm is frozen, because
torch's SyncBatchNorm refuses CPU tensors.
"""

import copy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmark import distributed
from benchmark.data.table import ImageTable
from benchmark.objectives import OBJECTIVES, Objective
from benchmark.recipes import RECIPES

RANKS, BATCH, DIM = 2, 12, 6
BY_CLASS = "simclr by class"
CASES = (*OBJECTIVES, BY_CLASS)


class Step(nn.Module):
    """A small network with its objective, as one module for DistributedDataParallel."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, DIM), nn.BatchNorm1d(DIM)
        )
        self.objective = objective

    def forward(self, images: Tensor, target: Tensor | None, teacher: Tensor | None) -> Tensor:
        return self.objective(as_outputs(self.network, images), target, teacher)


def as_outputs(network: nn.Module, images: Tensor) -> Tensor:
    return network(images.flatten(0, 1)).unflatten(0, images.shape[:2])


def freeze(module: nn.Module) -> None:
    for child in module.modules():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            child.eval()


def table() -> ImageTable:
    quaternion = torch.nn.functional.normalize(torch.rand(BATCH, 4, dtype=torch.float64), dim=1)
    names = ["chair", "lamp", "sofa"] * (BATCH // 3)
    images = torch.zeros(BATCH, 3, 8, 8, dtype=torch.uint8)
    return ImageTable(images, torch.arange(BATCH), torch.zeros(BATCH, 7), quaternion, names, names)


def gradients(name: str) -> dict[str, Tensor]:
    """Loss and gradients of this rank's share of a batch that is the same however many ranks there are: at the
    objective's inputs, and of the parameters of a network behind DistributedDataParallel."""
    torch.manual_seed(0)
    images_of_all = table()
    objective, _, by_class = name.partition(" ")
    run = replace(
        RECIPES["small"][objective], vicreg=(1.0, 2.0, 3.0), positives="class" if by_class else "augmentation"
    )
    step = Step(OBJECTIVES[objective](run, DIM, images_of_all))
    freeze(step)
    teacher = copy.deepcopy(step.network)
    for parameter in teacher.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    views = step.objective.views
    outputs, past = torch.randn(2, views, BATCH, DIM)
    images = torch.rand(views, BATCH, 3, 8, 8)
    target = step.objective.target(images_of_all)

    share = BATCH // distributed.world_size()
    own = slice(distributed.rank() * share, (distributed.rank() + 1) * share)
    outputs, past, images = outputs[:, own].clone().requires_grad_(), past[:, own], images[:, own]
    target = None if target is None else target[own]

    loss = step.objective(outputs, target, past if step.objective.needs_teacher else None)
    loss.backward()
    found = {"loss": loss.detach(), "inputs": outputs.grad}

    step.zero_grad()
    with torch.no_grad():
        past = as_outputs(teacher, images) if step.objective.needs_teacher else None
    model = nn.parallel.DistributedDataParallel(step) if distributed.world_size() > 1 else step
    loss = model(images, target, past)
    loss.backward()
    return {**found, "network loss": loss.detach(), **{n: p.grad for n, p in step.named_parameters()}}


def exchanged() -> dict[str, Tensor]:
    """What gather and mean give and what their gradients are, with a weight of its own for every rank's loss."""
    x = torch.arange(6.0).reshape(2, 3) + 10 * distributed.rank()
    x.requires_grad_()
    together = distributed.gather(x, dim=1)
    ((distributed.rank() + 1) * together * torch.arange(12.0).reshape(2, 6)).sum().backward()
    y = torch.tensor(float(distributed.rank()), requires_grad=True)
    average = distributed.mean(y)
    average.backward()
    who = torch.tensor([distributed.rank(), distributed.world_size(), distributed.local_rank(), distributed.is_main()])
    return {"gathered": together.detach(), "grad": x.grad, "mean": average.detach(), "mean grad": y.grad, "who": who}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    number = distributed.rank()  # torchrun says it before the group exists
    with distributed.started(torch.device("cpu")):
        found = {"exchanged": exchanged(), **{name: gradients(name) for name in CASES}}
    assert not torch.distributed.is_initialized()
    torch.save(found, folder / f"{number}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict[str, dict[str, Tensor]]]:
    """What the two ranks found."""
    folder = tmp_path_factory.mktemp("ranks")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}"]
    command = [*torchrun, __file__, str(folder)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{number}.pt") for number in range(RANKS)]


@pytest.mark.parametrize("name", CASES)
def test_loss_is_that_of_the_joined_batch_on_every_rank(name, ranks):
    joined = gradients(name)
    for found in ranks:
        for loss in ("loss", "network loss"):
            torch.testing.assert_close(found[name][loss], joined[loss], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_gradient_at_the_inputs_is_that_of_the_joined_batch(name, ranks):
    together = torch.cat([found[name]["inputs"] for found in ranks], dim=1)
    torch.testing.assert_close(together / RANKS, gradients(name)["inputs"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_gradient_of_a_whole_network_is_that_of_the_joined_batch(name, ranks):
    joined = gradients(name)
    parameters = set(joined) - {"loss", "inputs", "network loss"}
    assert len(parameters) >= 8
    largest = max(joined[parameter].abs().max().item() for parameter in parameters)
    assert largest > 1e-3
    for parameter in parameters:
        for found in ranks:
            torch.testing.assert_close(
                found[name][parameter],
                joined[parameter],
                rtol=1e-4,
                atol=1e-6 * largest,  # some are zero but for rounding: Barlow Twins does not feel a shift
                msg=lambda text, parameter=parameter: f"{parameter}: {text}",
            )


def test_negatives_by_class_are_others():
    assert gradients(BY_CLASS)["loss"] < gradients("simclr")["loss"]


def test_gather_and_mean(ranks):
    parts = [torch.arange(6.0).reshape(2, 3) + 10 * number for number in range(RANKS)]
    weights = torch.arange(12.0).reshape(2, 6).chunk(RANKS, dim=1)
    for number, found in enumerate(ranks):
        found = found["exchanged"]
        assert torch.equal(found["gathered"], torch.cat(parts, dim=1))
        assert torch.equal(found["grad"], 3 * weights[number])  # 1 + 2: both ranks' losses
        assert (found["mean"], found["mean grad"]) == (0.5, 1.0)
        assert found["who"].tolist() == [number, RANKS, number, number == 0]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
