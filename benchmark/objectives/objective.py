"""What the trainer knows of an objective."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmark.data.table import ImageTable


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
