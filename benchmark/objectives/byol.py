"""BYOL (Grill et al., 2020): foretell from one view what a slowly following teacher makes of the other."""

from torch import Tensor, nn

from benchmark import distributed
from benchmark.objectives.objective import Objective, full_precision, unit_rows


class BYOL(Objective):
    """The network's outputs pass a predictor; its direction is compared with the teacher's, both ways round.

    The predictor has one hidden layer as wide as the network's output, as in FFCV-SSL, which builds it as it builds the
    head (the paper: 4096 for outputs of 256). The teacher is the trainer's: an exponential moving average of the
    network, without the predictor (benchmark.training.schedule.ema_momentum).
    """

    views = 2
    needs_teacher = True

    def __init__(self, dim: int) -> None:
        """dim: width of the network's output."""
        super().__init__()
        self.predictor = nn.Sequential(
            nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(inplace=True), nn.Linear(dim, dim, bias=False)
        )

    def forward(self, outputs: Tensor, target: None, teacher: Tensor) -> Tensor:
        """outputs, teacher: (2, B, dim) -> scalar. The predictor's BatchNorm sees both views together, as the network's
        do."""
        with full_precision(outputs):
            predictions = self.predictor(outputs.float().flatten(0, 1)).unflatten(0, outputs.shape[:2])
        return byol(predictions, teacher)


def byol(predictions: Tensor, teacher: Tensor) -> Tensor:
    """The mean over images of (2 - 2 cos(q1, z2)) + (2 - 2 cos(q2, z1)): equation 2 of the paper and its mirror image.

    predictions, teacher: (2, B, d), the q and the z of both views; z gets no gradient. From 0 to 8. With
    n = lightly.loss.NegativeCosineSimilarity() it is 4 + 2 (n(q1, z2) + n(q2, z1)); lightly's own BYOL minimises
    (n(q1, z2) + n(q2, z1)) / 2, so its gradient is a quarter of this one.
    """
    with full_precision(predictions):
        foretold, other_view = unit_rows(predictions.float(), eps=1e-8), unit_rows(teacher.detach().float(), eps=1e-8)
        cosine = (foretold * other_view.flip(0)).sum(dim=2)
        return distributed.mean(4 - 2 * cosine.sum(dim=0).mean())
