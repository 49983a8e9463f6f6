"""The layers of a network: names, sizes, and that reading them changes nothing."""

import pytest
import timm
import torch
from timm.layers import build_sincos2d_pos_embed
from torchvision.models import resnet18

from benchmark.errors import UserError
from benchmark.models import Network, build_network

LAYERS = ("stem", "block1", "block2", "block3", "block4", "trunk", "head1", "head2", "head3")


@pytest.fixture(scope="module")
def network() -> Network:
    return build_network("resnet18", "imagenet", "mlp3", seed=0).eval()


@pytest.fixture
def batch() -> torch.Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_layers_and_widths(network, batch):
    features = network.features(batch)
    assert tuple(features) == network.layers == LAYERS
    assert [value.shape[1] for value in features.values()] == [64, 64, 128, 256, 512, 512, 2048, 2048, 2048]
    assert network.dim == 2048


def test_last_layer_is_the_output(network, batch):
    assert torch.equal(network.features(batch)["head3"], network(batch))


def test_trunk_is_what_torchvision_pools(batch):
    """The same weights in torchvision's own network give the same trunk, given the normalisation ours does inside."""
    theirs = resnet18(weights=None).eval()
    ours = build_network("resnet18", "imagenet", "none", seed=0).eval()
    names = {"conv1": "stem.0", "bn1": "stem.1"} | {f"layer{i}": f"block{i}" for i in range(1, 5)}
    state = {}
    for name, value in theirs.state_dict().items():
        first, rest = name.split(".", 1)
        if first in names:
            state[f"{names[first]}.{rest}"] = value
    ours.load_state_dict(state)
    theirs.fc = torch.nn.Identity()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (batch - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(ours(batch), theirs(normalised), atol=1e-4, rtol=1e-4)
    assert ours.layers == LAYERS[:6]
    assert ours.dim == 512


@pytest.mark.parametrize("arch", ["resnet18", "vit-s8"])
def test_output_and_features_of_one_pass(batch, arch):
    """What an online probe reads in training: the same values, detached, and the output still learns."""
    network = build_network(arch, "imagenet", "mlp3", seed=0).train()
    again = build_network(arch, "imagenet", "mlp3", seed=0).train()
    output, features = network.forward_with_features(batch)
    assert torch.equal(output, again(batch))
    assert tuple(features) == network.layers
    assert torch.equal(features["head3"], output)
    assert not any(value.requires_grad for value in features.values())
    output.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    for name, value in again.features(batch).items():
        torch.testing.assert_close(value, features[name])


def test_every_block_on_request(batch):
    network = build_network("resnet34", "small", "none", seed=0).eval()
    stages = network.features(batch[:, :, :32, :32])
    network.granularity = "block"
    blocks = network.features(batch[:, :, :32, :32])
    counts = (3, 4, 6, 3)
    expected = [f"block{stage}.{i}" for stage, count in enumerate(counts, 1) for i in range(1, count + 1)]
    assert tuple(blocks) == network.layers == ("stem", *expected, "trunk")
    for stage, count in enumerate(counts, 1):
        assert torch.equal(blocks[f"block{stage}.{count}"], stages[f"block{stage}"])
    assert torch.equal(blocks["trunk"], stages["trunk"])


def test_pool_keeps_a_grid(network, batch):
    one, two = network.features(batch), network.features(batch, pool=2)
    assert two["block1"].shape == (3, 64 * 4)
    torch.testing.assert_close(two["block1"].view(3, 64, 4).mean(2), one["block1"])
    assert two["block4"].shape == (3, 512 * 4)  # the map is 2 x 2 here
    assert network.features(batch, pool=4)["block4"].shape == (3, 512 * 4)
    for name in ("trunk", "head1", "head3"):
        assert torch.equal(one[name], two[name])


def test_reading_layers_changes_no_weight_and_no_buffer(network, batch):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.features(batch)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_features_are_float32_under_autocast(network, batch):
    with torch.autocast("cpu", torch.bfloat16):
        assert {value.dtype for value in network.features(batch).values()} == {torch.float32}


def test_hidden_head_layers_are_after_the_relu(network, batch):
    features = network.features(batch)
    assert features["head1"].min() == 0
    assert features["head2"].min() == 0
    assert features["head3"].min() < 0


def test_small_stem_keeps_the_resolution():
    network = build_network("resnet18", "small", "none", seed=0).eval()
    assert network.stem(torch.rand(1, 3, 32, 32)).shape == (1, 64, 32, 32)


def test_resnet50_trunk_is_as_wide_as_the_head():
    network = build_network("resnet50", "imagenet", "mlp3", seed=0).eval()
    widths = [value.shape[1] for value in network.features(torch.rand(1, 3, 32, 32)).values()]
    assert widths == [64, 256, 512, 1024, 2048, 2048, 2048, 2048, 2048]


def test_a_strided_convolution_of_one_pixel_has_a_sound_gradient(network):
    """What block4 sees of images of 16 pixels. In bfloat16, oneDNN's own kernel reads what freed memory holds: NaN."""
    convolution = network.block4[0].conv1
    pixel = torch.randn(8, convolution.in_channels, 1, 1, generator=torch.Generator().manual_seed(0))

    def gradient(precision: torch.dtype) -> torch.Tensor:
        convolution.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            output = convolution(pixel)
        loss = output.float().square().sum()
        freed = [torch.full((convolution.weight.numel() // k,), torch.nan) for k in (1, 1, 2, 2, 4, 4)]
        del freed
        loss.backward()
        return convolution.weight.grad.clone()

    plain = torch.nn.functional.conv2d(pixel, convolution.weight, stride=2, padding=convolution.padding)
    torch.testing.assert_close(convolution(pixel), plain)
    exact = gradient(torch.float32)
    for _ in range(4):
        assert (gradient(torch.bfloat16) - exact).norm() < 0.02 * exact.norm()


def test_initial_weights_are_a_function_of_the_seed():
    state = torch.get_rng_state()
    first, second, other = (build_network("resnet18", "small", "none", seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.stem[0].weight, other.stem[0].weight)


@pytest.mark.parametrize(
    "names",
    [
        ("resnet19", "small", "none"),
        ("resnet18", "tiny", "none"),
        ("resnet18", "small", "x"),
        ("vit-s8", "small", "none"),
    ],
)
def test_unknown_names(names):
    with pytest.raises(ValueError, match="is not one of"):
        build_network(*names, seed=0)


@pytest.mark.parametrize(("arch", "side", "width"), [("vit-s4", 16, 384), ("vit-s16", 32, 384), ("vit-b16", 32, 768)])
def test_transformer_layers(arch, side, width):
    network = build_network(arch, "imagenet", "mlp3", seed=0).eval()
    with torch.inference_mode():
        features = network.features(torch.rand(2, 3, side, side), pool=2)
    blocks = tuple(f"block{i}" for i in range(1, 13))
    assert tuple(features) == network.layers == (*blocks, "trunk", "head1", "head2", "head3")
    assert [value.shape[1] for value in features.values()] == [4 * width] * 12 + [2048] * 4
    assert features["trunk"].min() == 0  # after the ReLU
    network.granularity = "block"
    assert network.layers == tuple(features)


def test_small_transformer_for_demos_has_half_the_blocks_and_the_papers_trunk():
    network = build_network("vit-t7", "imagenet", "mlp3", seed=0).eval()
    with torch.inference_mode():
        features = network.features(torch.rand(2, 3, 28, 28))
    assert tuple(features) == (*(f"block{i}" for i in range(1, 7)), "trunk", "head1", "head2", "head3")
    assert [value.shape[1] for value in features.values()] == [192] * 6 + [2048] * 4


def test_transformer_is_timms(batch):
    """timm's own ViT-S/8 with our weights, and our positions as its table, gives our blocks and our mean of tokens."""
    ours = build_network("vit-s8", "imagenet", "none", seed=0).eval()
    theirs = timm.create_model(
        "vit_small_patch8_224", img_size=64, class_token=False, global_pool="avg", fc_norm=False, num_classes=0
    ).eval()
    theirs.pos_embed.data = build_sincos2d_pos_embed([8, 8], 384)[None]
    theirs.patch_embed.proj, theirs.blocks, theirs.norm = ours.patches, ours.blocks, ours.norm
    with torch.inference_mode():
        features, expected = ours.features(batch), theirs((batch - ours.mean) / ours.std)
        torch.testing.assert_close(features["trunk"], ours.project(expected), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("sides", [(64, 20), (36, 64)])
def test_images_that_no_patch_divides(sides):
    network = build_network("vit-s8", "imagenet", "none", seed=0)
    with pytest.raises(UserError, match=f"--arch vit-s8.* 8 x 8.* {sides[0]} x {sides[1]}"):
        network(torch.rand(1, 3, *sides))


def test_oblong_images(batch):
    network = build_network("vit-s16", "imagenet", "none", seed=0).eval()
    assert network.features(batch[:, :, :32], pool=4)["block1"].shape == (3, 384 * 2 * 4)
