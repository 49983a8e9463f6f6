"""Layers of networks that nobody described to gr3d: the right ones, in order, with the numbers that are in them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmark.models.discovery import discover, reading
from benchmark.models.libraries import expected_input, make

#: What users bring, of both libraries: name -> (width of each block, width of the trunk, layers of the head).
STAGES = {
    "timm:resnet50": ([256, 512, 1024, 2048], 2048, 1),
    "timm:vit_small_patch16_224": ([384] * 12, 384, 1),
    "timm:convnext_tiny": ([96, 192, 384, 768], 768, 1),
    "timm:efficientnet_b0": ([16, 24, 40, 112, 320], 1280, 1),
    "timm:swin_tiny_patch4_window7_224": ([96, 192, 384, 768], 768, 1),
    "timm:mixer_s32_224": ([512] * 8, 512, 1),
    "timm:regnetx_002": ([24, 56, 152, 368], 368, 1),
    "timm:resnet26d": ([256, 512, 1024, 2048], 2048, 1),
    "timm:tnt_s_legacy_patch16_224": ([384] * 12, 384, 1),
    "timm:deit_tiny_distilled_patch16_224": ([192] * 12, 192, 1),
    "timm:vit_small_r26_s32_224": ([384] * 12, 384, 1),
    "timm:vit_base_patch16_siglip_224": ([768] * 12, 768, 0),
    "timm:resnetv2_50x1_bit": ([256, 512, 1024, 2048], 2048, 1),
    "timm:mobilenetv3_small_050": ([8, 16, 24, 48], 1024, 1),
    "torchvision:resnet18": ([64, 128, 256, 512], 512, 1),
    "torchvision:vit_b_16": ([768] * 12, 768, 1),
    "torchvision:swin_t": ([96, 192, 384, 768], 768, 1),
    "torchvision:mobilenet_v3_small": ([16, 24, 48, 96], 576, 2),
    "torchvision:densenet121": ([256, 512, 1024, 1024], 1024, 1),
    "torchvision:vgg11": ([64, 128, 256, 512, 512], 512, 3),
    "torchvision:squeezenet1_1": ([128, 256, 512], 512, 1),
    "torchvision:googlenet": ([480, 832, 1024], 1024, 1),
    "torchvision:regnet_y_400mf": ([48, 104, 208, 440], 440, 1),
    "torchvision:convnext_tiny": ([96, 192, 384, 768], 768, 1),
    "torchvision:maxvit_t": ([64, 128, 256, 512], 512, 2),
}


def read(network, image, granularity="stage", pool=1):
    taps = discover(network, image, granularity)
    seen = {}
    with torch.inference_mode(), reading(network, taps, pool, len(image), seen):
        output = network(image)
    assert not network._forward_hooks and not any(module._forward_hooks for module in network.modules())
    return taps, {tap.layer: seen[tap.layer] for tap in taps}, output


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_stages_of_both_libraries(name):
    blocks, trunk, heads = STAGES[name]
    side = expected_input(name).side
    network = make(name).eval()
    taps, features, output = read(network, torch.rand(2, 3, side, side))
    widths = {layer: value.shape[1] for layer, value in features.items()}
    widths.pop("stem", None)
    named = [f"block{i}" for i in range(1, len(blocks) + 1)]
    assert list(widths) == [*named, "trunk", *(f"head{i + 1}" for i in range(heads))]
    assert list(widths.values())[: len(blocks) + 1] == [*blocks, trunk]
    last = features[f"head{heads}" if heads else "trunk"]
    torch.testing.assert_close(last, output)
    finer = discover(network, torch.rand(1, 3, side, side), "block")
    assert len(finer) >= len(taps)
    assert [tap.layer for tap in finer if tap.layer.startswith(("stem", "trunk", "head"))] == [
        tap.layer for tap in taps if tap.layer.startswith(("stem", "trunk", "head"))
    ]


class Residual(nn.Module):
    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1)
        self.skip = nn.Conv2d(width_in, width, 1, stride)

    def forward(self, x):
        return F.relu(self.skip(x) + self.conv2(F.relu(self.conv1(x))), inplace=True)


class Convolutional(nn.Module):
    """A ResNet in miniature."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.stages = nn.Sequential(
            nn.Sequential(Residual(8, 8, 1), Residual(8, 8, 1)),
            nn.Sequential(Residual(8, 12, 2), Residual(12, 12, 1)),
            nn.Sequential(Residual(12, 16, 2), Residual(16, 16, 1)),
        )
        self.norm = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        return self.fc(self.norm(self.stages(self.first(x))).mean((2, 3)))


