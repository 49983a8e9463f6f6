"""A small figure through the runner: packed, trained, probed and drawn, stopped and resumed, for real."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import UserError
from benchmark.figures.claims import Verdict
from benchmark.figures.curves import Panel, curve, plot_curves, table
from benchmark.figures.study import (
    Figure,
    Made,
    Packed,
    Probing,
    Rendered,
    Shown,
    Study,
    Training,
    make,
    prepare,
    run_study,
)
from tests.needs import ROOT

TINY = {"arch": "resnet18", "stem": "imagenet", "epochs": 1, "batch": 16, "online_probes": False}


def photographs(folder, count=24, splits=("train", "val")):
    """Noise of 32 x 32 pixels, in two classes, the second of which is brighter."""
    rng = np.random.default_rng(0)
    for split in splits:
        for label, low in (("dark", 0), ("light", 60)):
            (folder / split / label).mkdir(parents=True)
            for number in range(count // 2):
                pixels = rng.integers(low, 196 + low, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{number}.png")
    return folder


def never(arguments):
    raise AssertionError("nothing is to be rendered")


def declared(data, seeds=1, trainings=("supervised",)):
    return Study(
        datasets={"source": Packed(str(data), {"side": 32})},
        trainings={name: Training("source", {"objective": name, **TINY}) for name in trainings},
        probings={"classes": Probing("source", trainings, untrained=True)},
        seeds=seeds,
        note="As small as it gets.",
    )


def draw(found, out):
    mean = found.mean["classes"]
    panels = [Panel("validation", tuple(curve(mean, name, mean.judged[0]) for name in mean.networks))]
    trunk = found.accuracies("classes", "supervised", "trunk")
    claim = Verdict("there is an accuracy a seed", len(trunk) == found.study.seeds, f"{len(trunk)} of them")
    return Shown(plot_curves(panels, out, "Tiny", "bars"), table(panels), [claim])


FIGURE = Figure("a tiny one", "tiny", declared, draw)


@pytest.mark.slow
def test_from_images_to_figure_and_again(tmp_path):
    study, out = declared(photographs(tmp_path / "photos"), seeds=2), tmp_path / "out"
    lines = "\n".join(make("99", FIGURE, study, out, never, "cpu"))
    assert "# Figure 99: a tiny one" in lines and "As small as it gets." in lines
    assert "**Held**: there is an accuracy a seed. 2 of them." in lines
    for ending in ("png", "svg", "csv", "md"):
        assert (out / f"figure99.{ending}").stat().st_size > 100
    assert {path.name for path in (out / "runs").iterdir() if path.is_dir()} == {"supervised", "supervised-seed1"}
    assert json.loads((out / "runs/supervised/config.json").read_text())["run"]["batch"] == 4  # 24 images: four steps
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name in ("checkpoint.pt", "probe.json")}
    make("99", FIGURE, study, out, never, "cpu")
    assert len(before) == 5 and all(path.stat().st_mtime_ns == then for path, then in before.items())


@pytest.mark.slow
def test_killed_while_training_it_goes_on(tmp_path):
    """As a process of its own, killed with its trainings under way."""
    photos, out = photographs(tmp_path / "photos", 64), tmp_path / "out"
    script = (
        "import sys; from pathlib import Path; from tests.benchmark.figures.test_study import *\n"
        "study = declared(Path(sys.argv[1]))\n"
        "study.trainings['supervised'].options['epochs'] = 4\n"
        "print('\\n'.join(make('99', FIGURE, study, Path(sys.argv[2]), never, 'cpu')))\n"
    )
    command = [sys.executable, "-c", script, str(photos), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment, start_new_session=True)
    begun = out / "runs" / "supervised" / "config.json"
    deadline = time.monotonic() + 200
    while not begun.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not (out / "figure99.png").exists()
    # At once, while the training that lost its parent may still be saving.
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr
    assert (out / "figure99.png").exists() and "accuracy a seed" in done.stdout


@pytest.mark.slow
def test_positives_of_another_trainings_network(tmp_path):
    study = Study(
        datasets={"source": Packed(str(photographs(tmp_path / "photos")), {})},
        trainings={
            "near": Training("source", {"objective": "simclr", **TINY}, neighbours_of="base"),
            "base": Training("source", {"objective": "simclr", **TINY}),
        },
        probings={},
    )
    run_study(study, tmp_path / "out", never, "cpu")
    assert (tmp_path / "out/runs/base-neighbours.npz").exists()
    positives = {
        name: json.loads((tmp_path / f"out/runs/{name}/config.json").read_text())["run"]["positives"]
        for name in ("near", "base")
    }
    assert positives["base"] == "augmentation" != positives["near"]


@pytest.mark.parametrize(
    ("splits", "fit_on", "says"),
    [(("train",), None, "no split beside"), (("train", "val"), "ood1_train", "ood1_train")],
)
def test_data_that_cannot_be_judged_are_refused_before_training(tmp_path, splits, fit_on, says):
    data = photographs(tmp_path / "photos", 4, splits)
    study = declared(data)
    study = Study(study.datasets, study.trainings, {"classes": Probing("source", ("supervised",), fit_on=fit_on)})
    with pytest.raises(UserError, match=says):
        run_study(study, tmp_path / "out", never, "cpu")
    assert not (tmp_path / "out" / "runs").exists()


def test_what_is_wrong_with_the_data_is_known_before_anything_is_rendered(tmp_path):
    study = declared(photographs(tmp_path / "photos", 4, ("val", "test")))
    datasets = {"renders": Rendered(10, 32), **study.datasets}
    with pytest.raises(UserError, match=r"no images of split 'train' \(splits there: test, val\)"):
        run_study(Study(datasets, study.trainings, study.probings), tmp_path / "out", never, "cpu")


def test_images_made_here_are_whole_or_not_there(tmp_path):
    def torn(folder):
        photographs(folder, 4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(Made(torn), tmp_path / "data" / "x", never)
    assert not (tmp_path / "data" / "x-images").exists()
    prepare(Made(lambda folder: photographs(folder, 4) and None), tmp_path / "data" / "x", never)
    assert (tmp_path / "data" / "x" / "dataset.json").exists()


def test_rendering_that_ends_early_is_passed_on(tmp_path):
    with pytest.raises(UserError, match="the same command resumes") as error:
        prepare(Rendered(10, 32), tmp_path / "renders", lambda arguments: 1)
    assert error.value.exit_code == 1
