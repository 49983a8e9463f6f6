"""gr3d pack: any dataset's images as shards that load_table, webdataset and Hugging Face read; resumed, selected."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from PIL import Image

from benchmark.data import load_table
from benchmark.data.datasets import open_dataset
from benchmark.data.pack import pack
from benchmark.data.selection import class_groups
from benchmark.data.table import PlainTable, read_dataset_info, shards_of
from benchmark.errors import UserError
from tests.benchmark.data import making


@pytest.fixture
def photos(tmp_path) -> Path:
    """JPEG photographs of several sizes: 12 of each of 3 classes in train, 4 in val."""
    for split, count in (("train", 12), ("val", 4)):
        for number, name in enumerate(("cat", "dog", "eel")):
            for row in range(count):
                path = tmp_path / "photos" / split / name / f"{split}-{name}-{row}.jpg"
                making.photograph(path, 30 + row, 40, seed=100 * number + row)
    return tmp_path / "photos"


def same_table(one: Path | str, other: Path | str, split: str) -> None:
    found, expected = load_table(one, split), load_table(other, split)
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.index, expected.index)
    assert (found.object_ids, found.categories) == (expected.object_ids, expected.categories)


def test_packed_files_are_the_original_ones(photos, tmp_path):
    report = pack(photos, tmp_path / "out", shard_size=10)
    assert report.images == {"train": 36, "val": 12}
    for split in ("train", "val"):
        same_table(tmp_path / "out", photos, split)
    assert isinstance(load_table(tmp_path / "out", "val"), PlainTable)
    samples = list(webdataset.WebDataset(sorted(map(str, tmp_path.glob("out/val-*.tar"))), shardshuffle=False))
    assert len(samples) == 12
    for sample in samples:
        labels = json.loads(sample["json"])
        assert sample["jpg"] == (photos / labels["object_id"]).read_bytes()
        assert labels["split"] == "val" and labels["category"] == labels["object_id"].split("/")[1]
    order = [json.loads(sample["json"])["index"] for sample in samples]
    assert order != sorted(order)
    dataset = open_dataset(tmp_path / "out")
    assert dataset.splits == ("train", "val") and dataset.classes == ("cat", "dog", "eel")
    assert not dataset.has_latents
    with pytest.raises(UserError, match="has categories, but no latents"):
        shards_of(tmp_path / "out", "val")


def test_hugging_face_reads_the_splits(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    datasets = pytest.importorskip("datasets")
    pack(photos, tmp_path / "out", limit=6)
    for split in ("train", "val"):
        rows = list(datasets.load_dataset(str(tmp_path / "out"), split=split, streaming=True))
        assert Counter(row["json"]["category"] for row in rows) == {"cat": 2, "dog": 2, "eel": 2}
        assert all(row["jpg"].size[1] == 40 for row in rows)


def test_side_scales_as_loading_does(photos, tmp_path):
    pack(photos, tmp_path / "out", side=16)
    assert read_dataset_info(tmp_path / "out")["spec"]["resolution"] == 16
    packed, scaled = load_table(tmp_path / "out", "val"), load_table(photos, "val", side=16)
    assert packed.images.shape == scaled.images.shape == (12, 3, 16, 16)
    assert (packed.images.int() - scaled.images.int()).abs().float().mean() < 6  # JPEG's doing


def test_arrays_lose_nothing(tmp_path):
    data = f"cifar10:{making.cifar10_python(tmp_path)}"
    pack(data, tmp_path / "out")
    for split in ("train", "val"):
        same_table(tmp_path / "out", data, split)


def test_renders_keep_their_latents(tmp_path, write_dataset):
    data = write_dataset(tmp_path / "data", count=9)
    pack(data, tmp_path / "out", limit=8)
    table, source = load_table(tmp_path / "out", "train"), load_table(data, "train")
    rows = table.index.tolist()
    assert len(rows) == 8
    assert torch.equal(table.latents, source.latents[rows]) and torch.equal(table.quaternion, source.quaternion[rows])


def test_formats_that_differ_become_png(photos, tmp_path):
    making.photograph(photos / "train" / "cat" / "a.png", 20, 20, format="PNG")
    making.photograph(photos / "train" / "cat" / "b.jpg", 20, 20, format="PNG")  # as one of ImageNet's
    pack(photos, tmp_path / "out")
    assert read_dataset_info(tmp_path / "out")["spec"]["format"] == "png"
    for split in ("train", "val"):
        same_table(tmp_path / "out", photos, split)


def test_undecodable_images_are_left_out_and_named(photos, tmp_path):
    (photos / "train" / "cat" / "bad.jpg").write_bytes(b"no image")
    cut = photos / "train" / "dog" / "train-dog-3.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    report = pack(photos, tmp_path / "out", shard_size=7)
    assert report.images == {"train": 35, "val": 12}
    assert len(report.left_out) == 2
    assert any("cat/bad.jpg: image cannot be decoded" in line for line in report.left_out)
    assert any("dog/train-dog-3.jpg: image cannot be decoded" in line for line in report.left_out)
    assert report.lines()[-1].startswith("left out: 2 images that cannot be decoded")
    assert len(load_table(tmp_path / "out", "train")) == 35
    assert pack(photos, tmp_path / "out", shard_size=7).left_out == report.left_out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "report.json"}


def test_killed_and_resumed_is_never_killed(photos, tmp_path):
    pack(photos, tmp_path / "whole", shard_size=5)
    script = "import sys, benchmark.data.pack as p, os, signal; n = [0]; write = p.write_shard\n"
    script += "def dying(*a):\n  n[0] += 1\n  if n[0] == 4: os.kill(os.getpid(), signal.SIGKILL)\n  return write(*a)\n"
    script += "p.write_shard = dying; p.pack(sys.argv[1], sys.argv[2], shard_size=5)"
    done = subprocess.run([sys.executable, "-c", script, photos, tmp_path / "out"], env={**os.environ})
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(UserError, match="was not packed to its end; run the same gr3d pack command again"):
        load_table(tmp_path / "out", "train")
    first = (tmp_path / "out" / "train-000000.tar").stat().st_mtime_ns
    pack(photos, tmp_path / "out", shard_size=5)
    assert (tmp_path / "out" / "train-000000.tar").stat().st_mtime_ns == first
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_other_folders_are_not_touched(photos, tmp_path, write_dataset):
    pack(photos, tmp_path / "out", limit=6)
    before = contents(tmp_path / "out")
    with pytest.raises(UserError, match="was packed with another") as caught:
        pack(photos, tmp_path / "out", limit=9)
    assert caught.value.exit_code == 2
    assert contents(tmp_path / "out") == before
    renders = write_dataset(tmp_path / "renders")
    with pytest.raises(UserError, match="holds a dataset that gr3d pack did not make"):
        pack(photos, renders)
    with pytest.raises(UserError, match="holds other files"):
        pack(tmp_path / "out", photos)


def test_shares_and_numbers_of_every_class(photos, tmp_path):
    few, more = (
        load_table(tmp_path / name, "train")
        for name, options in (("few", {"per_class": 2}), ("more", {"share": 0.5}))
        if pack(photos, tmp_path / name, **options)
    )
    assert Counter(few.categories) == {"cat": 2, "dog": 2, "eel": 2}
    assert Counter(more.categories) == {"cat": 6, "dog": 6, "eel": 6}
    assert set(few.object_ids) < set(more.object_ids)  # as 1 % of ImageNet lies in 10 %
    assert len(load_table(tmp_path / "few", "val")) == 12
    pack(photos, tmp_path / "other", per_class=2, seed=1)
    assert set(load_table(tmp_path / "other", "train").object_ids) != set(few.object_ids)
    with pytest.raises(UserError, match=r"--per-class 13: class 'cat' of .* has 12 images"):
        pack(photos, tmp_path / "none", per_class=13)
    with pytest.raises(UserError, match="--share and --per-class: give one of them"):
        pack(photos, tmp_path / "none", per_class=1, share=0.5)
    assert not (tmp_path / "none").exists()


def test_lists_of_images(photos, tmp_path):
    names = ["train-cat-3.jpg", "train-dog-0.jpg", "train/eel/train-eel-7.jpg"]
    (tmp_path / "list.txt").write_text("\n".join(names) + "\n")
    pack(photos, tmp_path / "out", list=tmp_path / "list.txt")
    assert [Path(name).name for name in load_table(tmp_path / "out", "train").object_ids] == [
        "train-cat-3.jpg", "train-dog-0.jpg", "train-eel-7.jpg",
    ]  # fmt: skip
    (tmp_path / "list.txt").write_text("\n".join([*names, "n01440764_10026.JPEG", "other.JPEG"]))
    with pytest.raises(UserError, match=r"n01440764_10026\.JPEG is no image of split 'train' .*\(2 of its 5 lines"):
        pack(photos, tmp_path / "no", list=tmp_path / "list.txt")
    making.photograph(photos / "train" / "cat" / "train-dog-0.jpg")
    (tmp_path / "list.txt").write_text("train-dog-0.jpg")
    with pytest.raises(UserError, match="stands for several images"):
        pack(photos, tmp_path / "no", list=tmp_path / "list.txt")
    for place, name in (("one", "dog/train-dog-0"), ("two", "mine/train/cat/train-dog-0.jpg")):
        (tmp_path / "list.txt").write_text(name)
        assert pack(photos, tmp_path / place, list=tmp_path / "list.txt", splits=("train",)).images == {"train": 1}
        with pytest.raises(UserError, match=r"names no image of class '(cat|dog)', which other splits show"):
            pack(photos, tmp_path / "no", list=tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("eel/train-dog-0.jpg")
    with pytest.raises(UserError, match=r"eel/train-dog-0\.jpg is no image of split 'train'"):
        pack(photos, tmp_path / "no", list=tmp_path / "list.txt")


def test_images_that_are_mended_are_read_again(photos, tmp_path):
    broken = photos / "train" / "cat" / "train-cat-3.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    assert len(pack(photos, tmp_path / "out").left_out) == 1
    broken.write_bytes(whole)
    assert not pack(photos, tmp_path / "out").left_out
    assert broken.name in {Path(name).name for name in load_table(tmp_path / "out", "train").object_ids}


def test_a_side_beyond_memory_and_a_pipe_are_refused(photos, tmp_path):
    with pytest.raises(UserError, match="--side 100000: at most 4096"):
        pack(photos, tmp_path / "out", side=100_000)
    os.mkfifo(photos / "train" / "cat" / "pipe.jpg")
    report = pack(photos, tmp_path / "out")
    assert len(report.left_out) == 1 and "pipe.jpg: image cannot be decoded (no plain file)" in report.left_out[0]


def test_names_of_splits_need_not_be_utf8(photos, tmp_path):
    (photos / "val").rename(os.fsdecode(os.fsencode(photos) + b"/v\xff"))
    assert sorted(pack(photos, tmp_path / "out").images) == ["train", "v\udcff"]
    with pytest.raises(UserError, match="no-list: cannot be read"):
        pack(photos, tmp_path / "no", list=tmp_path / "no-list")


def test_random_classes_and_six_times_as_many_others(tmp_path):
    data = f"cifar10:{making.cifar10_binary(tmp_path)}"
    pack(data, tmp_path / "out", classes=4)
    dataset = open_dataset(tmp_path / "out")
    assert dataset.splits == ("train", "val", *(s for k in range(1, 7) for s in (f"ood{k}_train", f"ood{k}")))
    inside = set(dataset.classes)
    assert len(inside) == 4
    for number in range(1, 7):
        others = set(dataset.classes_of(f"ood{number}"))
        assert others == set(dataset.classes_of(f"ood{number}_train"))
        assert len(others) == 4 and not others & inside
    assert len(load_table(tmp_path / "out", "ood3_train")) == 20
    with pytest.raises(UserError, match=r"--classes 9: .* has 10 classes, at least two must be left"):
        pack(data, tmp_path / "no", classes=9)


def test_every_other_class_is_in_two_of_six_groups_of_250():
    names = [f"n{number:08d}" for number in range(1000)]
    groups = class_groups(names, 250, seed=0)
    assert [len(group) for group in groups] == [250] * 7
    assert set(Counter(name for group in groups[1:] for name in group).values()) == {2}
    assert not groups[0] & set().union(*groups[1:])
    assert groups == class_groups(reversed(names), 250, seed=0) != class_groups(names, 250, seed=1)


def test_a_class_that_is_missing_from_a_split(photos, tmp_path):
    for path in (photos / "val" / "dog").iterdir():
        path.unlink()
    for use in (lambda: open_dataset(photos).classes, lambda: pack(photos, tmp_path / "out")):
        with pytest.raises(UserError, match="split 'val' has no image of class 'dog', split 'train' has"):
            use()
    assert pack(photos, tmp_path / "out", splits=("train",)).images == {"train": 36}
    with pytest.raises(UserError, match=r"--splits: .*no images of split 'test'"):
        pack(photos, tmp_path / "no", splits=("test",))


def test_colours_survive(tmp_path):
    """A packed photograph shows what the original shows: CMYK, grey and palette images, too."""
    for name, mode in (("a", "CMYK"), ("b", "L"), ("c", "RGB")):
        path = tmp_path / "data" / "train" / "x" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20, 3), (200, 30, 90), np.uint8)).convert(mode).save(path, quality=100)
    pack(tmp_path / "data", tmp_path / "out")
    same_table(tmp_path / "out", tmp_path / "data", "train")


DAMAGED = {
    "classes": [{"train": ["cat"]}, {"train": "cat"}, {"train": []}, None],
    "groups": [[["train", "test"]], "train", None],
    "images": [{"size": None}, {"size": None, "shortest": "4"}, {"size": None, "shortest": 0}, None],
    "has_latents": [1, None],
}


@pytest.mark.parametrize("entry", DAMAGED)
def test_damaged_notes_are_one_line(photos, tmp_path, entry):
    pack(photos, tmp_path / "out", limit=6)
    path = tmp_path / "out" / "dataset.json"
    info = json.loads(path.read_text())
    for value in DAMAGED[entry]:
        path.write_text(json.dumps({**info, entry: value}))
        with pytest.raises(UserError, match="was not packed to its end"):
            open_dataset(tmp_path / "out")
    pack(photos, tmp_path / "out", limit=6)
    assert json.loads(path.read_text()) == info


def test_damaged_checksums_are_made_again(photos, tmp_path):
    pack(photos, tmp_path / "out", limit=6)
    path = tmp_path / "out" / "checksums.json"
    before = path.read_bytes()
    for change in ({"bytes": "1"}, {"left_out": {"x": ""}}, {"size": 3}, {"shortest": None}, {"sha256": 0}):
        listed = json.loads(before)
        listed["train-000000.tar"] |= change
        path.write_text(json.dumps(listed))
        pack(photos, tmp_path / "out", limit=6)
        assert path.read_bytes() == before
    path.write_text("{")
    with pytest.raises(UserError, match=r"checksums\.json: damaged"):
        pack(photos, tmp_path / "out", limit=6)
