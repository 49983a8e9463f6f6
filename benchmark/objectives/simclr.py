"""SimCLR (Chen et al., 2020): agree between two views of an image, disagree with every other view in the batch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark import distributed
from benchmark.objectives.objective import Objective, full_precision, unit_rows


class SimCLR(Objective):
    """The NT-Xent loss of two views."""

    views = 2

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, outputs: Tensor, target: None = None, teacher: None = None) -> Tensor:
        """outputs (2, B, d) -> scalar"""
        return nt_xent(outputs, self.temperature)


def nt_xent(outputs: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy (SimCLR's equation 1), the mean over all 2B anchors.

    outputs: (2, B, d), row i of both halves from the same image. For each of the 2B anchors the candidates are the
    other 2B - 1 rows and the right one is the anchor's other view; logits are cosines over temperature. Float32
    throughout: at T = 0.2 a bfloat16 cosine would be off by up to 0.02 in the logit. The same as
    lightly.loss.NTXentLoss.

    On N ranks the candidates are everybody's, the anchors one's own. Memory: a few matrices of 2B x 2BN float32, B
    images a rank (64 MiB each for 2048 images on one rank).
    """
    batch = outputs.shape[1]
    with full_precision(outputs):
        anchors = unit_rows(outputs.float(), eps=1e-12)
        candidates = distributed.gather(anchors, dim=1)
        joined = candidates.shape[1]
        logits = (anchors / temperature).flatten(0, 1) @ candidates.flatten(0, 1).T
        first_view = distributed.rank() * batch + torch.arange(batch, device=outputs.device)
        itself = torch.cat([first_view, first_view + joined])
        logits[torch.arange(2 * batch, device=outputs.device), itself] = -torch.inf
        return distributed.mean(F.cross_entropy(logits, itself.roll(batch)))
