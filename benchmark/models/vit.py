"""Vision transformers (Dosovitskiy et al., 2021) with the blocks of timm, for images of any size."""

from collections.abc import Iterator

from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.models.network import HEAD_WIDTH, Network

_SIZES = {"t": (192, 3, 6), "s": (384, 6, 12), "b": (768, 12, 12)}  # width, attention heads, blocks
_PATCHES = {"t": (4, 7, 8, 16), "s": (4, 8, 16), "b": (4, 8, 16)}  # 28 pixels, as of Fashion-MNIST, hold 4 of 7

#: name -> (width, heads, blocks, side of a patch). 64 pixels hold as many 4 x 4 patches as 256 hold of 16 x 16.
VITS = {f"vit-{size}{patch}": (*_SIZES[size], patch) for size in _SIZES for patch in _PATCHES[size]}


class VisionTransformer(Network):
    """Layers: block1, block2, ... (tokens, laid out as the map of patches that they are), trunk, head1 ...

    vit-s and vit-b are ViT-S and ViT-B, of 12 blocks. vit-t, ViT-Ti's width with half its blocks, is nobody's: it is
    there for figures at demo scale, on two CPU cores in minutes.

    The trunk is the paper's (Figure 10): a linear layer with ReLU to 2048 dimensions, on the mean of the normalised
    tokens. There is no class token: a mean does as well (Beyer et al., 2022, "Better plain ViT baselines for
    ImageNet-1k"), and a layer's tokens and the trunk are then read the same way. Positions are told by fixed sines and
    cosines (ibid.; MoCo v3), so that the weights belong to no image size. Blocks are their own stages.

    arch: a key of VITS. forward raises UserError for images whose sides are not multiples of the patch.
    """

    def __init__(self, arch: str, head: str) -> None:
        from timm.models.vision_transformer import VisionTransformer as Trunk  # slow to import

        width, heads, depth, patch = VITS[arch]
        super().__init__(HEAD_WIDTH, head)
        self.arch, self.patch = arch, patch
        trunk = Trunk(
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            class_token=False,
            pos_embed="none",
            global_pool="avg",
            fc_norm=False,  # normalise, then average
            num_classes=0,
        )
        self.patches, self.blocks, self.norm = trunk.patch_embed.proj, trunk.blocks, trunk.norm
        self.project = nn.Sequential(nn.Linear(width, HEAD_WIDTH), nn.ReLU(inplace=True))

    def trunk_layers(self) -> tuple[str, ...]:
        return tuple(f"block{i + 1}" for i in range(len(self.blocks)))

    def trunk_steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        check_side(self.arch, *x.shape[2:])
        x = self.patches(x)
        grid = x.shape[2:]
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + _positions(grid[0], grid[1], tokens)
        for i, block in enumerate(self.blocks):
            tokens = block(tokens)
            yield f"block{i + 1}", tokens.transpose(1, 2).unflatten(2, grid)
        yield "trunk", self.project(self.norm(tokens).mean(dim=1))


def check_side(arch: str, height: int, width: int) -> None:
    """UserError (wrong usage) unless a network `arch` can take images of height x width."""
    patch = VITS[arch][3] if arch in VITS else 1
    if height % patch or width % patch:
        raise UserError(
            f"--arch {arch}: cuts images into patches of {patch} x {patch}, and these are {height} x {width}; "
            f"choose an arch whose patch divides both (of {', '.join(VITS)}), or a ResNet",
            exit_code=2,
        )


def _positions(height: int, width: int, like: Tensor) -> Tensor:
    """(height * width, C): sines and cosines of the row and of the column, of the type and on the device of `like`."""
    from timm.layers import build_sincos2d_pos_embed

    return build_sincos2d_pos_embed([height, width], like.shape[2], device=like.device, dtype=like.dtype)
