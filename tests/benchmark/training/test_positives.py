"""What the second view shows: that pairs are what they are called, and that training draws them by seed and step."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.data.neighbours import Neighbours, identity
from benchmark.data.table import load_table
from benchmark.data.views import ViewSpec
from benchmark.errors import UserError
from benchmark.recipes import RECIPES
from benchmark.training import TrainConfig, train
from benchmark.training.positives import Neighbouring, SameClass, partners
from benchmark.training.run import read_config
from benchmark.training.trainer import Trainer

CPU = torch.device("cpu")
CLASSES = ["cat", "dog", "cat", "owl", "dog", "cat", "cat"]


def plain(**changes: object):
    """A run whose views are the images themselves."""
    run = replace(RECIPES["small"]["simclr"], head="none", batch=8, epochs=2, precision="fp32", **changes)
    return replace(run, views=(ViewSpec(), ViewSpec()))


@pytest.fixture(scope="module")
def near(tiny) -> Neighbours:
    """Made up, so that it cannot be mistaken for anything found: i's are i + 1, i + 5, i + 9."""
    places = (np.arange(32)[:, None] + [1, 5, 9]) % 32
    return Neighbours(places, np.zeros((32, 3), np.float32), identity(tiny, "train", load_table(tiny, "train")), {})


def shown(trainer: Trainer, step: int) -> tuple[list[int], list[int]]:
    """Rows of the images that the two views of a step show, found by their pixels."""
    pictures = {image.numpy().tobytes(): row for row, image in enumerate(trainer.images)}
    first, second = [], []
    for batch, rows in trainer._parts(step):
        for half, found in zip(batch.chunk(2), (first, second), strict=True):
            found += [pictures[x.mul(255).round().byte().contiguous().numpy().tobytes()] for x in half]
        assert first[-len(rows) :] == rows.tolist()
    return first, second


def test_pairs_of_a_class_are_two_images_of_it():
    pair, rng = SameClass(CLASSES), np.random.default_rng(0)
    rows = rng.integers(len(CLASSES), size=4000)
    others = pair(rows, rng)
    for row, other in zip(rows, others, strict=True):
        assert CLASSES[other] == CLASSES[row]
        assert (other == row) == (CLASSES[row] == "owl")  # the only one of its class


def test_every_other_image_of_the_class_is_as_likely():
    pair, rng = SameClass(CLASSES), np.random.default_rng(0)
    drawn = Counter(pair(np.zeros(6000, np.int64), rng).tolist())
    assert set(drawn) == {2, 5, 6}
    assert all(abs(count - 2000) < 5 * 2000**0.5 for count in drawn.values())


def test_one_class_gives_no_pairs():
    with pytest.raises(UserError, match=r"--positives class: all training images are of one class \(cat\)"):
        SameClass(["cat"] * 5)


def test_every_neighbour_is_as_likely():
    places = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
    rows = np.full(6000, 2)
    drawn = Counter(Neighbouring(places)(rows, np.random.default_rng(0)).tolist())
    assert set(drawn) == {0, 1, 3}
    assert all(abs(count - 2000) < 5 * 2000**0.5 for count in drawn.values())


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("positives", ["augmentation", "class", "neighbours x"])
def test_second_views_show_what_they_should(tiny, near, positives, accumulate):
    table = load_table(tiny, "train")
    trainer = Trainer(plain(positives=positives, accumulate=accumulate), table, CPU, neighbours=near.places)
    pairs = [shown(trainer, step) for step in range(8)]
    for first, second in pairs:
        if positives == "augmentation":
            assert first == second
        elif positives == "class":
            assert [table.categories[row] for row in first] == [table.categories[row] for row in second]
            assert not any(a == b for a, b in zip(first, second, strict=True))
        else:
            assert all(b in near.places[a] for a, b in zip(first, second, strict=True))
    if positives != "augmentation":
        by_epoch = [dict(pair for a, b in pairs[k : k + 4] for pair in zip(a, b, strict=True)) for k in (0, 4)]
        assert by_epoch[0] != by_epoch[1]  # drawn anew each time an image is seen
    assert pairs == [shown(trainer, step) for step in range(8)]  # by seed and step alone


