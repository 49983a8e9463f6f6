"""Figure 7 from renders and from photographs, small enough for a test, with real Blender and real trainings."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import UserError
from benchmark.figures.figure7 import LAYERS, SCALES, Scale, figure7
from benchmark.probes.targets import FACTORS
from renderer.render import main as render
from tests.needs import needs_bpy

TINY = Scale(
    n=150,
    resolution=32,
    objects="procedural",
    takes="a minute",
    simclr={"epochs": 1, "batch": 16},
    reader={"epochs": 1, "batch": 16},
    rcdm={"side": 32, "patch": 4, "width": 32, "epochs": 1, "batch": 16},
    judged=12,
    shown=2,
    samples=2,
    steps=2,
)


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_bpy
def test_end_to_end_and_again(tmp_path):
    lines = figure7(tmp_path, TINY, None, None, render, "cpu")
    for name in ("figure7.png", "figure7.svg", "figure7-kept.png", "figure7-kept.csv", "figure7.md"):
        assert (tmp_path / name).stat().st_size > 500
    with (tmp_path / "figure7-kept.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["pairs"], row["layer"]) for row in rows} == {(p, x) for p in ("augmentation", "class") for x in LAYERS}
    assert {row["factor"] for row in rows} == {*FACTORS, "category"}
    said = "\n".join(lines)
    assert "Kernel distance" in said and "the same number of samples of another object's image" in said
    assert said.count("* **") == 3
    jobs = json.loads((tmp_path / "steps.json").read_text())["jobs"]
    before = (tmp_path / "figure7-kept.csv").read_bytes()
    drawn = {path: path.stat().st_mtime_ns for path in (tmp_path / "samples").iterdir()}
    figure7(tmp_path, TINY, None, None, render, "cpu")  # nothing is drawn again, and nothing is different
    assert (tmp_path / "figure7-kept.csv").read_bytes() == before
    assert len(drawn) == 2 and all(path.stat().st_mtime_ns == time for path, time in drawn.items())
    assert set(jobs) == {"augmentation", "class", "reader", "augmentation, rcdm", "class, rcdm"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_photographs_give_pictures_alone(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 30)):
        for name in ("ant", "bee"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for k in range(count):
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    lines = figure7(tmp_path / "out", TINY, str(tmp_path / "photos"), None, render, "cpu")
    assert "The images have no latents: what samples keep of them is not measured." in lines
    assert any("in the features of the trunk of augmentation" in line for line in lines)
    Image.open(tmp_path / "out" / "figure7.png").verify()
    assert not (tmp_path / "out" / "runs" / "reader").exists()


def test_failed_rendering_is_passed_on(tmp_path):
    with pytest.raises(UserError, match="the same command resumes"):
        figure7(tmp_path, TINY, None, None, lambda arguments: 1)


def test_the_papers_scale_asks_for_data(tmp_path):
    with pytest.raises(UserError, match="--scale paper: give the data it is to run on, as --data imagenet:PATH") as e:
        figure7(tmp_path, SCALES["paper"], None, None, render)
    assert e.value.exit_code == 2
