"""What the trainer knows of an objective."""

from torch import Tensor, nn

from benchmark.data.table import ImageTable


class Objective(nn.Module):
    """A loss over the network's outputs, with the parameters it owns (a supervised one's readout, for example).

    Those are trained and stored with the run, but are no layer of the network.
    """

    views: int  # how many views of each image one step needs

    def target(self, table: ImageTable) -> Tensor | None:
        """The labels it is taught: float32 (N, t), one row an image, or None when it is taught none."""
        raise NotImplementedError

    def forward(self, outputs: Tensor, target: Tensor | None) -> Tensor:
        """outputs: float32 (views, B, d), the network's last layer; target: rows of ``target``'s. Returns a scalar."""
        raise NotImplementedError
