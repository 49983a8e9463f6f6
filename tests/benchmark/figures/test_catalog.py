"""Every figure at every scale is declared, and says what it would cost, before anything is there."""

import pytest

from benchmark.errors import UserError
from benchmark.figures.catalog import ELSEWHERE, FIGURES, find, folder_name, listed
from benchmark.figures.cost import cost_lines, images_of, run_of
from benchmark.figures.paper.tasks import write_digits
from benchmark.figures.scales import IMAGENET, SCALES, Setting
from benchmark.figures.study import Packed, Study, Training
from tests.benchmark.figures.test_study import photographs


@pytest.fixture
def photos(tmp_path):
    """Five classes."""
    import shutil

    data = photographs(tmp_path / "photos", 8)
    for split in ("train", "val"):
        for name in "abc":
            shutil.copytree(data / split / "dark", data / split / name)
    return data


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", FIGURES)
def test_every_study_fits_together(name, scale, photos):
    study = FIGURES[name].study(Setting(scale, str(photos), seeds=2))
    assert study.seeds == 2 and study.note
    for training in study.trainings.values():
        assert training.data in study.datasets
        assert run_of(training.options).objective in ("supervised", "simclr", "barlow-twins", "vicreg", "byol")
    for probing in study.probings.values():
        assert {probing.data, *(data for data, _ in probing.judge_on.values())} <= set(study.datasets)
        assert set(probing.trainings) <= set(study.trainings)


@pytest.mark.parametrize("name", FIGURES)
def test_figures_that_share_runs_declare_the_same(name, photos):
    setting = Setting("demo", str(photos))
    for other in FIGURES.values():
        if other.shares == FIGURES[name].shares:
            mine, theirs = FIGURES[name].study(setting), other.study(setting)
            assert mine.trainings == theirs.trainings and mine.probings == theirs.probings


def test_paper_scale_is_the_papers(photos):
    study = FIGURES["1"].study(Setting("paper", dry=True))
    run = run_of(study.trainings["simclr"].options)
    assert (run.arch, run.head, run.batch, run.epochs, run.optimizer) == ("resnet50", "mlp3", 2048, 100, "adamw")
    assert images_of(study.datasets["source"]) == 1_281_167 and study.seeds == 3
    assert run_of(FIGURES["10"].study(Setting("paper", dry=True)).trainings["byol"].options).arch == "vit-b16"
    few = FIGURES["3b"].study(Setting("paper", dry=True)).datasets["source"]
    assert few.options["classes"] == 250 and images_of(few) == 1_281_167 // 4
    with pytest.raises(UserError, match="--data imagenet:PATH"):
        FIGURES["1"].study(Setting("paper"))


def test_images_that_there_will_be(photos):
    data = str(photos)  # 20 images, four of each class
    assert images_of(Packed(data)) == 20
    assert images_of(Packed(data, {"limit": 7})) == 7
    assert images_of(Packed(data, {"classes": 2})) == 8
    assert images_of(Packed(data, {"per_class": 3})) == 15
    assert images_of(Packed(data, {"share": 0.5})) == 10
    assert images_of(Packed(IMAGENET, {"share": 0.01})) == 12_812


def test_cost_counts_steps_and_writes_nothing(photos, tmp_path):
    options = {"objective": "simclr", "epochs": 3, "batch": 8}
    source = Packed(str(photos), {"side": 32})
    lines = cost_lines(Study({"source": source}, {"one": Training("source", options)}, {}, seeds=2), "cpu")
    # 20 images: batches of 4, five steps an epoch.
    assert any("2 x (resnet18, 3 epochs, batch 4: 15 steps, 60 images)" in line for line in lines)
    assert any("views/s on one core" in line for line in lines)
    assert {path.name for path in tmp_path.iterdir()} == {"photos"}


def test_images_keep_their_size_as_far_as_the_scale_lets_them(photos):
    assert Setting("small", str(photos)).side == 32  # 32 x 32, though 64 may be
    assert Setting("paper", str(photos)).side == 224


def test_every_name_of_the_paper_is_listed():
    lines = listed()
    names = [line.partition(":")[0] for line in lines]
    assert {"1", "3b", "3c", "4", "7", "8", "9", "10", "11", "table1"} <= set(names)
    assert names.index("9") < names.index("10") < names.index("table1")
    with pytest.raises(UserError, match="one object, one latent a row"):
        find("8", "demo")
    with pytest.raises(UserError, match="give its name"):
        find(None, "demo")
    assert not set(ELSEWHERE) & set(FIGURES)


def test_other_data_have_their_own_folder():
    figure = FIGURES["9"]
    assert folder_name("9", figure, Setting("demo")) == "figures1-9-demo"
    assert folder_name("9", figure, Setting("small", "cifar10:My data")) == "figures1-9-small-cifar10-my-data"


def test_digits(tmp_path):
    write_digits(tmp_path / "digits")
    counts = {split: len(list((tmp_path / "digits" / split).rglob("*.png"))) for split in ("train", "val")}
    assert sum(counts.values()) == 1797 and counts["train"] > 2.9 * counts["val"]
    assert len(list((tmp_path / "digits" / "val").iterdir())) == 10
