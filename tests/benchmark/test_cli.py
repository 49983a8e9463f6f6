"""The gr3d command as a user types it: the bare commands in order, help everywhere, one clear line for bad input."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from benchmark.cli import RESUMING, cli, main, stopped
from benchmark.recipes import batch_for
from tests.needs import ROOT, needs_blender, needs_bpy


def gr3d(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmark.cli", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(cwd or ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=cwd or ROOT, env=environment)


def every_command(group, *above):
    """Words that call a group, each command and each group in it."""
    yield above
    for name, command in group.commands.items():
        yield from every_command(command, *above, name) if isinstance(command, click.Group) else [(*above, name)]


@pytest.mark.parametrize("words", list(every_command(cli)), ids=" ".join)
def test_help_has_an_example(words):
    done = gr3d(*words, "--help")
    assert done.returncode == 0, done.stderr
    if words:
        assert "xample" in done.stdout and f"gr3d {' '.join(words)}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["paint"], 2, "paint"),
        (["train", "--colour"], 2, "--colour"),
        (["train", "--data", "nowhere"], 1, "nowhere"),
        (["train", "--objective", "magic"], 2, "--objective magic"),
        (["train", "--positives", "nowhere.npz"], 2, "--positives nowhere.npz"),
        (["neighbours"], 2, "--run RUN or --model"),
        (["regress-latents"], 2, "gr3d train"),
        (["regress-latents", "nowhere"], 1, "nowhere"),
        (["regress-latents", "--side", "64"], 2, "--side: only with --model"),
        (["regress-latents", "--model", "timm:resnet50"], 1, "data/gr3d"),
        (["probe"], 2, "gr3d train"),
        (["probe", "nowhere"], 1, "nowhere"),
        (["probe", "--epochs", "3"], 2, "--epochs: only with --solver sgd"),
        (["probe", "--judge", "fog"], 2, "--judge fog: say NAME=DATASET"),
        (["plot"], 1, "gr3d regress-latents"),
        (["verify", "nowhere"], 2, "nowhere"),
        (["samples", "nowhere"], 1, "nowhere"),
        (["objects", "nowhere"], 2, "nowhere"),
        (["samples", "data", "--objects", "procedural"], 2, "not both"),
        (["samples", "--objects", "procedural:chair", "--object", "sofa"], 2, "--object sofa"),
        (["samples", "--objects", "procedural:chair", "--columns", "99"], 2, "--columns 99"),
        (["convert", "3diebench", "nowhere", "--out", "data"], 2, "nowhere"),
        (["convert", "imagenet", "nowhere", "--out", "data"], 2, "3diebench"),
        (["pack", "nowhere", "--out", "data"], 1, "nowhere"),
        (["pack", "cifar11:data", "--out", "data"], 2, "no kind of dataset 'cifar11'"),
        (["pack", "cifar10:nowhere", "--out", "data"], 1, "University of Toronto"),
        (["pack", "fashion-mnist", "--share", "2", "--out", "data"], 2, "--share 2.0"),
        (["pack", "fashion-mnist", "--severity", "3", "--out", "data"], 2, "give --corrupt, too"),
        (["pack", "fashion-mnist", "--corrupt", "", "--out", "data"], 2, "--corrupt ''"),
        (["pack", "fashion-mnist", "--corrupt", "fog", "--severity", "1,,3", "--out", "data"], 2, "--severity '1,,3'"),
        (["pack", "fashion-mnist", "--splits", "train,", "--out", "data"], 2, "--splits 'train,'"),
        (["figure", "99"], 2, "99"),
        (["figure", "2", "--scale", "planet"], 2, "--scale planet"),
        (["figure", "7", "--scale", "planet"], 2, "figure 7 has demo, small, paper"),
        (["figure", "7", "--seeds", "2"], 2, "--seeds: not of figure 7"),
        (["figure", "7", "--data", "a", "--objects", "b"], 2, "--objects: what to render; not with --data"),
        (["rcdm", "train", "nowhere", "--data", "nowhere"], 1, "nowhere"),
        (["rcdm", "sample", "nowhere", "--data", "nowhere", "--layers", ","], 2, "--layers: name layers"),
        (["rcdm", "sample", "nowhere", "--data", "nowhere"], 1, "nowhere: not a run of gr3d train"),
        (["figure", "1", "--scale", "planet"], 2, "--scale planet"),
        (["figure", "1", "--scale", "paper"], 2, "--data imagenet:PATH"),
        (["figure", "1", "--data", "nowhere"], 1, "nowhere"),
        (["figure", "1", "--objects", "procedural"], 2, "others take --data"),
        (["figure", "2", "--data", "nowhere"], 2, "--data: not of figure 2"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path, monkeypatch, capfd, arguments, code, says):
    """In this process: that each imports torch anew would take most of the time."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(arguments)
    errors = capfd.readouterr().err
    assert says in errors.strip().splitlines()[-1]
    assert "Traceback" not in errors
    assert end.value.code == code
    assert not (tmp_path / "nowhere").exists()


