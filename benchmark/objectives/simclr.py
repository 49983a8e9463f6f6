"""SimCLR (Chen et al., 2020): agree between two views of an image, disagree with every other view in the batch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark import distributed
from benchmark.data.table import ImageTable
from benchmark.objectives.objective import Objective, full_precision, numbered, unit_rows


class SimCLR(Objective):
    """The NT-Xent loss of two views.

    by_class: the two views show two images of a class, and nothing of that class is a negative (section 4 of Bordes et
    al.: "as negative examples images that don't belong to the same class").
    """

    views = 2

    def __init__(self, temperature: float, by_class: bool = False) -> None:
        super().__init__()
        self.temperature, self.by_class = temperature, by_class

    def target(self, table: ImageTable) -> Tensor | None:
        """int64 (N,), the class, if it matters"""
        return numbered(table.categories) if self.by_class else None

    def forward(self, outputs: Tensor, target: Tensor | None = None, teacher: None = None) -> Tensor:
        """outputs (2, B, d), target int64 (B,) of both views or None -> scalar"""
        return nt_xent(outputs, self.temperature, target)


def nt_xent(outputs: Tensor, temperature: float, classes: Tensor | None = None) -> Tensor:
    """Normalised temperature-scaled cross entropy (SimCLR's equation 1), the mean over all 2B anchors.

    outputs: (2, B, d), row i of both halves from the same image. For each of the 2B anchors the candidates are the
    other 2B - 1 rows and the right one is the anchor's other view; logits are cosines over temperature. Float32
    throughout: at T = 0.2 a bfloat16 cosine would be off by up to 0.02 in the logit. The same as
    lightly.loss.NTXentLoss.

    classes: int64 (B,), of row i of both halves: of the candidates, those of the anchor's class are left out, but for
    the right one.

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
        other_view, row = itself.roll(batch), torch.arange(2 * batch, device=outputs.device)
        logits[row, itself] = -torch.inf
        if classes is not None:
            alike = classes.repeat(2)[:, None] == distributed.gather(classes, dim=0).repeat(2)
            alike[row, other_view] = False
            logits = logits.masked_fill(alike, -torch.inf)
        return distributed.mean(F.cross_entropy(logits, other_view))
