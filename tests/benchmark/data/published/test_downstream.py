"""The paper's downstream datasets in the files in which they are published: Places205, CLEVR, EuroSAT."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torchvision

from benchmark.data import load_table
from benchmark.data.datasets import open_dataset
from benchmark.errors import UserError
from tests.benchmark.data import making

SCENES = ("a/abbey", "a/apartment_building/outdoor", "y/yard")


@pytest.fixture
def places(tmp_path) -> Path:
    images = tmp_path / "places" / "data" / "vision" / "torralba" / "deeplearning" / "images256"
    lists = tmp_path / "places" / "trainvalsplit_places205"
    lists.mkdir(parents=True)
    for split, count in (("train", 4), ("val", 2)):
        lines = []
        for row in range(count):
            for number, scene in enumerate(SCENES):
                name = f"{scene}/gsun_{split}_{row}.jpg"
                making.photograph(images / name, 32, 32, 10 * number + row)
                lines.append(f"{name} {number}")
        (lists / f"{split}_places205.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "places"


def test_places205(places):
    dataset = open_dataset(f"places205:{places}")
    assert dataset.splits == ("train", "val") and dataset.classes == SCENES
    table = load_table(f"places205:{places}", "train")
    assert table.images.shape == (12, 3, 32, 32)
    assert table.object_ids[1] == "a/apartment_building/outdoor/gsun_train_0.jpg"
    assert Counter(table.categories) == dict.fromkeys(SCENES, 4)


def test_lists_of_places205_that_disagree(places):
    file = places / "trainvalsplit_places205" / "val_places205.csv"
    whole = file.read_text()
    for text, message in (
        (
            whole + "a/abbey/gone.jpg 0\n",
            r"abbey/gone\.jpg: missing, though .*val_places205\.csv lists it \(1 of 7 are",
        ),
        (whole + "y/yard/gsun_val_0.jpg 0\n", "line 7, y/yard/gsun_val_0.jpg, has class 0, which was a/abbey before"),
        (whole.replace("y/yard/gsun_val_1.jpg 2", "y/yard/gsun_val_1.jpg 7"), "has class 7, y/yard had 2 before"),
        (swapped(whole), "line 1, a/abbey/gsun_val_0.jpg, has class 2, which was y/yard before"),
        (whole + "a/abbey/gsun_val_0.jpg\n", "line 7 should be like"),
        (whole + "../../../etc/passwd 3\n", "line 7 should be like"),
        (whole.replace("y/yard/gsun_val_0.jpg 2\n", "").replace("y/yard/gsun_val_1.jpg 2\n", ""), "no image of class"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            _ = open_dataset(f"places205:{places}").classes
    (places / "data").rename(places / "elsewhere")
    with pytest.raises(UserError, match="its lists are there, its images are not; Places205 is"):
        load_table(f"places205:{places}", "val")


def swapped(lines: str) -> str:
    """With the numbers of two classes exchanged in every line: only the other split's list contradicts."""
    return lines.replace(" 0\n", " two\n").replace(" 2\n", " 0\n").replace(" two\n", " 2\n")


@pytest.fixture
def clevr(tmp_path) -> Path:
    """Scenes of three to five objects."""
    root = tmp_path / "CLEVR_v1.0"
    (root / "scenes").mkdir(parents=True)
    for split, count in (("train", 6), ("val", 3)):
        scenes = []
        for row in range(count):
            name = f"CLEVR_{split}_{row:06d}.png"
            making.photograph(root / "images" / split / name, 48, 32, row, format="PNG")
            objects = [{"shape": "cube", "color": "red"} for _ in range(3 + row % 3)]
            scenes.append({"split": split, "image_index": row, "image_filename": name, "objects": objects})
        text = json.dumps({"info": {"version": "1.0"}, "scenes": scenes})
        (root / "scenes" / f"CLEVR_{split}_scenes.json").write_text(text)
    return tmp_path


def test_clevr_counts_objects(clevr):
    for path in (clevr, clevr / "CLEVR_v1.0"):
        dataset = open_dataset(f"clevr:{path}")
        assert dataset.splits == ("train", "val") and dataset.classes == ("03", "04", "05")
    table = load_table(f"clevr:{clevr}", "train")
    assert table.categories == ["03", "04", "05"] * 2
    assert table.images.shape == (6, 3, 32, 48)
    assert load_table(f"clevr:{clevr}", "val", side=24).images.shape == (3, 3, 24, 24)


def test_scenes_of_clevr_that_disagree(clevr):
    file = clevr / "CLEVR_v1.0" / "scenes" / "CLEVR_val_scenes.json"
    (clevr / "CLEVR_v1.0" / "images" / "val" / "CLEVR_val_000001.png").unlink()
    for text, message in (
        (file.read_text(), r"CLEVR_val_000001\.png: missing, though .* describes it \(1 of 3 are\)"),
        (file.read_text()[:-50], "no scenes of CLEVR"),
        ("[]", "no scenes of CLEVR"),
        ('{"scenes": [{"image_filename": "x.png"}]}', "no scenes of CLEVR"),
        ("[" * 100000, "no scenes of CLEVR"),
        ('{"scenes": [{"image_filename": "../x.png", "objects": []}]}', "is no file name of an image"),
        (doubled(file.read_text()), r"several scenes for CLEVR_val_000000\.png \(1 images"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=message) as caught:
            load_table(f"clevr:{clevr}", "val")
        assert "\n" not in str(caught.value)


def doubled(text: str) -> str:
    """With a second scene, of one object, for the first image."""
    content = json.loads(text)
    content["scenes"].append({**content["scenes"][0], "objects": [{}]})
    return json.dumps(content)


def test_images_of_clevr_without_a_scene(clevr):
    making.photograph(clevr / "CLEVR_v1.0" / "images" / "val" / "CLEVR_val_000009.png", 48, 32, 9, format="PNG")
    with pytest.raises(UserError, match=r"CLEVR_val_000009\.png: .*scenes.json does not describe it \(1 images have"):
        load_table(f"clevr:{clevr}", "val")


@pytest.mark.parametrize("inside", ["2750", "EuroSAT_RGB", "eurosat/2750"])
def test_eurosat(tmp_path, inside):
    for number, name in enumerate(("AnnualCrop", "Forest", "River")):
        for row in range(1, 11):
            making.photograph(tmp_path / inside / name / f"{name}_{row}.jpg", 64, 64, 100 * number + row)
    dataset = open_dataset(f"eurosat:{tmp_path}")
    assert dataset.splits == ("train", "val") and dataset.classes == ("AnnualCrop", "Forest", "River")
    train, val = load_table(f"eurosat:{tmp_path}", "train"), load_table(f"eurosat:{tmp_path}", "val")
    assert (len(train), len(val)) == (24, 6)
    assert Counter(val.categories) == {"AnnualCrop": 2, "Forest": 2, "River": 2}
    if inside == "eurosat/2750":
        theirs = torchvision.datasets.EuroSAT(tmp_path)
        everything = {Path(path).name: theirs.classes[label] for path, label in theirs.samples}
        found = zip(train.object_ids + val.object_ids, train.categories + val.categories, strict=True)
        assert {Path(name).name: category for name, category in found} == everything