def test_a_process_ends_with_that_line_and_code(tmp_path):
    done = gr3d("train", "--data", "nowhere", cwd=tmp_path)
    assert "nowhere" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert done.returncode == 1


def test_objects_as_json(tmp_path):
    done = gr3d("objects", "procedural:chair", "--json", cwd=tmp_path)
    listed = json.loads(done.stdout)
    assert {ref["category"] for ref in listed["objects"]} == {"chair"}


def test_figure_list_names_the_scales():
    listed = gr3d("figure", "--list").stdout
    assert "2 --scale small" in listed and "8: " in listed


@pytest.mark.slow
@needs_bpy
@pytest.mark.parametrize("command", [["figure", "8"], ["samples", "--columns", "8", "--resolution", "16"]])
def test_figure_8_of_one_object(tmp_path, command):
    out = tmp_path / "out"
    done = gr3d(*command, "--objects", "procedural:chair", "--object", "chair-00002", "--out", str(out), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert [path.suffix for path in paths] == [".png", ".svg", ".csv"] and all(path.is_file() for path in paths)
    assert len(paths[2].read_text().splitlines()) == 1 + 7 * 8


@pytest.mark.parametrize(("images", "batch"), [(None, 256), (5000, 256), (1000, 128), (120, 16), (3, 2)])
def test_small_datasets_get_small_batches(images, batch):
    assert batch_for(images, 256) == batch


@pytest.mark.slow
@needs_bpy
@needs_blender
def test_bare_commands_in_order(tmp_path):
    """What the README promises, in a folder with nothing in it; only n and the epochs are small."""
    script = str(ROOT / "renderer" / "render.py")
    options = ["--n", "160", "--resolution", "32"]
    drawn = subprocess.run(
        ["blender", "-b", "-P", script, "--", *options], capture_output=True, text=True, timeout=280, cwd=tmp_path
    )
    assert drawn.returncode == 0, drawn.stderr
    for command in (
        ["verify"],
        ["samples"],
        ["train", "--epochs", "1"],
        ["train", "--objective", "rotation", "--epochs", "1"],
        ["regress-latents"],
        ["plot"],
    ):
        done = gr3d(*command, cwd=tmp_path)
        assert done.returncode == 0, (command, done.stderr)
    assert (tmp_path / "data/gr3d/contact-sheet.png").exists()
    for ending in ("png", "svg", "csv"):
        assert (tmp_path / f"runs/regression/figure2.{ending}").stat().st_size > 1000
    found = json.loads(gr3d("regress-latents", "--json", cwd=tmp_path).stdout)
    assert {row["network"] for row in found["rows"]} == {"simclr", "rotation", "untrained", "pixels 8x8"}
    assert {entry["network"] for entry in found["recommendations"]} == {"simclr", "rotation"}


def test_whoever_interrupts_is_told_what_becomes_of_it():
    assert stopped(["regress-latents", "runs/simclr"]) == "stopped; the same command resumes"
    assert stopped(["--debug", "render", "--n", "3"]) == "stopped; the same command resumes"
    assert stopped(["plot", "runs/regression"]) == "stopped; nothing was written"
    assert set(RESUMING) <= set(cli.commands)
