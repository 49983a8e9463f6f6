"""What the trainer knows of an objective."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmark.data.table import ImageTable
from benchmark.errors import UserError


class Objective(nn.Module):
    """A loss over the network's outputs, with the parameters it owns (a supervised one's readout, BYOL's predictor).

    Those are trained and stored with the run, but are no layer of the network. All of it is computed in float32, also
    under autocast, and may be infinite or NaN: what then happens is the trainer's affair.

    On several ranks each one passes its own part of the batch, all parts of one size, and gets the loss of the joined
    batch; for the gradient see benchmark.distributed.
    """

    views: int  # how many views of each image one step needs
    needs_teacher: bool = False  # whether forward wants the outputs of an average of the network's past

    def target(self, table: ImageTable) -> Tensor | None:
        """The labels it is taught, one row an image: float32 (N, t) or int64 (N,), or None when it is taught none."""
        return None

    def forward(self, outputs: Tensor, target: Tensor | None, teacher: Tensor | None = None) -> Tensor:
        """outputs: (views, B, d), the network's last layer; target: rows of ``target``'s; teacher: (views, B, d), the
        teacher's outputs for the same views, without gradient, if ``needs_teacher``. Returns a float32 scalar."""
        raise NotImplementedError


class Classifying(Objective):
    """An objective whose readout tells the categories of the training images apart.

    ``classes``: their names, in the order of the readout's outputs. They are part of the state, so that a checkpoint
    says what its readout means and a run is not resumed with others.
    """

    name: ClassVar[str]  # in OBJECTIVES

    def __init__(self, categories: Sequence[str]) -> None:
        """categories: in any order, as often as they occur."""
        super().__init__()
        self.classes = tuple(sorted(set(categories)))

    def get_extra_state(self) -> dict:
        return {"classes": list(self.classes)}

    def set_extra_state(self, state: dict) -> None:
        """UserError unless it is of the same classes."""
        names = state.get("classes") if isinstance(state, dict) else None
        if names != list(self.classes):
            known = ", ".join(map(str, names)) if isinstance(names, list) else "unknown: its checkpoint is damaged"
            raise UserError(
                f"--objective {self.name}: the dataset's categories are {', '.join(self.classes)}, those the run was "
                f"trained on {known}; choose another --out"
            )


def numbered(categories: Sequence[str]) -> Tensor:
    """int64 (N,): the place of each category among all of them, sorted."""
    number = {name: place for place, name in enumerate(sorted(set(categories)))}
    return torch.tensor([number[name] for name in categories], dtype=torch.int64)


def full_precision(x: Tensor) -> torch.autocast:
    """A context without autocast on the device of ``x``: a loss in bfloat16 would have two or three digits."""
    return torch.autocast(x.device.type, enabled=False)


def unit_rows(x: Tensor, eps: float) -> Tensor:
    """(..., d) -> x / max(|x|, eps) along the last axis.

    A vector shorter than eps (a zero vector, say) has no direction and gets no gradient: through eps it would be
    magnified by 1 / eps.
    """
    norm = x.norm(dim=-1, keepdim=True)
    return torch.where(norm > eps, x / norm.clamp_min(eps), (x / eps).detach())
