"""Classification of the table's categories: names, labels, and what a resumed run is told."""

import math

import pytest
import torch

from benchmark.errors import UserError
from benchmark.objectives.supervised import Supervised

CATEGORIES = ["sofa", "chair", "lamp", "chair"]


def test_labels_are_positions_in_the_sorted_names(make_table):
    objective = Supervised(3, CATEGORIES)
    assert objective.classes == ("chair", "lamp", "sofa")
    target = objective.target(make_table(CATEGORIES))
    assert target.dtype == torch.int64
    assert target.tolist() == [2, 0, 1, 0]


def test_loss_is_the_mean_cross_entropy():
    objective = Supervised(2, CATEGORIES)
    torch.nn.init.zeros_(objective.readout.weight)
    objective.readout.bias.data = torch.tensor([0.0, math.log(2.0), 0.0])  # shares 1/4, 1/2, 1/4
    loss = objective(torch.rand(1, 2, 2), torch.tensor([0, 1]))
    assert loss.item() == pytest.approx((math.log(4) + math.log(2)) / 2)


@pytest.mark.parametrize("categories", [["chair"], ["chair"] * 5])
def test_one_category_is_refused(categories):
    with pytest.raises(
        UserError, match=r"--objective supervised: all training images are of one category \(chair\)"
    ) as e:
        Supervised(3, categories)
    assert e.value.exit_code == 2


def test_names_are_stored_and_others_refused(tmp_path):
    torch.save(Supervised(3, CATEGORIES).state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    again = Supervised(3, CATEGORIES)
    again.load_state_dict(state)
    assert torch.equal(again.readout.weight, state["readout.weight"])
    assert state["_extra_state"] == {"classes": ["chair", "lamp", "sofa"]}
    with pytest.raises(UserError, match="are bed, chair, lamp, those the run was trained on chair, lamp, sofa;"):
        Supervised(3, ["lamp", "bed", "chair"]).load_state_dict(state)


@pytest.mark.parametrize("damaged", [{}, {"classes": 3}, None, ["chair", "lamp", "sofa"]])
def test_damaged_names_are_one_line(damaged):
    objective = Supervised(3, CATEGORIES)
    with pytest.raises(UserError, match="its checkpoint is damaged"):
        objective.load_state_dict({**objective.state_dict(), "_extra_state": damaged})