def test_first_views_do_not_depend_on_the_positives(tiny):
    table = load_table(tiny, "train")
    run = replace(RECIPES["small"]["simclr"], head="none", batch=8, precision="fp32")
    one, other = (Trainer(replace(run, positives=kind), table, CPU) for kind in ("augmentation", "class"))
    (a, rows), (b, others) = (next(trainer._parts(2)) for trainer in (one, other))
    assert torch.equal(rows, others) and torch.equal(a[:8], b[:8]) and not torch.equal(a[8:], b[8:])


def test_simclr_by_class_is_taught_the_classes(tiny):
    """In a batch of two classes with a class's own images left out, the loss has fewer candidates: it is lower."""
    table, losses = load_table(tiny, "train"), {}
    for by_class in (True, False):
        trainer = Trainer(plain(positives="class"), table, CPU)
        assert [table.categories.index(c) for c in table.categories] == trainer.target.tolist()
        if not by_class:
            trainer.target = torch.arange(32)  # every image a class of its own
        losses[by_class] = trainer.step(0).loss.item()
    assert losses[True] < losses[False]


@pytest.mark.parametrize("objective", ["simclr", "barlow-twins", "vicreg", "byol"])
def test_every_objective_that_pairs_learns_from_any_positives(tiny, near, objective):
    for positives in ("class", "neighbours x"):
        run = replace(RECIPES["small"][objective], head="none", batch=8, precision="fp32", positives=positives)
        trainer = Trainer(run, load_table(tiny, "train"), CPU, neighbours=near.places)
        assert trainer.step(0).loss.isfinite()


def config(data: Path, out: Path, **how: object) -> TrainConfig:
    run = replace(RECIPES["small"]["simclr"], head="none", epochs=1, batch=16, **how.pop("run", {}))
    return TrainConfig(run=run, data=data, out=out, device="cpu", online_probes=False, **how)


def test_a_run_by_neighbours_knows_its_file_by_content(tiny, near, tmp_path):
    near.save(tmp_path / "near.npz")
    report = train(config(tiny, tmp_path / "run", neighbours=tmp_path / "near.npz"))
    assert read_config(tmp_path / "run")["run"].positives == f"neighbours {near.digest}"
    (tmp_path / "near.npz").rename(tmp_path / "moved.npz")
    assert train(config(tiny, tmp_path / "run", neighbours=tmp_path / "moved.npz")) == report
    replace(near, places=near.places[:, :2].copy(), similarity=near.similarity[:, :2].copy()).save(tmp_path / "two.npz")
    with pytest.raises(UserError, match="holds a run with another positives"):
        train(config(tiny, tmp_path / "run", neighbours=tmp_path / "two.npz"))


def test_neighbours_among_other_images_are_refused_before_anything_is_written(near, tmp_path, write_dataset):
    near.save(tmp_path / "near.npz")
    data = write_dataset(tmp_path / "data", count=40, side=16)
    with pytest.raises(UserError, match=r"near\.npz: neighbours among other images \(images: 32, of this dataset 40\)"):
        train(config(data, tmp_path / "run", neighbours=tmp_path / "near.npz"))
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_objectives_of_one_view_have_no_positives(tiny, near, tmp_path):
    near.save(tmp_path / "near.npz")
    wanted = config(tiny, tmp_path / "run", neighbours=tmp_path / "near.npz")
    with pytest.raises(UserError, match="--positives: rotation shows one view"):
        train(replace(wanted, run=replace(RECIPES["small"]["rotation"], batch=16)))
    assert partners("augmentation", load_table(tiny, "train"), None) is None


@pytest.mark.slow
def test_killed_and_resumed_equals_never_killed(tiny, near, tmp_path, training, digest):
    near.save(tmp_path / "near.npz")
    for positives in ("class", str(tmp_path / "near.npz")):
        name, options = Path(positives).stem, ("--objective", "simclr", "--positives", positives)
        killed = training(tiny, f"{name}-killed", *options).await_step(4)
        killed.kill()
        killed.end()
        assert not (killed.out / "report.json").exists(), "the run ended before it could be killed"
        whole = training(tiny, f"{name}-whole", *options)
        again = training(tiny, f"{name}-killed", *options, "--resume")
        assert (again.end(), whole.end()) == (0, 0), again.text + whole.text
        assert digest(killed.out) == digest(whole.out)
