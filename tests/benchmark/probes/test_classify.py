"""gr3d probe's work on small image folders and renders: numbers against scikit-learn, and what must be refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import nn

from benchmark.data.table import load_table
from benchmark.errors import UserError
from benchmark.probes import store
from benchmark.probes.accuracy import Classification, averaged_over_seeds, load_classification, merge_classifications
from benchmark.probes.accuracy_table import as_json, cuts_in_words, format_accuracies
from benchmark.probes.classify import inner_images, probe
from benchmark.probes.results import UNTRAINED
from benchmark.probes.subjects import Subject, pixels8

CLASSES = ("ant", "bee", "cat")


class Small(nn.Module):
    """A layer that sees colours, and one that sees next to nothing of them."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 2)

    def features(self, x: torch.Tensor, pool: int = 1) -> dict[str, torch.Tensor]:
        pooled = nn.functional.adaptive_avg_pool2d(self.conv(x), pool).flatten(1)
        return {"block1": pooled, "head1": self.head(pooled) if pool == 1 else pooled[:, :2]}


def draw(folder: Path, split: str, images: int, classes: tuple[str, ...] = CLASSES, seed: int = 0) -> None:
    """Images whose channel with the class's number is a little brighter."""
    rng = np.random.default_rng(seed)
    for name in classes:
        (folder / split / name).mkdir(parents=True)
        for k in range(images):
            pixels = rng.normal(110, 40, (12, 12, 3))
            pixels += rng.normal(0, 14, 3)
            pixels[..., CLASSES.index(name) % 3] += 25
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / split / name / f"{k:03d}.png")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "photos"
    draw(folder, "train", 40, seed=1)
    draw(folder, "val", 20, seed=2)
    draw(folder, "other", 5, ("ant", "bee"), seed=3)
    return folder


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Path:
    """Another dataset of the same classes."""
    folder = tmp_path_factory.mktemp("data") / "foreign"
    draw(folder, "dark", 10, seed=4)
    draw(folder, "noisy", 8, seed=5)
    return folder


def networks() -> dict[str, Subject]:
    return {
        "net-0": Subject(Small(0), config={"lr": 1, "seed": 0}),
        "net-1": Subject(Small(1), config={"lr": 1, "seed": 1}),
        "untrained": Subject(Small(2), UNTRAINED),
        "pixels": pixels8(),
    }


@pytest.fixture(scope="module")
def found(photos, foreign) -> Classification:
    return probe(networks(), photos, judge_on={"far": (foreign, None)}, device="cpu", batch_size=32)


def test_some_layers_are_read_as_among_all(photos, found):
    few = probe({"net-0": networks()["net-0"]}, photos, only=["head1"], device="cpu", batch_size=32)
    assert few.layers("net-0") == ("head1",)
    for row in few.rows:
        assert row == found.row("net-0", "head1", row.dataset, row.split)
    with pytest.raises(UserError, match="there is no layer 'head9', but block1, head1"):
        probe({"net-0": networks()["net-0"]}, photos, only=["head9"], device="cpu")


def test_every_network_layer_and_split_is_there(found):
    assert found.fitted == ("photos", "train")
    assert found.judged == (("photos", "val"), ("far", "dark"), ("far", "noisy"))
    assert {name: found.layers(name) for name in found.networks} == {
        "net-0": ("block1", "head1"),
        "net-1": ("block1", "head1"),
        "untrained": ("block1", "head1"),
        "pixels": ("pixels",),
    }
    assert len(found.rows) == 7 * 4
    assert found.info["classes"] == list(CLASSES)
    assert found.info["splits"]["far"]["noisy"] == {"images": 24, "objects": 24, "commonest": pytest.approx(1 / 3)}
    for row in found.rows:
        assert row.top5 == 1 and row.classes == 3
        if row.split == "train":
            assert row.low is row.high is None
        else:
            assert row.low <= row.top1 <= row.high and row.high - row.low < 0.6
    assert all(fit["converged"] for fit in found.info["fits"]) and len(found.info["fits"]) == 7


