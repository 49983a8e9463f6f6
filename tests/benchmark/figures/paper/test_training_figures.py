"""Figures 3a, 3c, 5, 6, 12, 13, Table 1: what they declare is what the paper did; tiny ones, from data to picture."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.commands.train import train
from benchmark.data.corruptions import ALL, SEVERITIES
from benchmark.data.neighbours import load_neighbours
from benchmark.data.pack import pack
from benchmark.errors import UserError
from benchmark.figures import scales
from benchmark.figures.catalog import FIGURES
from benchmark.figures.paper import hyperparameters, optimisation, positives
from benchmark.figures.scales import IMAGENET, Setting
from benchmark.figures.study import Found, Packed, Probing, Study, Training, make, run_study
from benchmark.probes.accuracy import Accuracy, Classification, Margins

NAMES = ("3a", "5", "6", "12", "13")
LAYERS = ("block4", "trunk", "head1", "head2", "head3")


def photographs(folder: Path, train: int = 20, val: int = 8) -> Path:
    """Three classes of 32 x 32 pixels, told by their colour."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for number, name in enumerate(("cat", "dog", "owl")):
            (folder / split / name).mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 120, (32, 32, 3))
                pixels[..., number] += 100
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return photographs(tmp_path_factory.mktemp("photographs"))


def study_of(name: str, setting: Setting):
    return FIGURES[name].study(setting)


def nothing_to_render(arguments) -> int:
    raise AssertionError(f"nothing is to be rendered here: {arguments}")


@pytest.mark.parametrize("scale", ["demo", "small", "paper"])
@pytest.mark.parametrize("name", NAMES)
def test_studies_are_whole(name, scale, data):
    study = study_of(name, Setting(scale, data=str(data)))
    assert study.seeds >= (1 if scale == "demo" else 2)
    known = {option.name for option in train.params}
    for training in study.trainings.values():
        assert training.data in study.datasets
        assert set(training.options) <= known
        assert training.neighbours_of in {None, *study.trainings}
    for probing in study.probings.values():
        assert probing.data in study.datasets and set(probing.trainings) <= set(study.trainings)


def test_figures_that_share_their_runs_declare_the_same(data):
    setting = Setting("demo", data=str(data))
    for one, other in (("5", "13"), ("6", "12")):
        assert FIGURES[one].shares == FIGURES[other].shares
        first, second = study_of(one, setting), study_of(other, setting)
        assert (first.trainings, list(first.probings)) == (second.trainings, list(second.probings))


def test_3a_is_the_authors_sgd_against_bare_adamw():
    trainings = study_of("3a", Setting("paper", data=IMAGENET)).trainings
    sgd, adamw = (trainings[name].options for name in ("sgd", "adamw"))
    wanted = {"optimizer": "sgd", "momentum": 0.9, "lr": 1.7, "weight_decay": 1e-4, "schedule": "cyclic", "epochs": 100}
    assert {name: sgd[name] for name in wanted} == wanted and sgd["warmup"] == pytest.approx(0.02)
    wanted = {"optimizer": "adamw", "lr": 1e-4, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0}
    assert {name: adamw[name] for name in wanted} == wanted and adamw["epochs"] == 100
    assert {sgd["objective"], adamw["objective"]} == {"supervised"}


@pytest.mark.parametrize("scale", ["demo", "paper"])
def test_5_changes_one_thing_at_a_time(scale):
    study = study_of("5", Setting(scale, data=IMAGENET))
    for objective in ("simclr", "barlow-twins", "vicreg", "byol"):
        base = study.trainings[objective].options
        changed = {}
        for name, training in study.trainings.items():
            if training.options["objective"] == objective and name != objective:
                differing = {key for key, value in training.options.items() if base.get(key) != value}
                changed.setdefault(frozenset(differing), set()).add(name)
        loss = {"simclr": "temperature", "barlow-twins": "redundancy", "vicreg": "vicreg", "byol": "ema"}[objective]
        kinds = [{loss}, {"lr"}, {"lr", "batch"}][: 2 if scale == "demo" else 3]
        assert {frozenset(kind) for kind in kinds} == set(changed)
        assert all(len(names) == (4 if scale == "paper" else 2) for names in changed.values())


def test_6_finds_neighbours_under_the_network_of_the_same_seed(tmp_path):
    study = study_of("6", Setting("small", data=str(photographs(tmp_path, train=200))))
    assert study.trainings["neighbours"].neighbours_of == "augmentation"
    assert study.trainings["class"].options["positives"] == "class"
    others = {"neighbours": {}, "class": {"positives"}}
    base = study.trainings["augmentation"].options
    for name, differing in others.items():
        assert {key for key, value in study.trainings[name].options.items() if base.get(key) != value} == set(differing)
    own = ["source", "source, 10 %", "source, 1 %"]
    assert list(study.probings) == [*own, "digits", "renders"]
    tasks = list(study_of("6", Setting("paper", data=IMAGENET, tasks=("cifar10:C", "eurosat:E"))).probings)
    assert tasks == [*own, "cifar10", "eurosat"]


