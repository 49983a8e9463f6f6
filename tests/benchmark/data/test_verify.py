"""gr3d verify on a packed dataset: every fault by name."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from benchmark.data.pack import pack
from benchmark.data.verify import faults
from benchmark.errors import UserError
from tests.benchmark.data import making


@pytest.fixture
def data(tmp_path) -> Path:
    pack(f"cifar10:{making.cifar10_binary(tmp_path)}", tmp_path / "out", shard_size=20)
    return tmp_path / "out"


def damage(path: Path, offset: int) -> None:
    """Change 40 bytes in the place of the first image."""
    with tarfile.open(path) as tar:
        start = tar.getmembers()[0].offset_data
    content = bytearray(path.read_bytes())
    content[start + offset : start + offset + 40] = b"x" * 40
    path.write_bytes(content)


def test_a_sound_one(data):
    assert faults(data) == []


def test_every_fault_is_named(data):
    damage(data / "train-000000.tar", 0)
    (data / "train-000001.tar").write_bytes(b"cut")
    (data / "extra-000000.tar").write_bytes(b"")
    found = "\n".join(faults(data))
    assert "extra-000000.tar: not listed in checksums.json" in found
    assert "train-000000.tar: not as checksums.json lists it" in found
    assert "train-000001.tar: not as checksums.json lists it" in found
    assert "train-000001.tar: truncated shard" in found
    (data / "train-000001.tar").unlink()
    found = "\n".join(faults(data))
    assert "train-000001.tar: missing" in found
    assert "val" not in found


def test_images_and_classes_of_a_shard_that_is_as_listed(data):
    damage(data / "val-000000.tar", 0)
    listed = json.loads((data / "checksums.json").read_text())
    listed["val-000000.tar"]["sha256"] = hashlib.sha256((data / "val-000000.tar").read_bytes()).hexdigest()
    (data / "checksums.json").write_text(json.dumps(listed))
    (line,) = faults(data)
    assert "val-000000.tar, sample" in line and "image cannot be decoded" in line
    info = json.loads((data / "dataset.json").read_text())
    info["classes"]["train"].remove("cat")
    (data / "dataset.json").write_text(json.dumps(info))
    assert sum("class 'cat' is none of its split's" in line for line in faults(data)) == 5


def test_unfinished(data):
    info = json.loads((data / "dataset.json").read_text())
    (data / "dataset.json").write_text(json.dumps({"spec": info["spec"]}))
    with pytest.raises(UserError, match="was not packed to its end; run the same gr3d pack command again"):
        faults(data)
