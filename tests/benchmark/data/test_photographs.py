"""Real photographs of ImageNet and CIFAR-10, which the package foolbox ships: they pack, load and scale as PIL does."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.data import load_table
from benchmark.data.pack import pack
from tests.needs import needs_foolbox


@pytest.fixture
def photos(tmp_path) -> Path:
    """photos/{train,val}/CLASS/*.jpg: 20 images of ImageNet, of several sizes, by the digits of their class."""
    folder = Path(importlib.util.find_spec("foolbox").origin).parent / "data"
    for number, path in enumerate(sorted(folder.glob("imagenet_*.jpg"))):
        place = tmp_path / "photos" / ("val" if number % 5 == 0 else "train") / f"class-{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        (place / path.name).write_bytes(path.read_bytes())
    return tmp_path / "photos"


@needs_foolbox
def test_imagenets_photographs(photos, tmp_path):
    report = pack(photos, tmp_path / "whole")
    assert sum(report.images.values()) == 20 and not report.left_out
    whole, scaled = load_table(tmp_path / "whole", "train"), load_table(photos, "train")
    assert whole.images.shape == (16, 3, 224, 224)
    assert np.array_equal(whole.images, scaled.images)
    pack(photos, tmp_path / "small", side=64)
    small = load_table(tmp_path / "small", "train")
    for row, name in enumerate(small.object_ids):
        with Image.open(photos / name) as image:
            image = image.convert("RGB")
        short, (width, height) = min(image.size), image.size
        box = ((width - short) // 2, (height - short) // 2, (width + short) // 2, (height + short) // 2)
        expected = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR, box=box), dtype=float)
        found = small.images[row].permute(1, 2, 0).numpy()
        # Decoded at half its size, then scaled, and through a JPEG of 64 x 64: what an eye would not tell.
        assert np.sqrt(((found - expected) ** 2).mean()) < 6


@needs_foolbox
def test_cifars_pictures(tmp_path):
    folder = Path(importlib.util.find_spec("foolbox").origin).parent / "data"
    for path in folder.glob("cifar10_*.png"):
        place = tmp_path / "photos" / "train" / path.stem.rpartition("_")[2]
        place.mkdir(parents=True, exist_ok=True)
        (place / path.name).write_bytes(path.read_bytes())
    pack(tmp_path / "photos", tmp_path / "out")
    table = load_table(tmp_path / "out", "train")
    assert table.images.shape == (20, 3, 32, 32)
    for row, name in enumerate(table.object_ids):
        with Image.open(tmp_path / "photos" / name) as image:
            assert np.array_equal(table.images[row].permute(1, 2, 0).numpy(), np.asarray(image.convert("RGB")))
