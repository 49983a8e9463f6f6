"""What `gr3d verify` finds, without rendering: shards sealed from images that PIL draws."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from assets.errors import UserError
from benchmark.cli import image_size
from renderer.files import write_json
from renderer.plan import Plan
from renderer.shards import open_dataset, tar_bytes, write_digests
from renderer.verify import read_records, verify
from tests.renderer.conftest import GREY_N as N


def faults(folder: Path, plan: Plan | None = None) -> list[str]:
    return [str(fault) for fault in verify(read_records(folder), plan, image_size)]


def test_sealed_dataset_is_right(grey, grey_plan):
    assert faults(grey) == faults(grey, grey_plan) == []


def flip(shard: Path, where: int) -> None:
    data = bytearray(shard.read_bytes())
    data[where] ^= 1
    shard.write_bytes(data)


def test_flipped_bit_is_found_and_its_file_named(grey, grey_plan):
    first = grey_plan.tar_order(grey_plan.shards(N)["train-000000.tar"])[0]
    flip(grey / "train-000000.tar", 600)
    found = faults(grey)
    assert "train-000000.tar: damaged (its sha256 differs)" in found
    assert f"train-000000.tar: {first:09d}.jpg: damaged (its sha256 differs)" in found


def test_without_the_list_of_files_the_shard_is_named(grey):
    for path in (grey / "checksums").iterdir():
        path.unlink()
    assert faults(grey) == []
    flip(grey / "train-000000.tar", 600)
    assert "train-000000.tar: damaged (its sha256 differs)" in faults(grey)


def test_damaged_list_of_files_is_named(grey):
    flip(grey / "checksums" / "train-000000.sha256", 3)
    assert faults(grey) == ["train-000000.tar: checksums/train-000000.sha256: damaged"]


@pytest.mark.parametrize(("name", "value"), [("object_id", "o1"), ("category", "sofa"), ("split", "val"), ("index", 7)])
def test_wrong_labels_are_named_even_if_the_checksum_is_right(grey, grey_plan, name, value):
    dataset = open_dataset(grey, grey_plan)
    members = grey_plan.shards(N)["train-000000.tar"]
    dataset.unseal("train-000000.tar")
    victim = next(i for i in members if grey_plan.sample(i).metadata()[name] != value)
    lie = replace(grey_plan.sample(victim))
    metadata = {**lie.metadata(), name: value}
    object.__setattr__(lie, "metadata", lambda: metadata)
    shown = {i: lie if i == victim else grey_plan.sample(i) for i in members}
    data = tar_bytes((shown[i], dataset.files(i)) for i in grey_plan.tar_order(members))
    (grey / "train-000000.tar").write_bytes(data)
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "samples": len(members)}
    write_json(grey / "checksums.json", {**dataset.sealed, "train-000000.tar": entry})
    write_digests(grey, "train-000000.tar", data)
    assert faults(grey, grey_plan) == [
        f"train-000000.tar: {victim:09d}.json: is missing or not what sample {victim:09d} must have"
    ]


def test_unlisted_and_unfinished_shards_are_named(grey, grey_plan):
    shutil.copy(grey / "train-000000.tar", grey / "train-000099.tar")
    record = json.loads((grey / "dataset.json").read_text())
    write_json(grey / "dataset.json", {**record, "command": {"n": N + 40}})
    found = faults(grey, grey_plan)
    assert "train-000099.tar: not listed in checksums.json" in found
    assert "val-000000.tar: 6 of 10 samples; the same render command draws the rest" in found


def test_truncated_and_missing_shards_are_named(grey):
    shard = grey / "train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    (grey / "val-000000.tar").unlink()
    found = "\n".join(faults(grey))
    assert "train-000000.tar: 2000 bytes long" in found and "val-000000.tar: missing" in found


def test_image_that_does_not_decode_is_named_even_if_the_checksum_is_right(grey, grey_plan):
    dataset = open_dataset(grey, grey_plan)
    index = grey_plan.shards(N)["val-000000.tar"][0]
    dataset.unseal("val-000000.tar")
    dataset.spooled(index).write_bytes(b"\xff\xd8 no picture \xff\xd9")
    dataset.seal("val-000000.tar", grey_plan.shards(N)["val-000000.tar"])
    assert any(f"{index:09d}.jpg: does not decode" in fault for fault in faults(grey))


def test_wrong_latents_are_named(grey, grey_plan):
    record = json.loads((grey / "dataset.json").read_text())
    record["spec"]["seed"] = 2
    (grey / "dataset.json").write_text(json.dumps(record))
    assert sum("is missing or not what sample" in fault for fault in faults(grey)) == N


@pytest.mark.parametrize(
    ("name", "text"),
    [("dataset.json", '{"a": 1}'), ("checksums.json", '{"x.tar": 1}'), ("dataset.json", "[]"), ("checksums.json", "?")],
)
def test_damaged_records_are_one_line(grey, name, text):
    (grey / name).write_text(text)
    with pytest.raises(UserError, match=r"json"):
        faults(grey)


def test_not_a_dataset_is_said(tmp_path):
    with pytest.raises(UserError, match=r"no dataset\.json"):
        read_records(tmp_path)
