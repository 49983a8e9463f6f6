"""Plain image folders, against torchvision's ImageFolder."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from benchmark.data import load_table
from benchmark.data.datasets import open_dataset
from benchmark.data.table import count_images, read_dataset_info, shards_of, splits
from benchmark.errors import UserError
from benchmark.probes.classify import inner_images
from benchmark.probes.targets import target_columns
from tests.benchmark.data import making


def picture(path: Path, width: int = 32, height: int = 32, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def data(tmp_path) -> Path:
    """Two splits, two categories, nested and in three formats."""
    for number, name in enumerate(("cat/1.png", "cat/deeper/2.jpg", "dog/1.webp", "dog/3.JPEG")):
        picture(tmp_path / "train" / name, seed=number)
    for number, name in enumerate(("cat/9.png", "dog/9.png")):
        picture(tmp_path / "val" / name, seed=10 + number)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "train" / ".hidden").mkdir()
    return tmp_path


def test_endings_that_imagefolder_knows_and_names_that_are_not_utf8(tmp_path):
    """`folder:` parts a folder without splits by the names of its files, which may be any bytes."""
    for name in ("1.bmp", "2.tif", "3.tiff", "4.ppm", "5.png", "6.jpg"):
        for kind in ("cat", "dog"):
            picture(tmp_path / kind / name)
    (tmp_path / "cat" / "1.bmp").rename(os.fsdecode(os.fsencode(tmp_path / "cat") + b"/caf\xe9.bmp"))
    Image.new("L", (32, 32)).save(tmp_path / "dog" / "7.pgm")
    dataset = open_dataset(f"folder:{tmp_path}")
    assert dataset.count("train") + dataset.count("val") == len(ImageFolder(tmp_path)) == 13
    assert {split: len(load_table(f"folder:{tmp_path}", split)) for split in dataset.splits} == dataset.spec["images"]
    assert inner_images(load_table(f"folder:{tmp_path}", "train")).any()


@pytest.mark.parametrize("place", ["ram", "mmap"])
def test_same_images_and_categories_as_imagefolder(data, place, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    table = load_table(data, "train", place=place)
    theirs = ImageFolder(data / "train", is_valid_file=lambda path: not path.endswith(".txt"), allow_empty=True)
    assert len(table) == len(theirs) == 4
    for row, (image, label) in enumerate(theirs):
        assert np.array_equal(table.images[row].permute(1, 2, 0).numpy(), np.asarray(image))
        assert table.categories[row] == theirs.classes[label]
    assert table.object_ids == ["train/cat/1.png", "train/cat/deeper/2.jpg", "train/dog/1.webp", "train/dog/3.JPEG"]
    assert table.index.tolist() == [0, 1, 2, 3]
    assert splits(data) == ["train", "val"]
    assert count_images(data, "train") == 4
    assert read_dataset_info(data)["spec"] == {"layout": "image folder", "images": {"train": 4, "val": 2}}


def test_images_of_several_sizes_become_squares_of_the_smallest_side(data):
    picture(data / "val" / "cat" / "wide.png", width=60, height=30, seed=5)
    assert load_table(data, "train").images.shape == (4, 3, 30, 30)
    table = load_table(data, "val")
    with Image.open(data / "val" / "cat" / "wide.png") as image:
        middle = np.asarray(image)[:, 15:45]
    assert np.array_equal(table.images[1].permute(1, 2, 0).numpy(), middle)


def test_large_images_become_smaller(tmp_path):
    picture(tmp_path / "train" / "cat" / "1.png", width=400, height=300)
    assert load_table(tmp_path, "train").images.shape == (1, 3, 224, 224)
    picture(tmp_path / "oblong" / "train" / "cat" / "1.png", width=40, height=30)
    assert load_table(tmp_path / "oblong", "train").images.shape == (1, 3, 30, 40)


def test_greys_of_sixteen_bits_keep_their_shades_and_those_of_32_are_refused(tmp_path):
    """X-rays and depth maps come so; PIL's own conversion to RGB makes white of all but the darkest."""
    shades = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    for name in ("1.png", "2.tif", "3.pgm"):
        (tmp_path / "train" / "bone").mkdir(parents=True, exist_ok=True)
        Image.fromarray(shades).save(tmp_path / "train" / "bone" / name)
    table = load_table(tmp_path, "train")
    assert np.array_equal(table.images.numpy(), np.broadcast_to((shades / 257).round(), (3, 3, 32, 32)))
    Image.fromarray(shades.astype(np.float32)).save(tmp_path / "train" / "bone" / "4.tif")
    with pytest.raises(UserError, match=r"4\.tif: image cannot be decoded \(greys of 32 bits, .* with 8 or 16"):
        load_table(tmp_path, "train")