def test_numbers_are_those_of_sklearn(found, photos, foreign):
    """With the reported penalty, scikit-learn fitted on features taken by hand is right on as many images."""
    network = Small(0).eval()

    def read(folder: Path, split: str) -> tuple[dict[str, torch.Tensor], list[str]]:
        table = load_table(folder, split)
        with torch.no_grad():
            return network.features(table.images.float() / 255), table.categories

    fitted, names = read(photos, "train")
    places = {("photos", "train"): (fitted, names), ("photos", "val"): read(photos, "val")}
    places |= {("far", split): read(foreign, split) for split in ("dark", "noisy")}
    for layer in ("block1", "head1"):
        penalty = found.row("net-0", layer, "photos", "val").penalty
        model = LogisticRegression(C=1 / penalty, tol=1e-9, max_iter=10_000).fit(fitted[layer].double().numpy(), names)
        for place, (features, truth) in places.items():
            expected = model.score(features[layer].double().numpy(), truth)
            assert found.row("net-0", layer, *place).top1 == pytest.approx(expected, abs=0.5 / len(truth)), place


def test_intervals_are_those_of_drawing_images_again(found):
    """Every image is an object of its own: the interval of a share is the binomial's."""
    row = found.row("net-0", "block1", "photos", "val")
    spread = 1.96 * (row.top1 * (1 - row.top1) / row.images) ** 0.5
    assert row.high - row.low == pytest.approx(2 * spread, abs=2.5 / row.images)
    (margins,) = (one for one in found.margins if (one.network, one.split) == ("net-0", "val"))
    assert margins.low[0][0] == margins.low[1][1] == 0
    difference = row.top1 - found.row("net-0", "head1", "photos", "val").top1
    assert margins.low[1][0] <= difference <= -margins.low[0][1]


