"""What all of gr3d's own networks share: a trunk with an MLP head, whose layers can all be read by name."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS = ("mlp3", "none")
GRANULARITIES = ("stage", "block")

HEAD_WIDTH = 2048  # appendix B of the paper: the width of a ResNet-50's trunk

# Channel statistics of ImageNet: any fixed affine map of the input serves, and these let pretrained trunks be compared.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class Network(nn.Module):
    """A trunk (see the subclasses) and a head. Input: (B, 3, H, W) float in [0, 1], RGB; it is normalised inside.

    head: "mlp3", the paper's (appendix B): three layers of width 2048 with BatchNorm and ReLU, or "none".

    ``layers`` names the taps in the order of the forward pass: the trunk's own maps, then trunk (what the head reads),
    head1, head2, head3. ``dim`` is the width of the last one, which ``forward`` returns. ``granularity`` may be set to
    "block" to have every block of a stage read instead of the last one. ``patch``: H and W must be multiples of it.
    """

    patch = 1

    def __init__(self, trunk_dim: int, head: str) -> None:
        super().__init__()
        if head not in HEADS:
            raise ValueError(f"{head!r} is not one of {', '.join(HEADS)}")
        self.granularity = "stage"
        self.head = nn.ModuleList(_mlp3(trunk_dim) if head == "mlp3" else [])
        self.dim = HEAD_WIDTH if self.head else trunk_dim
        # Not part of the state: a checkpoint holds what was learnt.
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

    @property
    def layers(self) -> tuple[str, ...]:
        return (*self.trunk_layers(), "trunk", *(f"head{i + 1}" for i in range(len(self.head))))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, dim): the output of the last layer."""
        output = x
        for _, output in self._steps(x):  # noqa: B007  (only the last one is wanted)
            pass
        return output

    def features(self, x: Tensor, pool: int = 1) -> dict[str, Tensor]:
        """(B, 3, H, W) -> {layer: float32 (B, d)}, in the order of ``layers``, all from one forward pass.

        Spatial maps are averaged to pool x pool cells (or left as they are where the map has fewer cells) and flattened
        to (B, C * cells). The values of ``forward`` itself do not depend on ``pool``.
        """
        return {name: pooled(value, pool) for name, value in self._steps(x)}

    def forward_with_features(self, x: Tensor, pool: int = 1) -> tuple[Tensor, dict[str, Tensor]]:
        """(forward(x), features(x, pool)) from one pass. The features are detached: nothing learns through them."""
        output, features = x, {}
        for name, output in self._steps(x):
            features[name] = pooled(output.detach(), pool)
        return output, features

    def trunk_layers(self) -> tuple[str, ...]:
        """Names of what ``trunk_steps`` yields, but for the last, "trunk"."""
        raise NotImplementedError

    def trunk_steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Normalised images -> (layer, (B, C, h, w)) for each layer of the trunk, and ("trunk", (B, d))."""
        raise NotImplementedError

    def _steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        for name, output in self.trunk_steps((x - self.mean) / self.std):
            yield name, output
        for i, layer in enumerate(self.head):
            output = layer(output)
            yield f"head{i + 1}", output


def pooled(x: Tensor, pool: int) -> Tensor:
    """(B, C, h, w) -> float32 (B, C * cells), averaged to at most pool x pool cells; (B, d) -> float32 (B, d)."""
    if x.dim() == 2:
        return x.float()
    cells = (min(pool, x.shape[2]), min(pool, x.shape[3]))
    if cells == (1, 1):
        return x.mean(dim=(2, 3), dtype=torch.float32)  # reads a bfloat16 map as it is, without a float32 copy
    return F.adaptive_avg_pool2d(x.float(), cells).flatten(1)


def _mlp3(width_in: int) -> list[nn.Sequential]:
    def hidden(d: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(d, HEAD_WIDTH, bias=False), nn.BatchNorm1d(HEAD_WIDTH), nn.ReLU(inplace=True))

    return [hidden(width_in), hidden(HEAD_WIDTH), nn.Sequential(nn.Linear(HEAD_WIDTH, HEAD_WIDTH))]