def test_what_needs_latents_says_so(data):
    table = load_table(data, "train")
    with pytest.raises(UserError, match="a folder of plain images: it has categories, but no quaternion"):
        target_columns(table)
    with pytest.raises(UserError, match="no latents to learn or to regress"):
        _ = table.latents
    assert not hasattr(table, "colour")
    with pytest.raises(UserError, match="no latents to learn or to regress"):
        shards_of(data, "val")


def test_faults_are_named(data, tmp_path):
    with pytest.raises(UserError, match=r"no images of split 'test' \(splits there: train, val\)"):
        load_table(data, "test")
    (data / "train" / "cat" / "0.jpg").write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"train/cat/0\.jpg: image cannot be decoded"):
        load_table(data, "train")
    assert len(load_table(data, "val")) == 2
    (data / "train" / "dog" / "0.png").write_bytes((data / "train" / "cat" / "1.png").read_bytes()[:300])
    with pytest.raises(
        UserError, match=r"train/cat/0\.jpg: .*; so it is with 2 images in all; gr3d pack leaves them out"
    ):
        load_table(data, "train")
    flat = tmp_path / "flat"
    picture(flat / "cat" / "1.png")
    with pytest.raises(UserError, match=r"nor images as .*flat/SPLIT/CATEGORY/NAME\.jpg"):
        load_table(flat, "train")


def test_images_that_no_split_would_have_are_named(tmp_path):
    for name in ("cat/1.png", "cat/tabby/2.png", "dog/1.png"):
        picture(tmp_path / name)
    said = r"cat/1\.png: is in no folder SPLIT/CATEGORY, nor are 1 others; put it there, or give folder:"
    with pytest.raises(UserError, match=said):
        load_table(tmp_path, "cat")


def test_a_folder_of_classes_without_splits(tmp_path):
    for name in ("cat", "dog"):
        for number in range(10):
            picture(tmp_path / name / f"{number}.png", seed=number)
    with pytest.raises(UserError, match=r"if these are the files of a folder of classes, give folder:/"):
        load_table(tmp_path, "train")
    train, val = (load_table(f"folder:{tmp_path}", split) for split in ("train", "val"))
    assert (len(train), len(val)) == (16, 4) and not set(train.object_ids) & set(val.object_ids)
    assert sorted(val.categories) == ["cat", "cat", "dog", "dog"]
    picture(tmp_path / "eel" / "1.png")
    with pytest.raises(UserError, match=r"class 'eel' has one image; `train` and `val` need one each: add another"):
        _ = open_dataset(f"folder:{tmp_path}").classes


def test_other_files_are_recognised(tmp_path):
    making.cifar10_binary(tmp_path)
    with pytest.raises(UserError, match=rf"if these are the files of CIFAR-10, give cifar10:{tmp_path}"):
        open_dataset(tmp_path)


def test_a_change_of_one_image_is_noticed_by_the_cache(data, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    before = load_table(data, "val", place="mmap").images.clone()
    picture(data / "val" / "dog" / "9.png", seed=99)
    assert not torch.equal(load_table(data, "val", place="mmap").images, before)
