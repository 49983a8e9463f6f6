"""The look at an object's own pixels: what it refuses, and that it leaves no trace in any image."""

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from renderer.command import find_blender
from tests.needs import ROOT
from tests.renderer.blender.helpers import REST, model, program, white_box
from tests.renderer.blender.test_importers import gltf, quarantined, textured

SAME = """
import json, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from assets.catalog import ObjectRef, load_object
from renderer.blender import booth, engine, importers, scene
stage, seen_in = scene.build_stage(), booth.build_booth()
engine.configure(stage.scene, 32, "fast", "png", "cpu")
import bpy
folder = Path({folder!r})
surface, materials, _ = importers.make_subject(load_object(ObjectRef(**json.loads({ref!r})), folder))
scene.put_on_stage(stage, surface, materials)
for name in ("without", "first", "again"):
    if name != "without":
        booth.look_at(seen_in, stage.subject, folder)
    for number, yaw in enumerate((0.0, 0.7)):
        scene.pose(stage, {{**{rest!r}, "yaw": yaw}})
        stage.scene.render.filepath = str(folder / f"{{name}}{{number}}.png")
        bpy.ops.render.render(write_still=True)
"""


def test_it_leaves_the_images_as_they_are(blender, tmp_path):
    ref = {"id": "box", "source": "directory", "category": "x", "path": white_box(tmp_path / "box.obj").path}
    script = tmp_path / "same.py"
    script.write_text(SAME.format(root=str(ROOT), folder=str(tmp_path), ref=json.dumps(ref), rest=REST))
    command = find_blender(program(blender))
    at = next(number for number, word in enumerate(command) if word.endswith("worker.py"))
    done = subprocess.run([*command[:at], str(script), *command[at + 1 :]], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    pictures = {name: [np.asarray(Image.open(tmp_path / f"{name}{k}.png")) for k in range(2)] for name in NAMES}
    for name in NAMES[1:]:
        for one, other in zip(pictures["without"], pictures[name], strict=True):
            assert np.array_equal(one, other), name
    assert not np.array_equal(*pictures["without"])


NAMES = ("without", "first", "again")


def test_a_thread_that_nobody_could_see_is_quarantined(worker, tmp_path):
    thread = white_box(tmp_path / "thread.obj", (1, 0.002, 0.002))
    assert "% of the image, less than 0.5%" in quarantined(worker, thread)
    rod = white_box(tmp_path / "rod.obj", (1, 0.05, 0.05))
    assert worker.visit(rod, {0: REST})[-1]["event"] == "visit_done"


def test_the_verdict_does_not_depend_on_what_came_before(worker, tmp_path):
    thread = white_box(tmp_path / "thread.obj", (1, 0.002, 0.002))
    before = quarantined(worker, thread)
    worker.render(white_box(tmp_path / "box.obj"))
    assert quarantined(worker, thread) == before


def test_glass_that_hardly_shows_is_quarantined(worker, tmp_path):
    content = gltf(tmp_path / "pane.gltf")
    content["nodes"][0]["scale"] = [1, 0.05, 0.01]
    content["materials"][0] = {"alphaMode": "BLEND", "pbrMetallicRoughness": {"baseColorFactor": [1, 1, 1, 0.011]}}
    (tmp_path / "pane.gltf").write_text(json.dumps(content))
    assert "less than 0.5%" in quarantined(worker, model(tmp_path / "pane.gltf"))


@pytest.mark.parametrize("painted", [True, False])
def test_blenders_magenta_is_quarantined_and_magenta_paint_is_not(worker, tmp_path, painted):
    if painted:
        ref = white_box(tmp_path / "paint.obj")
        (tmp_path / "paint.mtl").write_text("newmtl white\nKd 1 0 1\n")
        assert worker.visit(ref, {0: REST})[-1]["event"] == "visit_done"
    else:  # a picture of that colour stands for one that Cycles cannot read: the others never get that far
        Image.new("RGB", (4, 4), (255, 0, 255)).save(tmp_path / "t.png")
        assert "magenta" in quarantined(worker, replace(textured(tmp_path, "t.png"), id="magenta"))


def test_it_is_asked_once_per_object(worker, tmp_path):
    ref = white_box(tmp_path / "once.obj")
    assert worker.visit(ref, {0: REST})[-1]["event"] == "visit_done"
    assert worker.visit(model(tmp_path / "once.obj"), {1: REST})[-1]["event"] == "visit_done"
    assert (worker.spool / "000000000.png").read_bytes() == (worker.spool / "000000001.png").read_bytes()