def test_stages_blocks_and_their_values():
    network, image = Convolutional().eval(), torch.rand(2, 3, 32, 32)
    _, features, output = read(network, image)
    assert list(features) == ["stem", "block1", "block2", "block3", "trunk", "head1"]
    with torch.no_grad():
        x = network.first(image)
        expected = [x := stage(x) for stage in network.stages]
        trunk = network.norm(x).mean((2, 3))
    for layer, value in zip(("block1", "block2", "block3"), expected, strict=True):
        torch.testing.assert_close(features[layer], value.mean((2, 3)))
    torch.testing.assert_close(features["trunk"], trunk)
    torch.testing.assert_close(features["head1"], output)
    _, blocks, _ = read(network, image, "block", pool=2)
    assert list(blocks) == ["stem", *(f"block{i}.{k}" for i in (1, 2, 3) for k in (1, 2)), "trunk", "head1"]
    torch.testing.assert_close(blocks["block2.2"], F.adaptive_avg_pool2d(expected[1], 2).flatten(1))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x):
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return x + self.mlp(x)


class Transformer(nn.Module):
    """Tokens after `prefix` others, the first of which is the class token that is classified."""

    def __init__(self, prefix: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.others = nn.Parameter(torch.full((1, prefix, 8), 100.0))
        self.blocks = nn.ModuleList(Block(8) for _ in range(4))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = torch.cat([self.others.expand(len(x), -1, -1), self.patches(x).flatten(2).transpose(1, 2)], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


@pytest.mark.parametrize("prefix", [1, 2, 5])
def test_tokens_of_patches_are_pooled_without_the_others(prefix):
    network, image = Transformer(prefix).eval(), torch.rand(2, 3, 32, 32)
    taps, features, _ = read(network, image)
    assert list(features) == ["stem", "block1", "block2", "block3", "block4", "trunk", "head1"]
    blocks = [tap for tap in taps if tap.layer.startswith("block")]
    assert {(tap.layout, tap.prefix) for tap in blocks} == {("tokens", prefix)}
    seen = []
    handle = network.blocks[1].register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad():
        network(image)
    handle.remove()
    torch.testing.assert_close(features["block2"], seen[0][:, prefix:].mean(1))
    _, grid, _ = read(network, image, pool=2)
    assert grid["block2"].shape == (2, 32)


class Perceptron(nn.Module):
    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width_in, width), nn.Linear(width, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class ChannelsLast(nn.Module):
    """Maps are (B, h, w, C), as in Swin; the first has as many channels as rows."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 2, 2)
        self.stages = nn.ModuleList(Perceptron(*widths) for widths in ((16, 16), (64, 24), (96, 32)))
        self.fc = nn.Linear(32, 4)

    def forward(self, x):
        x = self.patches(x).permute(0, 2, 3, 1)
        for number, stage in enumerate(self.stages):
            if number:
                x = torch.cat([x[:, i::2, k::2] for i in (0, 1) for k in (0, 1)], dim=-1)
            x = stage(x)
        return self.fc(x.mean((1, 2)))


def test_channels_last_maps():
    network, image = ChannelsLast().eval(), torch.rand(2, 3, 32, 32)
    taps, features, _ = read(network, image)
    assert [value.shape[1] for value in features.values()] == [16, 16, 24, 32, 32, 4]
    assert {tap.layout for tap in taps if tap.layer.startswith("block")} == {"map_last"}
    torch.testing.assert_close(features["block3"], features["trunk"])


def test_a_network_that_gives_maps_is_refused():
    with pytest.raises(ValueError, match="2 x 8 x 16 x 16, not a vector"):
        discover(Convolutional().first, torch.rand(2, 3, 32, 32))
