"""CIFAR-10 in both versions, against torchvision; hostile and damaged files."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torchvision

from benchmark.data import load_table
from benchmark.data.datasets import open_dataset
from benchmark.errors import UserError
from tests.benchmark.data import making


def theirs(folder: Path, train: bool, monkeypatch) -> torchvision.datasets.CIFAR10:
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    return torchvision.datasets.CIFAR10(folder, train=train)


@pytest.mark.parametrize(
    "dump", [making.python2_pickle, *map(making.python3_pickle, (2, 4, 5))], ids=["python2", "2", "4", "5"]
)
def test_python_version_as_torchvision_reads_it(tmp_path, monkeypatch, dump):
    folder = making.cifar10_python(tmp_path, dump=dump)
    for split, count in (("train", 50), ("val", 10)):
        table, expected = load_table(f"cifar10:{folder}", split), theirs(folder, split == "train", monkeypatch)
        assert table.images.shape == (count, 3, 32, 32)
        assert np.array_equal(table.images.permute(0, 2, 3, 1).numpy(), expected.data)
        assert table.categories == [expected.classes[label] for label in expected.targets]
        assert len(set(table.object_ids)) == count


def test_both_versions_hold_the_same(tmp_path):
    python = load_table(f"cifar10:{making.cifar10_python(tmp_path / 'py')}/cifar-10-batches-py", "train")
    binary = load_table(f"cifar10:{making.cifar10_binary(tmp_path / 'bin')}", "train")
    assert np.array_equal(python.images, binary.images)
    assert python.categories == binary.categories
    dataset = open_dataset(f"cifar10:{tmp_path / 'bin'}")
    assert dataset.splits == ("train", "val")
    assert dataset.classes == tuple(sorted(name.decode() for name in making.NAMES))
    assert dataset.spec == {"layout": "CIFAR-10", "images": {"train": 50, "val": 10}}


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


HOSTILE = {
    "command": lambda path: pickle.dumps({b"data": Evil(path), b"labels": []}, 2),
    "foreign name": lambda path: b"cposix\nsystem\n(U\x04truetR.",
    "function changed": lambda path: b"c_codecs\nencode\n}(U\x08functionU\x04evilub.",
    "memory for memos": lambda path: b"\x80\x02}r\xff\xff\xff\x7f.",
    "memory for bytes": lambda path: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",
    "persistent id": lambda path: b"Pevil\n.",
    "extension": lambda path: b"\x82\x01.",
    "array of objects": lambda path: pickle.dumps({b"data": np.array([{}]), b"labels": []}, 2),
    "array without content": lambda path: b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\n)Rs.",
    "cut": lambda path: making.python2_pickle({b"data": making.images(2, 3072), b"labels": [0, 1]})[:-2000],
    "empty": lambda path: b"",
    "a hash without end": lambda path: (
        b"\x80\x02})" + b"".join(bytes((113, k, 104, k, 134)) for k in range(50)) + b"Ns."
    ),
    "a hash too deep": lambda path: b"\x80\x02})" + 10**6 * b"\x85" + b"Ns.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_runs_nothing(tmp_path, name):
    folder, done = making.cifar10_python(tmp_path / "data"), tmp_path / "done"
    (folder / "cifar-10-batches-py" / "data_batch_3").write_bytes(HOSTILE[name](done))
    with pytest.raises(UserError, match="data_batch_3: not the plain pickle it should be") as caught:
        load_table(f"cifar10:{folder}", "train")
    assert "\n" not in str(caught.value)
    assert not done.exists()


WRONG = {
    "no dict": ([1], "holds no dict"),
    "no data": ({b"labels": [1]}, "'data' are not rows of 3072 bytes"),
    "other data": ({b"data": making.images(2, 100), b"labels": [1, 2]}, "'data' are not rows of 3072 bytes"),
    "no labels": ({b"data": making.images(2, 3072)}, "'labels' are no list of numbers"),
    "fewer labels": ({b"data": making.images(2, 3072), b"labels": [1]}, "1 labels for 2 images"),
    "label beyond": ({b"data": making.images(2, 3072), b"labels": [1, 10]}, "a label beyond the 10 classes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_batch_is_said(tmp_path, name):
    batch, message = WRONG[name]
    folder = making.cifar10_python(tmp_path)
    (folder / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps(batch, 2))
    with pytest.raises(UserError, match=f"test_batch: .*{message}"):
        load_table(f"cifar10:{folder}", "val")


def test_missing_and_truncated_files(tmp_path):
    folder = making.cifar10_binary(tmp_path)
    path = folder / "cifar-10-batches-bin" / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"data_batch_2\.bin: truncated"):
        load_table(f"cifar10:{folder}", "train")
    path.unlink()
    with pytest.raises(UserError, match=r"data_batch_2 is missing .*University of Toronto"):
        load_table(f"cifar10:{folder}", "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no CIFAR-10 there; CIFAR-10 is the folder cifar-10-batches-py with"):
        open_dataset(f"cifar10:{tmp_path / 'empty'}")
    with pytest.raises(UserError, match="cifar10: give its folder, cifar10:PATH; CIFAR-10 is") as caught:
        open_dataset("cifar10")
    assert caught.value.exit_code == 2


def test_class_names_need_not_be_utf8(tmp_path):
    folder = making.cifar10_python(tmp_path)
    names = [bytes([200 + number]) for number in range(10)]
    (folder / "cifar-10-batches-py" / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, 2))
    assert set(load_table(f"cifar10:{folder}", "val").categories) <= {rf"\x{200 + number:x}" for number in range(10)}


def test_two_classes_of_one_name(tmp_path):
    folder = making.cifar10_python(tmp_path)
    names = [b"cat", b"cat", *(bytes([65 + number]) for number in range(8))]
    (folder / "cifar-10-batches-py" / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, 2))
    with pytest.raises(UserError, match=r"batches\.meta: two classes are called 'cat'"):
        load_table(f"cifar10:{folder}", "val")
