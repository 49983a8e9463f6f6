"""Networks of timm and torchvision, opened by name: their weights, their input, their layers."""

import pytest
import safetensors.torch
import timm
import torch
import torchvision

from benchmark.errors import UserError
from benchmark.models.foreign import Request, open_foreign
from benchmark.models.libraries import expected_input, find, make, pretrained
from benchmark.probes.features import weights_hash

TINY = "timm:test_resnet"  # 0.5 million parameters, made for 160 x 160 pixels
TRANSFORMER = "timm:vit_tiny_patch16_224"  # 224 x 224 pixels and no other


@pytest.fixture
def images():
    return torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def features(network, images, pool=1):
    with torch.inference_mode():
        return network.features(images, pool)


@pytest.mark.parametrize("name", [TINY, TRANSFORMER, "torchvision:squeezenet1_1"])
def test_reading_changes_nothing_and_ends_in_the_output(name):
    network = open_foreign(Request(name))
    images = torch.rand(2, 3, network.input.side, network.input.side)
    before = weights_hash(network)
    read = features(network, images)
    assert weights_hash(network) == before
    assert tuple(read) == network.layers
    assert all(value.dtype == torch.float32 and value.dim() == 2 and len(value) == 2 for value in read.values())
    with torch.inference_mode():
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (network.input.mean, network.input.std))
        torch.testing.assert_close(read["head1"], network.model((images - mean) / std))


def test_random_weights_follow_the_seed_alone():
    state = torch.get_rng_state()
    one, same, other = (open_foreign(Request(TINY, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert weights_hash(one) == weights_hash(same) != weights_hash(other)


def test_each_library_says_what_images_it_takes():
    assert expected_input("torchvision:vit_h_14").side == 224  # of its weights there are some for 518
    assert expected_input("torchvision:inception_v3").side == 299
    assert expected_input("timm:vit_small_patch16_224").mean == (0.5, 0.5, 0.5)
    assert expected_input("timm:resnet50").mean == pytest.approx((0.485, 0.456, 0.406))


def test_images_are_taken_as_they_are_or_resized(images):
    convolutional, transformer = open_foreign(Request(TINY)), open_foreign(Request(TRANSFORMER))
    assert convolutional.side_for(images) is None
    assert transformer.side_for(images) == 224
    larger = torch.nn.functional.interpolate(images, (224, 224), mode="bicubic", antialias=True).clamp(0, 1)
    torch.testing.assert_close(features(transformer, images)["block2"], features(transformer, larger)["block2"])
    asked = open_foreign(Request(TINY, side=224))
    torch.testing.assert_close(features(asked, images)["block2"], features(convolutional, larger)["block2"])


def test_a_side_that_cannot_be(images):
    network = open_foreign(Request(TRANSFORMER, side=100))
    with pytest.raises(UserError, match=r"cannot take images of side 100; its own is 224 \(--side 224\)"):
        network.features(images)


def test_layers_do_not_depend_on_the_images(images):
    network = open_foreign(Request(TINY))
    assert list(features(network, images)) == list(features(network, images[:, :, :32, :32])) == list(network.layers)
    finer = open_foreign(Request("timm:test_convnext", granularity="block"))
    assert list(features(finer, images)) == list(finer.layers)
    assert {"block2.1", "block2.2", "block3.4"} < set(finer.layers)


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_weights_from_a_file(tmp_path, images, ending):
    theirs = timm.create_model("test_resnet", num_classes=7).eval()
    path = tmp_path / f"w.{ending}"
    if ending == "pth":
        torch.save({"state_dict": {f"module.{k}": v for k, v in theirs.state_dict().items()}, "epoch": 1}, path)
    else:
        safetensors.torch.save_file(theirs.state_dict(), path)
    network = open_foreign(Request(TINY, path, seed=5))
    assert network.notes == ()
    read = features(network, images)
    assert read["head1"].shape == (2, 7)
    with torch.inference_mode():
        torch.testing.assert_close(read["head1"], theirs((images - network.mean) / network.std))


def test_without_a_classifier_there_is_no_head(tmp_path, images):
    path = tmp_path / "w.pth"
    torch.save({k: v for k, v in timm.create_model("test_resnet").state_dict().items() if "fc" not in k}, path)
    network = open_foreign(Request(TINY, path))
    assert network.layers[-1] == list(features(network, images))[-1] == "trunk"
    assert "the classifier is not read" in network.notes[0]


def test_part_of_a_classifier_may_be_missing(tmp_path):
    theirs = torchvision.models.mobilenet_v3_small()
    path = tmp_path / "w.pth"
    torch.save({k: v for k, v in theirs.state_dict().items() if not k.startswith("classifier.3.")}, path)
    assert open_foreign(Request("torchvision:mobilenet_v3_small", path)).layers[-2:] == ("trunk", "head1")


def test_weights_of_another_architecture(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    with pytest.raises(UserError, match=r"w.pth: does not fit the network: '.*' is .* in the file and .* in the net"):
        open_foreign(Request(TRANSFORMER, path))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("timm:resnet5O", "timm has no such network; did you mean .*timm:resnet50"),
        ("torchvision:vit_b16", "torchvision has no such network; did you mean .*torchvision:vit_b_16"),
        ("resnet50", "give timm:NAME or torchvision:NAME; did you mean .*resnet50"),
        ("hub:resnet50", "give timm:NAME or torchvision:NAME"),
        ("timm:hf-hub:timm/resnet50", "timm has no such network"),
        ("torchvision:fcn_resnet50", "torchvision has no such network"),
        ("timm:", "timm has no such network"),
    ],
)
def test_unknown_names(name, says):
    with pytest.raises(UserError, match=f"--model {name}: {says}") as caught:
        find(name)
    assert caught.value.exit_code == 2


def test_a_tag_that_does_not_exist():
    with pytest.raises(UserError, match=r"--model timm:resnet50\.by_nobody"):
        make("timm:resnet50.by_nobody")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No way out: caches that are empty, and a proxy where nobody listens."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path


@pytest.mark.parametrize("name", ["timm:resnet50", "torchvision:resnet18", "timm:test_mambaout.nothing"])
def test_weights_that_cannot_be_had(offline, name):
    with pytest.raises(UserError, match=f"--model {name}: .*--weights FILE, or --random") as caught:
        pretrained(name)
    assert "\n" not in str(caught.value)


def test_weights_that_were_downloaded_before_are_taken(offline):
    path = offline / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    assert pretrained("torchvision:resnet18") == path
