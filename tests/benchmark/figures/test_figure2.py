"""Figure 2 from renders to plot, small enough for a test, with real Blender and real training processes."""

import csv
import json

import pytest
from PIL import Image

from benchmark.errors import UserError
from benchmark.figures.figure2 import SCALES, Scale, Stage, figure2
from benchmark.probes.results import load_results
from renderer.render import main as render
from tests.needs import needs_bpy

TINY = Scale(
    stages=(Stage("objects", posed=True, n=200, training={"simclr": {"epochs": 1}, "rotation": {"epochs": 1}}),),
    resolution=32,
    objects="procedural",
    takes="a minute",
    seeds=2,
)


@pytest.mark.slow
@needs_bpy
def test_end_to_end_and_again(tmp_path):
    lines = "\n".join(figure2(tmp_path, TINY, None, render))
    folder = tmp_path / "objects"
    for name in ("figure2.png", "figure2.svg", "figure2.csv", "contact-sheet.jpg", "summary.md"):
        assert (folder / name).stat().st_size > 500
        assert name in lines or name.startswith("figure2.") or name == "summary.md"
    Image.open(folder / "figure2.png").verify()
    assert "eld**: (a)" in (folder / "summary.md").read_text()
    steps = json.loads((tmp_path / "steps.json").read_text())
    runs = {"simclr", "rotation", "simclr-seed1", "rotation-seed1"}
    assert set(steps["jobs"]) == {f"objects, {run}" for run in runs}
    separate = load_results(folder / "regression")
    assert set(separate.networks) == {*runs, "untrained", "untrained-seed1", "pixels 8x8"}
    first, second = (separate.row(run, "head3", "rotation", "val").nmse for run in ("simclr", "simclr-seed1"))
    with (folder / "figure2.csv").open() as file:
        shown = {(row["network"], row["target"], row["layer"], row["split"]): row for row in csv.DictReader(file)}
    row = shown["simclr", "rotation", "head3", "val"]
    assert float(row["error"]) == pytest.approx((first + second) / 2)
    assert first != second
    before = (folder / "figure2.csv").read_bytes()
    figure2(tmp_path, TINY, None, render)  # everything is there: nothing is rendered or trained again
    assert (folder / "figure2.csv").read_bytes() == before


def test_failed_rendering_is_passed_on(tmp_path):
    with pytest.raises(UserError, match="the same command resumes") as error:
        figure2(tmp_path, TINY, None, lambda arguments: 1)
    assert error.value.exit_code == 1


def test_scales_are_what_the_command_offers():
    assert set(SCALES) == {"demo", "small"}
