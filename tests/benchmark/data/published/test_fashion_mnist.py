"""Fashion-MNIST's IDX files, against torchvision; damaged files."""

import gzip
import struct

import numpy as np
import pytest
import torchvision

from benchmark.data import load_table
from benchmark.data.datasets import open_dataset
from benchmark.data.published.fashion_mnist import FashionMnist, read_idx
from benchmark.errors import UserError
from tests.benchmark.data import making
from tests.needs import needs_fashion_mnist


@pytest.mark.parametrize("ending", [".gz", ""])
def test_as_torchvision_reads_it(tmp_path, ending):
    folder = making.fashion_mnist(tmp_path / "FashionMNIST" / "raw", ending=ending)
    for split, count in (("train", 20), ("val", 10)):
        table = load_table(f"fashion-mnist:{folder}", split)
        assert table.images.shape == (count, 3, 28, 28)
        if not ending:
            theirs = torchvision.datasets.FashionMNIST(tmp_path, train=split == "train")
            assert np.array_equal(table.images[:, 1], theirs.data)
            assert table.categories == [theirs.classes[label] for label in theirs.targets]


@needs_fashion_mnist
def test_the_one_of_debian():
    dataset = open_dataset("fashion-mnist")
    assert dataset.spec == {"layout": "Fashion-MNIST", "images": {"train": 60000, "val": 10000}}
    assert len(dataset.classes) == 10
    records = dataset.records("val")
    assert [record.category for record in records[:3]] == ["Ankle boot", "Pullover", "Trouser"]  # as its authors show


def test_faults_are_named(tmp_path):
    folder = making.fashion_mnist(tmp_path / "data")
    labels = folder / "train-labels-idx1-ubyte.gz"
    making.write_idx(labels, np.arange(19, dtype=np.uint8) % 10)
    with pytest.raises(UserError, match="19 labels for the 20 images of train-images"):
        load_table(f"fashion-mnist:{folder}", "train")
    making.write_idx(labels, np.full(20, 10, dtype=np.uint8))
    with pytest.raises(UserError, match="label 10; there are 10 classes"):
        load_table(f"fashion-mnist:{folder}", "train")
    labels.unlink()
    with pytest.raises(UserError, match=r"train-labels-idx1-ubyte\.gz: missing; .*Debian"):
        load_table(f"fashion-mnist:{folder}", "train")
    with pytest.raises(UserError, match="no such folder; Fashion-MNIST is the files"):
        open_dataset(f"fashion-mnist:{tmp_path / 'absent'}")


def idx(*shape: int, content: bytes) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape) + content


BAD = {
    "cut": (gzip.compress(idx(2, 4, 4, content=bytes(31))), "truncated: its header announces 32 bytes"),
    "longer": (gzip.compress(idx(2, 4, 4, content=bytes(33))), "longer: its header announces 32 bytes"),
    "bomb": (gzip.compress(idx(2**31, 2**15, 4, content=b"")), "the limit is"),
    "unpacks too far": (gzip.compress(idx(1, 1, 1, content=bytes(1 << 22))), "longer"),
    "other type": (gzip.compress(b"\0\0\x0d\x03" + bytes(12)), "no IDX file of unsigned bytes in 3 dimensions"),
    "labels": (gzip.compress(idx(4, content=bytes(4))), "no IDX file of unsigned bytes in 3 dimensions"),
    "not gzip": (b"not gzip", "cannot be read"),
    "cut gzip": (gzip.compress(idx(2, 64, 64, content=making.images(1, 8192).tobytes()))[:4000], "cannot be read"),
    "empty": (b"", "no IDX file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(tmp_path, name):
    content, message = BAD[name]
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"images\.gz: .*{message}"):
        read_idx(path, 3)


def test_where_debian_has_it_is_said():
    assert "dataset-fashion-mnist" in FashionMnist.expected()
