"""The layers of a network: names, sizes, and that reading them changes nothing."""

import pytest
import torch
from torchvision.models import resnet18

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
    ours = Network("resnet18", "imagenet", "none").eval()
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


def test_initial_weights_are_a_function_of_the_seed():
    state = torch.get_rng_state()
    first, second, other = (build_network("resnet18", "small", "none", seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.stem[0].weight, other.stem[0].weight)


@pytest.mark.parametrize(
    "names", [("resnet19", "small", "none"), ("resnet18", "tiny", "none"), ("resnet18", "small", "x")]
)
def test_unknown_names(names):
    with pytest.raises(ValueError, match="is not one of"):
        Network(*names)