def test_6_leaves_out_shares_with_too_few_images_of_a_class(data):
    assert list(study_of("6", Setting("small", data=str(data))).probings) == [
        "source", "source, 10 %", "digits", "renders",
    ]  # fmt: skip


def test_a_tenth_is_of_the_images_that_the_scale_leaves(tmp_path, monkeypatch):
    data = photographs(tmp_path, train=40)
    whole = study_of("6", Setting("demo", data=str(data))).datasets["source, 10 %"]
    assert whole.options["share"] == pytest.approx(0.1)
    monkeypatch.setitem(scales.SCALES, "demo", replace(scales.SCALES["demo"], images=60))
    half = study_of("6", Setting("demo", data=str(data))).datasets["source, 10 %"]
    assert half.options["share"] == pytest.approx(0.05)


def found_of(study, accuracy) -> Found:
    """As if all had been trained and read: accuracy(training, layer, seed) on every task."""
    each, shown = {}, {"images": 24, "objects": 24, "commonest": 0.3}
    for task, probing in study.probings.items():
        rows, networks, margins = [], {}, []
        for run, name, seed in study.runs():
            networks[run] = {"role": "trained", "layers": list(LAYERS), "config": {"seed": seed, "run": name}}
            values = [accuracy(name, layer, seed) for layer in LAYERS]
            known = tuple(tuple(b - a for b in values) for a in values)
            margins.append(Margins(run, probing.data, "val", known))
            for layer in LAYERS:
                for split in ("train", "val"):
                    top1 = accuracy(name, layer, seed)
                    rows.append(Accuracy(run, layer, probing.data, split, top1, 1.0, None, None, 1.0, 3, 24))
        info = {
            "networks": networks,
            "dataset": probing.data,
            "fit_on": "train",
            "judged_on": [[probing.data, "val"]],
            "splits": {probing.data: dict.fromkeys(("train", "val"), shown)},
        }
        each[task] = Classification(tuple(rows), info, tuple(margins))
    return Found(study, Path("nowhere"), each)


def test_5_leaves_out_batches_that_the_images_do_not_fill(data):
    trainings = study_of("5", Setting("small", data=str(data))).trainings  # 60 images: batches of 8, a single one fits
    assert {training.options["batch"] for training in trainings.values()} == {8}


def test_5_and_13_from_numbers_to_pictures(tmp_path):
    study = study_of("5", Setting("small", data=str(photographs(tmp_path / "data", train=200))))
    names = list(study.trainings)

    def accuracy(name: str, layer: str, seed: int) -> float:
        return 0.8 + 0.01 * seed if layer == "trunk" else 0.3 + 0.01 * names.index(name)

    found = found_of(study, accuracy)
    scatter = hyperparameters.draw_scatter(found, tmp_path / "figure5")
    rows = list(csv.DictReader(scatter.written.csv.open()))
    assert len(rows) == len(names) == 28
    assert (rows[0]["objective"], rows[0]["option"], rows[0]["seeds"]) == ("simclr", "", "3")
    assert float(rows[0]["trunk"]) == pytest.approx(0.81) and float(rows[0]["head"]) == pytest.approx(0.3)
    assert "| simclr | 7 | nan | 81.0% to 81.0% | 30.0% to 36.0% |" in scatter.table
    assert all(verdict.held for verdict in scatter.verdicts[:4])
    grid = hyperparameters.draw_grid(found, tmp_path / "figure13")
    rows = list(csv.DictReader(grid.written.csv.open()))
    lines = {(row["objective"], row["option"]): [] for row in rows}
    for row in rows:
        lines[row["objective"], row["option"]].append(float(row["value"]))
    assert {len(values) for values in lines.values()} == {3} and len(lines) == 12  # the recipe stands in every line
    assert sorted(lines["vicreg", "covariance"]) == [0.1, 1.0, 10.0]


def test_6_and_12_from_numbers_to_pictures(data, tmp_path):
    study = study_of("6", Setting("demo", data=str(data), seeds=2))
    heads = {"augmentation": 0.5, "neighbours": 0.7, "class": 0.9}
    found = found_of(study, lambda name, layer, seed: 0.8 if layer == "trunk" else heads[name])
    for draw in (positives.draw_gaps, positives.draw_accuracies):
        shown = draw(found, tmp_path / draw.__name__)
        rows = {(row["task"], row["positives"]): row for row in csv.DictReader(shown.written.csv.open())}
        assert len(rows) == 3 * 4
        assert float(rows["renders", "class"]["trunk_minus_head"]) == pytest.approx(-0.1)
        assert "| source | augmentation | 80.0% | 50.0% | +30.0% |" in shown.table
        assert all(verdict.held for verdict in shown.verdicts)


