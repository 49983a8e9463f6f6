"""ResNets (He et al., 2016) with the blocks of torchvision."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet18, resnet34, resnet50

from benchmark.models.network import Network

_TRUNKS = {"resnet18": resnet18, "resnet34": resnet34, "resnet50": resnet50}
_STAGES = ("block1", "block2", "block3", "block4")

RESNETS = tuple(_TRUNKS)


class ResNet(Network):
    """Layers: stem, block1 ... block4 (spatial maps), trunk (the global average of block4), head1 ...

    At granularity "block" every residual block is a layer: block1.1, block1.2, block2.1, ...

    arch: one of RESNETS. stem: "imagenet" (7 x 7 convolution of stride 2 and max-pooling: quarters the side) or
    "small" (3 x 3 convolution, full resolution, for images of 32 to 64 pixels).
    """

    def __init__(self, arch: str, stem: str, head: str) -> None:
        trunk = _TRUNKS[arch](weights=None)
        _guard_single_pixels(trunk)
        super().__init__(trunk.fc.in_features, head)
        if stem == "small":
            conv = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's own
            self.stem = nn.Sequential(conv, trunk.bn1, trunk.relu)
        else:
            self.stem = nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool)
        self.block1, self.block2, self.block3, self.block4 = trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4

    def trunk_layers(self) -> tuple[str, ...]:
        if self.granularity == "stage":
            return ("stem", *_STAGES)
        return ("stem", *(f"{name}.{i + 1}" for name in _STAGES for i in range(len(getattr(self, name)))))

    def trunk_steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        x = self.stem(x)
        yield "stem", x
        for name in _STAGES:
            for i, block in enumerate(getattr(self, name)):
                x = block(x)
                if self.granularity == "block":
                    yield f"{name}.{i + 1}", x
            if self.granularity == "stage":
                yield name, x
        yield "trunk", x.mean(dim=(2, 3))


class _StridedConv2d(nn.Conv2d):
    """As nn.Conv2d, but on a map of one pixel only the middle of the kernel, which alone meets it, is used.

    There the bfloat16 weight gradient of a strided convolution reads memory on CPUs that nobody has written (torch 2.15
    with oneDNN 3.13.3): NaN, infinite or merely wrong, and another one every time. Images of up to 16 pixels, whose
    block3 gives one pixel, come into it.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (1, 1):
            return super().forward(x)
        row, column = self.padding
        return F.conv2d(x, self.weight[:, :, row : row + 1, column : column + 1], self.bias)


def _guard_single_pixels(trunk: nn.Module) -> None:
    """Turn the strided convolutions of torchvision's blocks into _StridedConv2d; parameters and their names stay."""
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d) and module.stride != (1, 1) and module.padding != (0, 0):
            module.__class__ = _StridedConv2d
