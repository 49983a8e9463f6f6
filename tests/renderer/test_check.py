"""`gr3d objects --check`: a verdict for every object, whatever it does to the worker; the sheet shows them."""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assets.catalog import load_catalog
from renderer import check, pool
from renderer.command import find_blender
from renderer.render import give_devices
from tests.needs import ROOT, needs_bpy

pytestmark = needs_bpy


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two good models, one that is empty, one that lies, and what Blender cannot read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    models = tmp_path / "models"
    models.mkdir()
    cube = ["v -1 -1 -1", "v 1 -1 -1", "v 1 1 -1", "v -1 1 -1", "v 0 0 1", "f 1 2 3 4", "f 1 2 5", "f 2 3 5", "f 3 4 5"]
    for name in ("a", "b"):
        (models / f"{name}.obj").write_text("\n".join([*cube, f"# {name}", ""]))
    (models / "empty.obj").write_text("v 0 0 0\n")
    (models / "lies.stl").write_bytes(bytes(80) + struct.pack("<I", 0xFFFFFFFF) + bytes(50))
    (models / "old.skp").write_text("SketchUp")
    return models


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmark.cli", "objects", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT)


def test_every_object_gets_a_verdict_and_the_sheet_shows_them(folder, tmp_path):
    sheet = tmp_path / "sheet.png"
    done = run(str(folder), "--check", "--json", "--workers", "1", "--sheet", str(sheet))
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    reasons = {Path(row["path"]).name: row["reason"] for row in report["objects"]}
    assert reasons["a.obj"] == reasons["b.obj"] == ""
    assert "no mesh" in reasons["empty.obj"] and "more than it can hold" in reasons["lies.stl"]
    assert "Collada" in report["left_out"]["old.skp"]
    picture = np.asarray(Image.open(sheet)).astype(int)
    shown = picture[4:100, 4:100]  # the first thumbnail: a light object in the middle of a bluish floor
    assert shown[48, 48].min() > 90 and shown[3, 3, 2] > shown[3, 3, 0] + 20
    assert "checked 4/4" in done.stderr and "2 quarantined" in done.stderr


def test_all_fine_is_exit_code_0_and_text(folder, tmp_path):
    for name in ("empty.obj", "lies.stl", "old.skp"):
        (folder / name).unlink()
    done = run(str(folder), "--check", "--sheet", str(tmp_path / "sheet.png"))
    assert done.returncode == 0, done.stderr
    assert "2 ok, 0 quarantined, 0 left out" in done.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--sheet", "x.png"], "--sheet: only with --check"),
        (["--check", "--sheet", "x.gif"], ".png"),
        (["--check", "--workers", "many"], "--workers many"),
        (["--check", "--blender", "/nonexistent"], "/nonexistent"),
        (["--categories", "/nonexistent.csv"], "/nonexistent.csv"),
    ],
)
def test_wrong_usage_is_one_line(folder, options, says):
    done = run(str(folder), *options)
    assert done.returncode == 2
    assert says in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_an_object_that_kills_or_stops_blender_is_quarantined_alone(folder, tmp_path, monkeypatch):
    """Workers that are handed a certain object are killed, those that are handed another stand still."""
    send = pool.Worker.send

    def harm(self, message):
        send(self, message)
        how = {"a": signal.SIGSEGV, "empty": signal.SIGSTOP}.get(Path(message["object"]["path"]).stem)
        if how is not None:
            os.kill(self.process.pid, how)

    monkeypatch.setattr(pool.Worker, "send", harm)
    monkeypatch.setattr(check, "Limits", lambda: pool.Limits(start=120, load=15))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    catalog = load_catalog(str(folder), folder)
    command = find_blender(None)
    _, seats = give_devices(command, "cycles", "cpu", "1", None)
    verdicts = check.check_objects(catalog.objects, command, seats, scratch)
    reasons = {Path(verdict.object.path).stem: verdict.reason for verdict in verdicts}
    assert "SIGSEGV" in reasons["a"] and "hung" in reasons["empty"]
    assert reasons["b"] == "" and "more than it can hold" in reasons["lies"]
    assert [verdict.thumbnail is not None for verdict in verdicts].count(True) == 1
    shutil.rmtree(scratch)
