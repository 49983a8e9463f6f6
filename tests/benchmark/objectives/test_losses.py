"""The losses against lightly's, on many inputs, and against the papers' formulas in double precision."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmark.objectives.barlow_twins import barlow_twins
from benchmark.objectives.byol import byol
from benchmark.objectives.simclr import nt_xent
from benchmark.objectives.vicreg import vicreg

lightly_loss = pytest.importorskip("lightly.loss")


def lightly_byol(first: Tensor, second: Tensor) -> Tensor:
    """Predictions of both views against the other one's targets, here the outputs themselves."""
    negative_cosine = lightly_loss.NegativeCosineSimilarity()
    return 4 + 2 * (negative_cosine(first, second.detach()) + negative_cosine(second, first.detach()))


LOSSES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "simclr 0.1": (lambda z: nt_xent(z, 0.1), lightly_loss.NTXentLoss(temperature=0.1)),
    "simclr 0.5": (lambda z: nt_xent(z, 0.5), lightly_loss.NTXentLoss(temperature=0.5)),
    "simclr 5": (lambda z: nt_xent(z, 5.0), lightly_loss.NTXentLoss(temperature=5.0)),
    "barlow-twins": (lambda z: barlow_twins(z, 0.0051), lightly_loss.BarlowTwinsLoss(lambda_param=0.0051)),
    "barlow-twins 0": (lambda z: barlow_twins(z, 0.0), lightly_loss.BarlowTwinsLoss(lambda_param=0.0)),
    "vicreg": (lambda z: vicreg(z, (25.0, 25.0, 1.0)), lightly_loss.VICRegLoss()),
    "vicreg 1 2 3": (
        lambda z: vicreg(z, (1.0, 2.0, 3.0)),
        lightly_loss.VICRegLoss(lambda_param=1.0, mu_param=2.0, nu_param=3.0),
    ),
    "byol": (lambda z: byol(z, z), lightly_byol),
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss_agrees_with_lightly(name, cases):
    ours, theirs = LOSSES[name]
    for case, outputs in cases:
        torch.testing.assert_close(
            ours(outputs), theirs(*outputs), rtol=1e-5, atol=1e-5, msg=lambda text, case=case: f"{case}: {text}"
        )


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_agrees_with_lightly(name, cases):
    ours, theirs = LOSSES[name]
    for case, outputs in cases:
        if "scale 1," not in f"{case},":
            continue
        gradients = []
        for loss in (lambda z: ours(z), lambda z: theirs(*z)):
            z = outputs.clone().requires_grad_()
            loss(z).backward()
            gradients.append(z.grad)
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5, msg=lambda text, case=case: f"{case}: {text}")


@pytest.mark.parametrize("name", LOSSES)
def test_bfloat16_outputs_under_autocast_give_the_float32_loss_of_their_values(name, cases):
    ours, _ = LOSSES[name]
    for case, outputs in cases:
        rounded = outputs.bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            inside = ours(rounded)
        assert inside.dtype == torch.float32
        assert torch.equal(inside, ours(rounded.float())), case


@pytest.mark.parametrize("name", LOSSES)
def test_degenerate_outputs_have_finite_losses_and_gradients_of_sane_size(name, degenerate_cases):
    """lightly's normalisation of a zero vector magnifies its gradient by 1e12."""
    ours, _ = LOSSES[name]
    for case, outputs in degenerate_cases:
        z = outputs.clone().requires_grad_()
        loss = ours(z)
        loss.backward()
        assert math.isfinite(loss.item()), case
        assert z.grad.isfinite().all(), case
        assert z.grad.abs().max() < 1e4, case


def test_nt_xent_by_class_leaves_out_the_negatives_of_the_same_class():
    batch, temperature, classes = 6, 0.5, [0, 1, 0, 2, 1, 0]
    outputs = torch.randn(2, batch, 5, generator=torch.Generator().manual_seed(0))
    u = outputs.flatten(0, 1) / outputs.flatten(0, 1).norm(dim=1, keepdim=True)
    total = 0.0
    for i in range(2 * batch):
        other = (i + batch) % (2 * batch)
        score = {k: math.exp(float(u[i] @ u[k]) / temperature) for k in range(2 * batch) if k != i}
        negatives = [k for k in score if classes[k % batch] != classes[i % batch]]
        total -= math.log(score[other] / (score[other] + sum(score[k] for k in negatives)))
    loss = nt_xent(outputs, temperature, torch.tensor(classes))
    assert loss.item() == pytest.approx(total / (2 * batch), rel=1e-5)
    each_its_own = nt_xent(outputs, temperature, torch.arange(batch))
    assert torch.equal(each_its_own, nt_xent(outputs, temperature))


def test_nt_xent_of_one_class_has_no_negatives_and_a_gradient_of_zero():
    outputs = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = nt_xent(outputs, 0.2, torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0 and torch.equal(outputs.grad, torch.zeros_like(outputs))


@pytest.mark.parametrize("temperature", [0.1, 0.2, 1.0])
def test_nt_xent_is_the_papers_sum(temperature):
    """Equation 1 of SimCLR, term by term, in double precision."""
    outputs = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0))
    z = [row for view in outputs.double() for row in view]
    batch = len(z) // 2

    def similarity(i: int, j: int) -> float:
        return (z[i] @ z[j] / z[i].norm() / z[j].norm()).item() / temperature

    total = 0.0
    for i in range(2 * batch):
        j = (i + batch) % (2 * batch)
        others = [math.exp(similarity(i, k)) for k in range(2 * batch) if k != i]
        total -= math.log(math.exp(similarity(i, j)) / sum(others))
    assert nt_xent(outputs, temperature).item() == pytest.approx(total / (2 * batch), rel=1e-5)


def test_losses_of_perfect_batches():
    eye = torch.eye(6).expand(2, -1, -1)
    assert nt_xent(eye, 0.05).item() == pytest.approx(0, abs=1e-6)
    assert byol(eye, eye).item() == pytest.approx(0, abs=1e-6)
    assert byol(eye, -eye).item() == pytest.approx(8)
    # Rows of a Hadamard matrix: features of variance 1 (0.999... for BarlowTwins' eps) that are uncorrelated.
    walsh = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]).expand(2, -1, -1)
    assert barlow_twins(walsh, 1.0).item() == pytest.approx(0, abs=1e-6)
    assert vicreg(walsh, (1.0, 1.0, 1.0)).item() == pytest.approx(0, abs=1e-6)


def test_byol_compares_each_view_with_the_other_one_and_teaches_only_the_network():
    q = torch.eye(4).reshape(2, 2, 4).clone().requires_grad_()
    z = torch.eye(4).reshape(2, 2, 4).flip(0).clone().requires_grad_()
    loss = byol(q, z)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert z.grad is None
