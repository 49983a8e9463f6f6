"""The objective of a reader: all factors and the category at once."""

import torch
import torch.nn.functional as F

from benchmark.data.table import LATENT_NAMES
from benchmark.objectives.latents import Latents, factor_columns, factor_slices
from benchmark.probes.targets import FACTORS


def test_columns_are_the_factors_side_by_side(make_table):
    table = make_table(["a", "b", "a", "c"])
    columns, slices = factor_columns(table), factor_slices()
    assert list(slices) == list(FACTORS) and columns.shape == (4, slices[FACTORS[-1]].stop)
    assert torch.equal(columns[:, slices["rotation"]], table.quaternion)
    assert torch.equal(columns[:, slices["spot_theta"]][:, 0], table.latents[:, LATENT_NAMES.index("spot_theta")])


def test_loss_is_the_error_over_the_variance_plus_the_cross_entropy(make_table):
    torch.manual_seed(0)
    categories = ["chair", "sofa", "chair", "lamp", "sofa"]
    table = make_table(categories)
    table.latents, table.quaternion = torch.rand(5, 7).double(), torch.rand(5, 4).double()
    columns = factor_columns(table)
    objective = Latents(7, columns, categories)
    outputs = torch.randn(1, 5, 7)
    target = objective.target(table)
    read, places = objective.read(outputs[0])
    squares = ((read - columns.float()) / columns.std(dim=0).float()).square().mean()
    scores = objective.readout(outputs[0])[:, columns.shape[1] :]
    assert places.tolist() == scores.argmax(dim=1).tolist()
    entropy = F.cross_entropy(scores, torch.tensor([0, 2, 0, 1, 2]))
    torch.testing.assert_close(objective(outputs, target), squares + entropy)


def test_a_factor_that_does_not_vary_and_a_single_category_are_taken(make_table):
    table = make_table(["chair"] * 4)
    columns = factor_columns(table)
    columns[:, 0] = 0.5
    objective = Latents(3, columns, table.categories)
    loss = objective(torch.randn(1, 4, 3), objective.target(table))
    assert torch.isfinite(loss)
