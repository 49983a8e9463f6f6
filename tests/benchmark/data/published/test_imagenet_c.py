"""ImageNet-C in its published folders, and drawn here."""

import builtins
from pathlib import Path

import imagecorruptions
import numpy as np
import pytest
import torch

from benchmark.data import corruptions, load_table
from benchmark.data.corruptions import ALL, CORRUPTIONS, corrupted
from benchmark.data.datasets import open_dataset
from benchmark.data.pack import pack
from benchmark.errors import UserError
from tests.benchmark.data import making

FEW = ("gaussian_noise", "impulse_noise", "motion_blur", "fog", "jpeg_compression")


@pytest.fixture
def photos(tmp_path) -> Path:
    for number, name in enumerate(("cat", "dog")):
        for row in range(3):
            for split in ("train", "val"):
                making.photograph(tmp_path / "photos" / split / name / f"{row}.jpg", 48, 40, 10 * number + row)
    return tmp_path / "photos"


@pytest.mark.parametrize("inside", ["", "noise/"])
def test_published_folders(tmp_path, inside):
    for corruption in ("gaussian_noise", "shot_noise"):
        for severity in (1, 3):
            for synset in ("n01440764", "n01443537"):
                place = tmp_path / "c" / f"{inside}{corruption}" / str(severity) / synset
                making.photograph(place / "ILSVRC2012_val_00000293.JPEG", 32, 32)
    dataset = open_dataset(f"imagenet-c:{tmp_path / 'c'}")
    assert dataset.splits == ("gaussian_noise_1", "gaussian_noise_3", "shot_noise_1", "shot_noise_3")
    assert dataset.classes == ("n01440764", "n01443537")
    pack(f"imagenet-c:{tmp_path / 'c'}", tmp_path / "out", splits=("shot_noise_3",))
    assert open_dataset(tmp_path / "out").splits == ("shot_noise_3",)


def test_nothing_of_it(tmp_path):
    with pytest.raises(UserError, match="no ImageNet-C there; ImageNet-C is CORRUPTION/SEVERITY"):
        open_dataset(f"imagenet-c:{tmp_path}")


def test_names_are_those_of_the_library():
    assert list(CORRUPTIONS) == imagecorruptions.get_corruption_names()
    assert list(ALL) == imagecorruptions.get_corruption_names("all")


@pytest.mark.parametrize("name", sorted(set(ALL) - {"glass_blur"}))
def test_the_same_identity_gives_the_same_image(name):
    image = making.images(1, 33, 40, 3)[0]
    first = corrupted(image, name, 3, 7)
    assert first.shape == image.shape and first.dtype == np.uint8
    np.random.random(5)
    assert np.array_equal(corrupted(image, name, 3, 7), first)
    assert not np.array_equal(first, image)
    if name in ("gaussian_noise", "impulse_noise", "fog"):
        assert not np.array_equal(corrupted(image, name, 3, 8), first)


@pytest.mark.slow  # the library compiles it
def test_glass_blur_follows_from_its_identity():
    image = making.images(1, 33, 40, 3)[0]
    assert np.array_equal(corrupted(image, "glass_blur", 2, 7), corrupted(image, "glass_blur", 2, 7))
    assert not np.array_equal(corrupted(image, "glass_blur", 2, 7), corrupted(image, "glass_blur", 2, 8))


def test_drawn_splits(photos, tmp_path):
    report = pack(photos, tmp_path / "out", corrupt=FEW, severities=(1, 5), side=32)
    names = [f"{name}_{severity}" for name in FEW for severity in (1, 5)]
    assert report.images == dict.fromkeys(names, 6)
    dataset = open_dataset(tmp_path / "out")
    assert dataset.splits == tuple(names) and dataset.classes == ("cat", "dog")
    clean = load_table(photos, "val", side=32)
    for name in FEW:
        weak, strong = (load_table(tmp_path / "out", f"{name}_{severity}") for severity in (1, 5))
        assert weak.object_ids == strong.object_ids == clean.object_ids
        distances = [(table.images.float() - clean.images.float()).abs().mean() for table in (weak, strong)]
        assert 2 < distances[0] < distances[1]
    pack(photos, tmp_path / "again", corrupt=FEW, severities=(5, 1), side=32)
    for name in names:
        assert torch.equal(load_table(tmp_path / "again", name).images, load_table(tmp_path / "out", name).images)


@pytest.mark.slow
def test_processes_draw_what_one_thread_draws(photos, tmp_path, monkeypatch):
    pack(photos, tmp_path / "one", corrupt=FEW, severities=(2,))
    monkeypatch.setattr("benchmark.data.pack._FEW", 0)
    pack(photos, tmp_path / "many", corrupt=FEW, severities=(2,))
    for name in FEW:
        file = f"{name}_2-000000.tar"
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "many" / file).read_bytes()


def test_another_name_than_val(photos, tmp_path):
    (photos / "val").rename(photos / "test")
    assert pack(photos, tmp_path / "out", corrupt=("contrast",), severities=(4,)).images == {"contrast_4": 6}
    making.fashion_mnist(tmp_path / "fm")
    with pytest.raises(UserError, match="--corrupt: needs images of 32 pixels a side; give --side 32"):
        pack(f"fashion-mnist:{tmp_path / 'fm'}", tmp_path / "no", corrupt=("fog",))


def test_what_cannot_be_drawn(photos, tmp_path, monkeypatch):
    for options, message in (
        ({"corrupt": ("rain",)}, "--corrupt rain: choose of gaussian_noise, "),
        ({"corrupt": FEW, "severities": (6,)}, "--severity 6: choose of 1, 2, 3, 4, 5"),
        ({"corrupt": FEW, "side": 16}, "--side 16: corruptions need at least 32"),
        ({"corrupt": FEW, "splits": ("train", "val")}, "--corrupt: corrupts one split at a time"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            pack(photos, tmp_path / "out", **options)
        assert caught.value.exit_code == 2
    real = builtins.__import__
    monkeypatch.setattr(
        builtins,
        "__import__",
        lambda name, *rest: (
            (_ for _ in ()).throw(ImportError(name)) if name == "imagecorruptions" else real(name, *rest)
        ),
    )
    corruptions._library.cache_clear()
    with pytest.raises(UserError, match=r"imagecorruptions-imaug .*pip install 'gr3d\[corruptions\]'"):
        pack(photos, tmp_path / "out", corrupt=FEW)
    assert not (tmp_path / "out").exists()