def test_results_come_back_from_disk(found, tmp_path):
    found.save(tmp_path)
    assert load_classification(tmp_path) == found
    rows = (tmp_path / "probe.csv").read_text().splitlines()
    assert rows[0].startswith("network,layer,dataset,split,top1,top5,low,high,penalty,classes,images")
    assert len(rows) == 1 + len(found.rows)
    document = json.loads((tmp_path / "probe.json").read_text())
    document["rows"].pop()
    (tmp_path / "probe.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match="not results of gr3d probe"):
        load_classification(tmp_path)
    with pytest.raises(UserError, match="make them with gr3d probe"):
        load_classification(tmp_path / "nowhere")


def test_recommendation_is_the_earliest_layer_as_good_as_the_best(found):
    cut = found.recommend("net-0", "photos", "val")
    best = found.row("net-0", cut.best.layer, "photos", "val").top1
    assert best == max(found.row("net-0", layer, "photos", "val").top1 for layer in found.layers("net-0"))
    assert cut.best.nmse == pytest.approx((1 - best) * 3 / 2)  # always the commonest class is wrong on two thirds
    assert cut.cut.layer == "block1" and cut.readable
    text = format_accuracies(found)
    assert "photos, split val (60 images; always the commonest class: 33.3)" in text
    assert text.count("block1") == 3 and "±" in text and "*" in text
    lines = cuts_in_words(found)
    assert len(lines) == 6 and lines[0].startswith("net-0 on photos, split val: cut at block1 (")
    assert as_json(found, "net-0", "photos", "val")["cut"] == "block1"


def test_seeds_are_taken_together(found):
    shown = averaged_over_seeds(found)
    assert shown.networks == ("net", "untrained", "pixels")
    values = [found.row(f"net-{k}", "head1", "photos", "val").top1 for k in range(2)]
    row = shown.row("net", "head1", "photos", "val")
    assert row.top1 == pytest.approx(np.mean(values))
    assert row.high - row.top1 == pytest.approx(np.std(values, ddof=1))
    assert shown.seeds("net") == 2 and "Means over seeds" in format_accuracies(shown)


def test_results_of_several_commands_are_shown_as_one(found, photos, foreign):
    more = probe(
        {"late": Subject(Small(5)), "pixels": pixels8()}, photos, judge_on={"far": (foreign, None)}, device="cpu"
    )
    both = merge_classifications([found, more])
    assert both.networks == (*found.networks, "late")
    assert both.row("late", "head1", "far", "dark") in both.rows
    with pytest.raises(UserError, match="two of these results hold a network 'net-0'"):
        merge_classifications([found, found])
    with pytest.raises(UserError, match="do not compare"):
        merge_classifications([found, replace(more, info={**more.info, "fit_on": "val"})])


def test_sgd_comes_near(found, photos):
    near = probe({"net-0": Subject(Small(0))}, photos, solver="sgd", epochs=20, device="cpu", batch_size=16)
    for layer in ("block1", "head1"):
        exact, row = (one.row("net-0", layer, "photos", "val") for one in (found, near))
        assert row.penalty is None and abs(row.top1 - exact.top1) <= 0.1
    (fit, _) = near.info["fits"]
    assert fit["steps"] == 20 * 6 and len(fit["path"]) == 6


def test_features_that_fit_nowhere_but_on_disk_are_mapped(found, photos, monkeypatch):
    monkeypatch.setattr(store, "available_memory", lambda: 0)
    again = probe({"net-0": Subject(Small(0))}, photos, device="cpu", batch_size=32)
    row = found.row("net-0", "head1", "photos", "val")
    assert again.row("net-0", "head1", "photos", "val") == row
    monkeypatch.setattr(store, "_DISK_SHARE", 0)
    with pytest.raises(UserError, match="TMPDIR"):
        probe({"net-0": Subject(Small(0))}, photos, device="cpu")


def test_inner_part_has_some_of_every_class_and_whole_objects(dataset, photos):
    held = inner_images(table := load_table(photos, "train"))
    counts = {
        name: sum(h for h, c in zip(held.tolist(), table.categories, strict=True) if c == name) for name in CLASSES
    }
    assert counts == dict.fromkeys(CLASSES, 8)
    table = load_table(dataset, "probe")
    held = inner_images(table)
    sides = [{o for o, h in zip(table.object_ids, held.tolist(), strict=True) if h == side} for side in (0, 1)]
    assert not sides[0] & sides[1] and len(sides[1]) == 2
    with pytest.raises(UserError, match="a single object"):
        inner_images(load_table(dataset, "lone"))


def test_classes_that_disagree_are_one_clear_line(photos, foreign, dataset, tmp_path):
    net = {"net": Subject(Small(0))}
    with pytest.raises(UserError, match="its split 'other' lacks 'cat'"):
        probe(net, photos, judge_on={"other": (photos, "other")})
    with pytest.raises(UserError, match="'other' has no image of class 'cat', split 'val' has"):
        probe(net, photos, fit_on="other")
    with pytest.raises(UserError, match="single class, 'chair'"):
        probe(net, dataset)
    with pytest.raises(UserError, match="has that name"):
        probe(net, photos, judge_on={"photos": (foreign, None)})
    with pytest.raises(UserError, match="no images of split 'test'"):
        probe(net, photos, fit_on="test")
    draw(tmp_path / "odd", "train", 4)
    draw(tmp_path / "odd", "val", 4, ("ant", "bee"))
    with pytest.raises(UserError, match="'val' has no image of class 'cat', split 'train' has"):
        probe(net, tmp_path / "odd")
    draw(tmp_path / "alone", "train", 4)
    with pytest.raises(UserError, match="no split with the same classes"):
        probe(net, tmp_path / "alone")
    for wrong in ({"solver": "magic"}, {"pool": 3}):
        with pytest.raises(UserError, match=r"--(solver|pool)"):
            probe(net, photos, **wrong)
