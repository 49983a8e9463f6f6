"""ImageNet in torchvision's folders, flat with each of the label files that go about, and as WebDataset shards."""

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torchvision
import webdataset

from benchmark.data import load_table
from benchmark.data.datasets import open_dataset
from benchmark.data.pack import pack
from benchmark.errors import UserError
from tests.benchmark.data import making

SYNSETS = ("n01440764", "n01443537", "n02119789")
TRUTH = (2, 0, 1, 1, 2, 0)  # classes of the six validation images, by their names


@pytest.fixture
def root(tmp_path) -> Path:
    """Three classes of four images each, validation images in folders of the classes."""
    for number, synset in enumerate(SYNSETS):
        for row in range(4):
            making.photograph(tmp_path / "in" / "train" / synset / f"{synset}_{row}.JPEG", 40, 30, 10 * number + row)
    for row, label in enumerate(TRUTH):
        making.photograph(tmp_path / "in" / "val" / SYNSETS[label] / name(row), 50, 40, 100 + row)
    return tmp_path / "in"


def name(row: int) -> str:
    return f"ILSVRC2012_val_{row + 1:08d}.JPEG"


@pytest.fixture
def flat(root) -> Path:
    """The same with all validation images in one folder."""
    for path in list((root / "val").rglob("*.JPEG")):
        path.rename(root / "val" / path.name)
    for synset in SYNSETS:
        (root / "val" / synset).rmdir()
    return root


def test_as_torchvision_reads_it(root):
    for split in ("train", "val"):
        table = load_table(f"imagenet:{root}", split)
        theirs = torchvision.datasets.ImageFolder(root / split)
        assert [str(root / name) for name in table.object_ids] == [path for path, _ in theirs.samples]
        assert table.categories == [theirs.classes[label] for label in theirs.targets]
        assert table.images.shape == (len(theirs), 3, 30, 30)
    dataset = open_dataset(f"imagenet:{root}")
    assert dataset.splits == ("train", "val") and dataset.classes == SYNSETS


def kaggle(root: Path) -> None:
    lines = [f"{name(row)[:-5]},{SYNSETS[label]} 1 2 30 40 " for row, label in enumerate(TRUTH)]
    (root / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *reversed(lines)]) + "\n")


def synset_labels(root: Path) -> None:
    text = "\n".join(SYNSETS[label] for label in TRUTH)
    (root / "imagenet_2012_validation_synset_labels.txt").write_text(text + "\n")


def named_synsets(root: Path) -> None:
    (root / "val.txt").write_text("".join(f"{name(row)} {SYNSETS[label]}\n" for row, label in enumerate(TRUTH)))


def devkit(root: Path) -> None:
    """As published in 2012: numbers, and what they mean in a MATLAB file."""
    kit = root / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    ids = (3, 1, 2)  # the challenge's order is not that of the synsets
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{ids[label]}\n" for label in TRUTH))
    rows = np.zeros(len(SYNSETS), dtype=[("ILSVRC2012_ID", object), ("WNID", object), ("words", object)])
    for row, (number, synset) in enumerate(zip(ids, SYNSETS, strict=True)):
        rows[row] = (number, synset, "words")
    scipy.io.savemat(kit / "meta.mat", {"synsets": rows})


def later_devkit(root: Path) -> None:
    kit = root / "devkit" / "data"
    kit.mkdir(parents=True)
    (kit / "ILSVRC2015_clsloc_validation_ground_truth.txt").write_text("".join(f"{label + 1}\n" for label in TRUTH))
    (kit / "map_clsloc.txt").write_text("".join(f"{synset} {k + 1} a_name\n" for k, synset in enumerate(SYNSETS)))


@pytest.mark.parametrize("write", [kaggle, synset_labels, named_synsets, devkit, later_devkit])
def test_flat_validation_images(flat, write):
    write(flat)
    dataset = open_dataset(f"imagenet:{flat}")
    assert [record.category for record in dataset.records("val")] == [SYNSETS[label] for label in TRUTH]
    assert dataset.classes == SYNSETS
    assert len(load_table(f"imagenet:{flat}", "val")) == 6


def test_kaggles_archive(flat, tmp_path):
    (tmp_path / "kaggle" / "ILSVRC" / "Data").mkdir(parents=True)
    flat.rename(tmp_path / "kaggle" / "ILSVRC" / "Data" / "CLS-LOC")
    kaggle(tmp_path / "kaggle")
    assert open_dataset(f"imagenet:{tmp_path / 'kaggle'}").classes == SYNSETS


