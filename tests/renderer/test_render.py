"""Whole runs of the renderer with a real Blender: reproducible, resumable, hard to kill, readable by others."""

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import webdataset

from renderer.latents import quaternion, sample_latents
from tests.needs import ROOT, needs_blender, needs_bpy
from tests.renderer.runs import N, arguments, run, shards, wait_for_images

pytestmark = needs_bpy


def test_shards_hold_every_sample_with_its_latents(whole):
    urls = sorted(str(path) for path in whole.glob("*.tar"))
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil"))
    assert sorted(s["json"]["index"] for s in samples) == list(range(N))
    for sample in samples:
        labels = sample["json"]
        assert labels["latents"] == sample_latents(5, labels["index"])
        assert labels["quaternion"] == list(quaternion(labels["latents"]))
        assert sample["__key__"] == f"{labels['index']:09d}"
        assert sample["jpg"].size == (32, 32)
        assert Path(sample["__url__"]).name.startswith(labels["split"] + "-")


def test_hugging_face_reads_every_split(whole, tmp_path):
    import datasets

    # Its common cache knows folders by their last name and shards by theirs: another test's dataset would be read.
    loaded = datasets.load_dataset(str(whole), cache_dir=str(tmp_path))
    assert {name: len(part) for name, part in loaded.items()} == {"train": 36, "probe": 12, "val_views": 3, "val": 9}
    first = loaded["val_views"][0]
    assert first["json"]["split"] == "val_views" and first["jpg"].size == (32, 32)


def test_report_and_card_say_what_is_there(whole):
    report = json.loads((whole / "report.json").read_text())
    assert report["in_shards"] == report["rendered_in_this_run"] == N
    assert report["skipped"] == 0 and report["quarantined"] == {}
    card = (whole / "README.md").read_text()
    assert "path: val_views-*.tar" in card and "CC0" in card
    assert "chair-" in (whole / "objects.csv").read_text()


def test_one_worker_gives_the_same_bytes(whole, tmp_path):
    assert run(tmp_path / "one", N, "--workers", "1").returncode == 0
    assert shards(tmp_path / "one") == shards(whole)


def test_larger_n_adds_samples_to_what_is_there(whole, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(whole, out)
    done = run(out, 100)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "report.json").read_text())["rendered_in_this_run"] == 40
    assert run(tmp_path / "fresh", 100).returncode == 0
    assert shards(out) == shards(tmp_path / "fresh")


def test_another_dataset_in_the_folder_is_refused(whole, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(whole, out)
    refused = run(out, N, "--seed", "6")
    assert refused.returncode == 2
    assert "seed 5, not 6" in refused.stderr and refused.stderr.count("\n") <= 3
    assert shards(out) == shards(whole)


def test_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    refused = run(tmp_path)
    assert refused.returncode == 2 and "thesis.tex" in refused.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--objects", "/nonexistent/models"], "/nonexistent/models"),
        (["--objects", "procedural:dragon"], "dragon"),
        (["--blender", "/nonexistent/blender"], "/nonexistent/blender"),
        (["--workers", "many"], "--workers many"),
        (["--splits", "train=0.5"], "--splits"),
        (["--n", "0"], "--n 0"),
        (["--device", "cuda"], "cuda"),
        (["--colour", "red"], "--colour"),
        (["--out", "/proc/nothing"], "/proc/nothing"),
    ],
)
def test_bad_options_are_one_clear_line(tmp_path, options, says):
    refused = run(tmp_path / "data", N, *options)
    assert refused.returncode in (1, 2)
    assert says in refused.stderr.strip().splitlines()[-1]
    assert "Traceback" not in refused.stderr


@needs_blender
def test_inside_debians_blender(tmp_path):
    """The headline command, in a Blender that is not ours."""
    out = tmp_path / "data"
    command = ["blender", "-b", "-P", str(ROOT / "renderer" / "render.py"), "--", *arguments(out, 20)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (out / "report.json").exists() and (out / "README.md").exists()
    record = json.loads((out / "dataset.json").read_text())
    assert record["blender"].startswith(subprocess.getoutput("blender --version").split()[1])
    assert sum(s["samples"] for s in json.loads((out / "checksums.json").read_text()).values()) == 20
    other = run(out, 40)  # the bpy wheel draws other pixels
    assert other.returncode == 1 and "was begun with Blender" in other.stderr


@needs_blender
def test_ctrl_c_inside_debians_blender(tmp_path):
    out = tmp_path / "data"
    command = ["blender", "-b", "-P", str(ROOT / "renderer" / "render.py"), "--", *arguments(out, 400)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as in a terminal, not as in a script
    )
    wait_for_images(out, process, 12)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "the same command resumes" in errors
    assert "Traceback" not in errors
    sealed = json.loads((out / "checksums.json").read_text())
    assert sum(s["samples"] for s in sealed.values()) >= 12  # what is there can be worked with
    import datasets

    assert datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))["train"][0]["jpg"].size == (32, 32)


@needs_blender
def test_bad_option_inside_blender_keeps_the_exit_code(tmp_path):
    command = ["blender", "-b", "-P", str(ROOT / "renderer" / "render.py"), "--", "--n", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 2 and "--n 0" in done.stderr


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="no system Python")
@needs_blender  # with which Debian brings numpy to its own Python
def test_neither_bpy_nor_blender_says_how_to_get_one(tmp_path):
    script = str(ROOT / "renderer" / "render.py")
    command = ["/usr/bin/python3", script, "--n", "10", "--out", "data", "--objects", "procedural:chair"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env={"PATH": "/nowhere"})
    assert done.returncode == 1
    assert "pip install bpy" in done.stderr and "apt-get install blender" in done.stderr
    assert not (tmp_path / "data").exists()