def test_3a_from_numbers_to_picture(data, tmp_path):
    study = study_of("3a", Setting("demo", data=str(data)))
    found = found_of(study, lambda name, layer, seed: 0.6 if name == "adamw" else 0.6 + 0.05 * LAYERS.index(layer))
    shown = optimisation.draw(found, tmp_path / "figure3a")
    spread, better, _ = shown.verdicts
    assert spread.held and "sgd 15.0 points, adamw 0.0 points" in spread.evidence
    assert better.held and "sgd 80.0 %, adamw 60.0 %" in better.evidence
    assert shown.written.png.stat().st_size > 5000


@pytest.mark.slow
@pytest.mark.timeout(900)  # four processes and six probings, a minute or two where nothing else runs
def test_6_from_data_to_picture(data, tmp_path, monkeypatch):
    """All of it for real, with networks of a few steps: neighbours of the first network are the second one's pairs."""
    tiny = replace(scales.SCALES["demo"], training={"recipe": "small", "batch": 8, "lr": 5e-4}, epochs=1)
    monkeypatch.setitem(scales.SCALES, "demo", tiny)
    monkeypatch.setattr(positives, "tasks", lambda setting, share: {"source": setting.packed()})
    figure, out = FIGURES["6"], tmp_path / "out"
    lines = make("6", figure, figure.study(Setting("demo", data=str(data))), out, nothing_to_render, "cpu")
    assert (out / "figure6.png").stat().st_size > 5000
    assert sum(line.startswith("* **") for line in "\n".join(lines).splitlines()) == 3
    assert '"positives": "class"' in (out / "runs" / "class" / "config.json").read_text()
    near = load_neighbours(out / "runs" / "augmentation-neighbours.npz")
    assert near.places.shape == (60, 10) and near.network["name"] == "augmentation"
    assert f'"positives": "neighbours {near.digest}"' in (out / "runs" / "neighbours" / "config.json").read_text()


def test_3c_on_few_images_and_on_folders(data, tmp_path):
    """At demo scale a class may have fewer images than the small task asks for: as many as the smallest has are taken,
    unless these are all. Folders are called after themselves."""
    pets, flowers = (photographs(tmp_path / name) for name in ("pets", "flowers"))
    few = photographs(tmp_path / "few", train=7)
    setting = Setting("demo", data=str(few), tasks=(f"folder:{pets}", f"folder:{flowers}"))
    assert list(study_of("3c", setting).datasets) == ["source", "pets", "flowers"]
    next(few.glob("train/*/*")).unlink()
    assert list(study_of("3c", setting).datasets) == ["source", "source, 6 a class", "pets", "flowers"]
    with pytest.raises(UserError, match="there is a task 'pets' already"):
        study_of("3c", replace(setting, tasks=(f"folder:{pets}", f"folder:{pets}")))


def test_3c_reads_the_well_regularised_network_of_3a():
    setting = Setting("paper", data=IMAGENET)
    read = study_of("3c", setting).trainings["supervised"].options
    assert read == study_of("3a", setting).trainings["sgd"].options


def corrupted(folder: Path, leave_out: str = "") -> Path:
    """Published ImageNet-C's folders, an image each of three classes, with its extra corruptions."""
    for corruption in ALL:
        for severity in SEVERITIES:
            if f"{corruption}_{severity}" != leave_out:
                for name in "abc":
                    place = folder / corruption / str(severity) / name
                    place.mkdir(parents=True)
                    Image.new("RGB", (32, 32), "red").save(place / "0.JPEG")
    return folder


def test_table1_is_the_mean_over_the_fifteen_corruptions(data, tmp_path):
    whole = corrupted(tmp_path / "whole")
    study = study_of("table1", Setting("demo", data=str(data), tasks=(f"imagenet-c:{whole}",)))
    splits = study.datasets["corrupted"].options["splits"]
    assert len(splits) == 75 and not any(split.startswith("speckle_noise") for split in splits)
    partial = corrupted(tmp_path / "partial", leave_out="fog_3")
    with pytest.raises(UserError, match=r"has no split fog_3 \(1 of the 75 of the mCE are missing"):
        study_of("table1", Setting("demo", data=str(data), tasks=(f"imagenet-c:{partial}",)))


def test_classes_that_disagree_are_found_before_training(data, tmp_path):
    other = tmp_path / "other"
    for kind in ("train", "val"):
        for name in "xyz":
            (other / kind / name).mkdir(parents=True)
            for k in range(4):
                Image.new("RGB", (32, 32), (k, k, k)).save(other / kind / name / f"{k}.png")
    pack(str(data), tmp_path / "out" / "data" / "one")
    pack(str(other), tmp_path / "out" / "data" / "two")
    study = Study(
        {"one": Packed(str(data)), "two": Packed(str(other))},
        {"cold": Training("one", Setting("demo", data=str(data)).training("supervised"))},
        {"classes": Probing("one", ("cold",), judge_on={"two": ("two", None)})},
    )
    with pytest.raises(UserError, match=r"split 'val' must show the classes of .*one, that classifiers"):
        run_study(study, tmp_path / "out", nothing_to_render, "cpu")
    assert not (tmp_path / "out" / "runs").exists()
