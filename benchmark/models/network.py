"""A residual trunk with an MLP head whose layers can all be read by name.

The layers, in the order of the forward pass: stem, block1 ... block4 (spatial maps), trunk (what the head reads), then
head1, head2, head3. The head is the paper's (appendix B): three layers of width 2048 with BatchNorm and ReLU.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet18, resnet34, resnet50

ARCHITECTURES = {"resnet18": resnet18, "resnet34": resnet34, "resnet50": resnet50}
STEMS = ("imagenet", "small")
HEADS = ("mlp3", "none")

HEAD_WIDTH = 2048  # appendix B of the paper: the width of a ResNet-50's trunk

# Channel statistics of ImageNet: any fixed affine map of the input serves, and these let pretrained trunks be compared.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class Network(nn.Module):
    """Trunk and head. Input: (B, 3, H, W) float in [0, 1], RGB; it is normalised inside.

    arch: a key of ARCHITECTURES. stem: "imagenet" (7 x 7 convolution of stride 2 and max-pooling: quarters the side) or
    "small" (3 x 3 convolution, full resolution, for images of 32 to 64 pixels). head: "mlp3" or "none".

    ``layers`` names the taps in order; ``dim`` is the width of the last one, which ``forward`` returns.
    Raises ValueError for an unknown arch, stem or head.
    """

    def __init__(self, arch: str, stem: str, head: str) -> None:
        super().__init__()
        for value, known in ((arch, ARCHITECTURES), (stem, STEMS), (head, HEADS)):
            if value not in known:
                raise ValueError(f"{value!r} is not one of {', '.join(known)}")
        trunk = ARCHITECTURES[arch](weights=None)
        if stem == "small":
            conv = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's own
            self.stem = nn.Sequential(conv, trunk.bn1, trunk.relu)
        else:
            self.stem = nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool)
        self.block1, self.block2, self.block3, self.block4 = trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4
        self.dim = trunk.fc.in_features
        self.head = nn.ModuleList()
        if head == "mlp3":
            self.head.extend(_mlp3(self.dim))
            self.dim = HEAD_WIDTH
        heads = tuple(f"head{i + 1}" for i in range(len(self.head)))
        self.layers: tuple[str, ...] = ("stem", "block1", "block2", "block3", "block4", "trunk", *heads)
        # Not part of the state: a checkpoint holds what was learnt.
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

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
        return {name: _pooled(value.float(), pool) for name, value in self._steps(x)}

    def _steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        x = (x - self.mean) / self.std
        for name in ("stem", "block1", "block2", "block3", "block4"):
            x = getattr(self, name)(x)
            yield name, x
        x = x.mean(dim=(2, 3))
        yield "trunk", x
        for name, layer in zip(self.layers[6:], self.head, strict=True):
            x = layer(x)
            yield name, x


def build_network(arch: str, stem: str, head: str, seed: int) -> Network:
    """The network as initialised from ``seed``, whatever the state of the global generator (which is left untouched).

    Training starts from exactly this network, so it is also the "untrained" control of a run.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(arch, stem, head)


def _mlp3(width_in: int) -> list[nn.Sequential]:
    def hidden(d: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(d, HEAD_WIDTH, bias=False), nn.BatchNorm1d(HEAD_WIDTH), nn.ReLU(inplace=True))

    return [hidden(width_in), hidden(HEAD_WIDTH), nn.Sequential(nn.Linear(HEAD_WIDTH, HEAD_WIDTH))]


def _pooled(x: Tensor, pool: int) -> Tensor:
    if x.dim() == 2:
        return x
    cells = (min(pool, x.shape[2]), min(pool, x.shape[3]))
    return F.adaptive_avg_pool2d(x, cells).flatten(1)
