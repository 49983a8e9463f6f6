"""SimCLR (Chen et al., 2020): agree between two views of an image, disagree with every other view in the batch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data.table import ImageTable
from benchmark.objectives.objective import Objective


class SimCLR(Objective):
    """The NT-Xent loss of two views."""

    views = 2

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def target(self, table: ImageTable) -> None:
        """Nothing: the objective is self-supervised."""
        return None

    def forward(self, outputs: Tensor, target: None = None) -> Tensor:
        """outputs (2, B, d) -> scalar"""
        return nt_xent(outputs, self.temperature)


def nt_xent(outputs: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy, the mean over all 2B anchors.

    outputs: (2, B, d), row i of both halves from the same image. For each of the 2B anchors the candidates are the
    other 2B - 1 rows and the right one is the anchor's other view; logits are cosines over temperature. Float32
    throughout, also under autocast: at T = 0.2 a bfloat16 cosine would be off by up to 0.02 in the logit.

    The loss of a batch spread over ranks is this function of the outputs gathered along the batch axis.
    """
    _, batch, _ = outputs.shape
    with torch.autocast(outputs.device.type, enabled=False):
        rows = F.normalize(outputs.float(), dim=2).flatten(0, 1)
        logits = rows @ rows.T / temperature
        logits = logits.masked_fill(torch.eye(2 * batch, dtype=torch.bool, device=rows.device), -torch.inf)
        other_view = torch.arange(2 * batch, device=rows.device).roll(batch)
        return F.cross_entropy(logits, other_view)