DISAGREEING = {
    "nothing": (lambda root: None, "6 images in one folder, and nothing that says their classes; ImageNet is train/"),
    "too few": (lambda root: cut(synset_labels, root), "5 labels for the 6 images in"),
    "one not named": (lambda root: cut(kaggle, root), r"says nothing of .*JPEG \(1 of 6 images are not in it\)"),
    "one gone": (lambda root: (kaggle(root), (root / "val" / name(2)).unlink()), r"names .*_00000003, .* \(1 images"),
    "two of one": (
        lambda root: twice(named_synsets, root),
        "names ILSVRC2012_val_00000006 twice, with n",
    ),
    "two of one at Kaggle's": (
        lambda root: twice(kaggle, root),
        "names ILSVRC2012_val_00000001 twice, with n",
    ),
    "half moved": (lambda root: (root / "val" / SYNSETS[0]).mkdir(), r"lies beside folders of classes \(6 images do\)"),
    "no synset": (lambda root: (root / "synset_labels.txt").write_text("cat\n" * 6), "'cat' is no synset"),
    "number unknown": (lambda root: (later_devkit(root), cut_map(root)), "is the number of no class"),
    "no text": (lambda root: (root / "synset_labels.txt").write_bytes(b"\xff\xfe\x00" * 6), "is no text"),
    "damaged kit": (lambda root: (devkit(root), damage(root)), r"meta\.mat: cannot be read"),
}


def cut(write, root: Path) -> None:
    write(root)
    file = next(path for path in root.iterdir() if path.is_file())
    file.write_text("\n".join(file.read_text().splitlines()[:-1]))


def twice(write, root: Path) -> None:
    """The last line again, with another class."""
    write(root)
    file = next(path for path in root.iterdir() if path.is_file())
    last = file.read_text().splitlines()[-1]
    was = next(synset for synset in SYNSETS if synset in last)
    with file.open("a") as lines:
        lines.write(last.replace(was, SYNSETS[2] if was != SYNSETS[2] else SYNSETS[1]) + "\n")


def cut_map(root: Path) -> None:
    (root / "devkit" / "data" / "map_clsloc.txt").write_text("n01440764 1 tench\n")


