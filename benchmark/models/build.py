"""Networks by name."""

import torch

from benchmark.models.network import Network
from benchmark.models.resnet import RESNETS, ResNet
from benchmark.models.vit import VITS, VisionTransformer

ARCHITECTURES = (*RESNETS, *VITS)
STEMS = ("imagenet", "small")


def build_network(arch: str, stem: str, head: str, seed: int) -> Network:
    """The network as initialised from ``seed``, whatever the state of the global generator (which is left untouched).

    Training starts from exactly this network, so it is also the "untrained" control of a run. ValueError for an unknown
    arch, stem or head, and for a stem that the arch does not have.
    """
    for value, known in ((arch, ARCHITECTURES), (stem, stems(arch))):
        if value not in known:
            raise ValueError(f"{value!r} is not one of {', '.join(known)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ResNet(arch, stem, head) if arch in RESNETS else VisionTransformer(arch, head)


def stems(arch: str) -> tuple[str, ...]:
    """The stems that an architecture can have; a transformer has its own, the patches, as all do on ImageNet."""
    return STEMS if arch in RESNETS else STEMS[:1]