def damage(root: Path) -> None:
    (root / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").write_bytes(b"no MATLAB file")


@pytest.mark.parametrize("case", DISAGREEING)
def test_labels_that_disagree_with_the_folder(flat, case):
    change, message = DISAGREEING[case]
    change(flat)
    with pytest.raises(UserError, match=message) as caught:
        load_table(f"imagenet:{flat}", "val")
    assert "\n" not in str(caught.value)


def test_a_class_missing_from_validation(root):
    shutil.rmtree(root / "val" / SYNSETS[1])
    with pytest.raises(UserError, match="split 'val' has no image of class 'n01443537', split 'train' has"):
        _ = open_dataset(f"imagenet:{root}").classes


def test_the_published_lists(root, tmp_path):
    """As `1percent.txt` of SimCLR: file names."""
    (tmp_path / "1percent.txt").write_text("n01440764_2.JPEG\nn01443537_0.JPEG\nn02119789_3.JPEG\n")
    report = pack(f"imagenet:{root}", tmp_path / "out", list=tmp_path / "1percent.txt", side=16)
    assert report.images == {"train": 3, "val": 6}
    table = load_table(tmp_path / "out", "train")
    assert table.categories == list(SYNSETS)
    assert [Path(name).name for name in table.object_ids] == [
        "n01440764_2.JPEG",
        "n01443537_0.JPEG",
        "n02119789_3.JPEG",
    ]


def test_missing_dataset(tmp_path):
    with pytest.raises(UserError, match=r"no such folder; ImageNet is train/nXXXXXXXX.* get it from the ImageNet site"):
        open_dataset(f"imagenet:{tmp_path / 'absent'}")
    with pytest.raises(UserError, match="no ImageNet there; ImageNet is train/nXXXXXXXX"):
        open_dataset(f"imagenet:{tmp_path}")


def web_shards(folder: Path) -> Path:
    folder.mkdir()
    for shard in ("imagenet1k-train-0000.tar", "imagenet1k-train-0001.tar", "imagenet1k-validation-00.tar"):
        with webdataset.TarWriter(str(folder / shard)) as tar:
            for row in range(5):
                file = making.photograph(folder / "spool" / "image.JPEG", 40, 30, row)
                key = f"{row:06d}"  # the same in every shard, as is common
                tar.write({"__key__": key, "jpg": file.read_bytes(), "cls": row % 3, "json": {"label": row % 3}})
    shutil.rmtree(folder / "spool")
    return folder


def test_web_shards(tmp_path):
    folder = web_shards(tmp_path / "wds")
    dataset = open_dataset(f"imagenet-wds:{folder}")
    assert dataset.splits == ("train", "val") and dataset.classes == ("0000", "0001", "0002")
    table = load_table(f"imagenet-wds:{folder}", "train")
    assert len(table) == len(set(table.object_ids)) == 10
    theirs = webdataset.WebDataset(sorted(map(str, folder.glob("*train*"))), shardshuffle=False).decode("pil")
    for row, sample in enumerate(theirs):
        assert table.object_ids[row] == f"{Path(sample['__url__']).stem}/{sample['__key__']}"
        assert int(table.categories[row]) == sample["cls"]
        assert np.array_equal(table.images[row].permute(1, 2, 0).numpy(), np.asarray(sample["jpg"]))
    assert pack(f"imagenet-wds:{folder}", tmp_path / "out").images == {"train": 10, "val": 5}


def test_web_shards_with_the_names_of_the_classes(tmp_path):
    """As Kaggle's LOC_synset_mapping.txt, that every copy of its archive has."""
    folder = web_shards(tmp_path / "wds")
    before = open_dataset(f"imagenet-wds:{folder}").source("val").identity()
    names = folder / "LOC_synset_mapping.txt"
    names.write_text("".join(f"{synset} some fish, of some kind\n" for synset in SYNSETS))
    dataset = open_dataset(f"imagenet-wds:{folder}")
    assert dataset.classes == SYNSETS
    assert load_table(f"imagenet-wds:{folder}", "val").categories == [SYNSETS[row % 3] for row in range(5)]
    assert dataset.source("val").identity() != before
    for text, message in (
        ("n01440764\nn01443537\n", r"sample 000002: its class is 2, .*_mapping\.txt names 2 from 0 on"),
        ("n01440764\nn01443537\nn01440764\n", "two lines begin with 'n01440764'"),
    ):
        names.write_text(text)
        with pytest.raises(UserError, match=message):
            load_table(f"imagenet-wds:{folder}", "train")


def add(path: Path, *members: tarfile.TarInfo, content: bytes = b"") -> None:
    with tarfile.open(path, "w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(content))


def member(name: str, size: int = 0, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def sparse(path: Path) -> None:
    """A tar of 10 kB that says it holds a file of 2^33 zeros."""
    head = bytearray(member("0001.jpg").tobuf(tarfile.GNU_FORMAT))
    head[156:157] = b"S"
    head[483:495] = f"{1 << 33:011o}".encode() + b"\0"
    head[148:156] = b" " * 8
    head[148:156] = f"{sum(head):06o}\0 ".encode()
    path.write_bytes(bytes(head) + bytes(10240))


def compressed(path: Path) -> None:
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(member("0001.jpg", 4), io.BytesIO(b"jpeg"))
    path.write_bytes(path.read_bytes() + bytes(1024))


HOSTILE = {
    "sparse": (sparse, "0001.jpg is sparse"),
    "huge": (lambda path: path.write_bytes(member("a.jpg", 1 << 40).tobuf() + bytes(10240)), "bytes large"),
    "compressed": (compressed, "damaged shard"),
    "links": (lambda path: add(path, member("a.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd")), "holds no images"),
    "no class": (lambda path: add(path, member("a.jpg", 4), content=b"jpeg"), r"sample a: has no \.cls"),
    "no image": (lambda path: add(path, member("a.cls", 1), content=b"3"), "needs exactly one image"),
    "class no number": (
        lambda path: add(path, member("a.jpg", 3), member("a.cls", 3), content=b"cat"), r"its \.cls is no number"
    ),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:3000]), "truncated shard; get it again"),
    "broken header": (lambda path: path.write_bytes(damaged_header(path)), "broken header at byte"),
    "not a tar": (lambda path: path.write_bytes(b"no tar" * 500 + bytes(1024)), "damaged shard"),
}  # fmt: skip


def damaged_header(path: Path) -> bytes:
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        offset = tar.getmembers()[6].offset
    content[offset : offset + 100] = b"\xff" * 100
    return bytes(content)


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_tars(tmp_path, case):
    write, message = HOSTILE[case]
    folder = web_shards(tmp_path / "wds")
    for path in list(folder.glob("*train*"))[1:]:
        path.unlink()
    write(next(folder.glob("*train*")))
    with pytest.raises(UserError, match=message) as caught:
        load_table(f"imagenet-wds:{folder}", "train")
    assert "\n" not in str(caught.value)
