"""Model files: what comes out of them, and what is quarantined, in rendered pixels where it shows."""

import base64
import json
import re
import struct

import numpy as np
import pytest
from PIL import Image

from tests.renderer.blender.helpers import (
    CUBE_FACES,
    CUBE_POINTS,
    FACE_HUES,
    REST,
    hue,
    hue_distance,
    linear,
    marked_cube,
    model,
    project,
    white_box,
    write_obj,
)

HALF = 0.82 / np.sqrt(3)
FRONT = np.array([0, -HALF, 0])


def quarantined(worker, ref) -> str:
    """The reason for which the object is quarantined; the worker must go on after it."""
    event = worker.visit(ref, {7: REST})[-1]
    assert event["event"] == "quarantine"
    assert event["object_id"] == ref.id
    assert not (worker.spool / "000000007.png").exists()
    return event["reason"]


def middle(image: np.ndarray, point: np.ndarray) -> np.ndarray:
    row, column = (round(c) for c in project(point))
    return image[row - 1 : row + 2, column - 1 : column + 2].mean(axis=(0, 1))


def gltf(path, colour=(1, 1, 1), **extra) -> dict:
    """A cube as one .gltf with its buffer inside; FRONT is +z in the file."""
    triangles = [c for a, b, d, e in CUBE_FACES.values() for c in (a, b, d, a, d, e)]
    points = np.array(CUBE_POINTS, np.float32).tobytes()
    data = points + np.array(triangles, np.uint16).tobytes()
    content = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]}],
        "materials": [
            {
                "doubleSided": True,
                "pbrMetallicRoughness": {"baseColorFactor": [*linear(colour), 1], "metallicFactor": 1},
            }
        ],
        "buffers": [{"byteLength": len(data), "uri": "data:;base64," + base64.b64encode(data).decode()}],
        "bufferViews": [
            {"buffer": 0, "byteLength": len(points)},
            {"buffer": 0, "byteOffset": len(points), "byteLength": len(data) - len(points)},
        ],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": 5126,
                "count": 8,
                "type": "VEC3",
                "min": [-1, -1, -1],
                "max": [1, 1, 1],
            },
            {"bufferView": 1, "componentType": 5123, "count": len(triangles), "type": "SCALAR"},
        ],
        **extra,
    }
    path.write_text(json.dumps(content))
    return content


COLLADA = """<?xml version="1.0"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><created>2020-01-01T00:00:00</created><modified>2020-01-01T00:00:00</modified><up_axis>Z_UP</up_axis></asset>
<library_effects><effect id="e"><profile_COMMON><technique sid="t"><lambert><diffuse>
<color>0.02 0.7 0.02 1</color></diffuse></lambert></technique></profile_COMMON></effect></library_effects>
<library_materials><material id="m"><instance_effect url="#e"/></material></library_materials>
<library_geometries><geometry id="g"><mesh>
<source id="p"><float_array id="pa" count="12">-1 0 -1 1 0 -1 1 0 1 -1 0 1</float_array><technique_common>
<accessor source="#pa" count="4" stride="3"><param name="X" type="float"/><param name="Y" type="float"/>
<param name="Z" type="float"/></accessor></technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
<triangles material="m" count="2"><input semantic="VERTEX" source="#v" offset="0"/><p>0 1 2 0 2 3</p></triangles>
</mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="s"><node id="n"><instance_geometry url="#g"><bind_material><technique_common>
<instance_material symbol="m" target="#m"/></technique_common></bind_material></instance_geometry></node>
</visual_scene></library_visual_scenes><scene><instance_visual_scene url="#s"/></scene></COLLADA>
"""


def test_the_front_of_an_obj_faces_the_camera(worker, tmp_path):
    image = worker.render(marked_cube(tmp_path / "cube.obj"))
    assert hue_distance(hue(middle(image, FRONT)), FACE_HUES[(0, -1, 0)]) < 0.05
    assert hue_distance(hue(middle(image, np.array([0, 0, HALF]))), FACE_HUES[(0, 0, 1)]) < 0.1


@pytest.mark.parametrize("suffix", ["gltf", "glb"])
def test_a_gltf_keeps_its_colour_though_it_is_metal(worker, tmp_path, suffix):
    path = tmp_path / f"cube.{suffix}"
    gltf(path, (0.2, 0.9, 0.2))
    if suffix == "glb":
        content = path.read_bytes() + b" " * (-path.stat().st_size % 4)
        chunk = struct.pack("<I4s", len(content), b"JSON") + content
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunk)) + chunk)
    colour = middle(worker.render(model(path)), FRONT)
    assert hue_distance(hue(colour), 1 / 3) < 0.03
    assert colour.max() > 0.25


def test_collada_is_read_or_refused(worker, blender, tmp_path):
    (tmp_path / "plate.dae").write_text(COLLADA)
    if blender == "bpy5":
        assert "5.0" in (reason := quarantined(worker, model(tmp_path / "plate.dae"))) and "Collada" in reason
        return
    colour = middle(worker.render(model(tmp_path / "plate.dae")), np.zeros(3))
    assert hue_distance(hue(colour), 1 / 3) < 0.05


@pytest.mark.parametrize(
    "texture", ["missing.png", "../outside.png", "broken.png"], ids=["missing", "outside the folder", "broken"]
)
def test_a_texture_that_cannot_be_used_is_grey_and_noted(worker, tmp_path, texture):
    folder = tmp_path / "model"
    folder.mkdir()
    Image.new("RGB", (4, 4), (255, 0, 255)).save(tmp_path / "outside.png")
    (folder / "broken.png").write_bytes(b"\x89PNG and nothing more")
    ref = textured(folder, texture)
    events = worker.visit(ref, {0: {**REST, "floor_hue": 0.33}})
    assert any(texture.removeprefix("../") in note for note in events[0]["notes"])
    image = worker.render(ref, floor_hue=0.33)
    colour = middle(image, FRONT)
    assert colour.max() - colour.min() < 0.12
    assert colour.max() > 0.2


def test_a_texture_of_the_models_folder_shows(worker, tmp_path):
    Image.new("RGB", (4, 4), (40, 40, 230)).save(tmp_path / "blue.png")
    ref = textured(tmp_path, "blue.png")
    assert worker.visit(ref, {0: REST})[0]["notes"] == []
    assert hue_distance(hue(middle(worker.render(ref), FRONT)), 2 / 3) < 0.04


def textured(folder, texture: str):
    ref = white_box(folder / "box.obj")
    material = folder / "box.mtl"
    material.write_text(material.read_text() + f"map_Kd {texture}\n")
    lines = (folder / "box.obj").read_text().replace("mtllib", "vt 0.5 0.5\nmtllib").splitlines()
    lines = [
        " ".join(["f", *(f"{corner}/1" for corner in line.split()[1:])]) if line.startswith("f ") else line
        for line in lines
    ]
    (folder / "box.obj").write_text("\n".join(lines) + "\n")
    return ref


def test_doubled_faces_do_not_speckle(worker, tmp_path):
    faces = list(CUBE_FACES.values())
    again = [triangle for a, b, c, d in faces for triangle in ((b, c, d), (b, d, a))]
    grey = {"one": (0.6, 0.6, 0.6), "two": (0.6, 0.6, 0.6)}
    doubled = write_obj(tmp_path / "doubled.obj", CUBE_POINTS, {"one": faces, "two": [f[::-1] for f in again]}, grey)
    once = write_obj(tmp_path / "once.obj", CUBE_POINTS, {"one": faces}, grey)
    assert np.abs(worker.render(doubled, yaw=0.5) - worker.render(once, yaw=0.5)).max() < 0.15


def test_faces_of_fewer_than_three_corners_do_no_harm(worker, tmp_path):
    ref = white_box(tmp_path / "box.obj")
    with open(ref.path, "a") as file:
        file.write("f 1 2\nf 1\nf 1 1 2\n")
    assert worker.visit(ref, {0: REST})[-1]["event"] == "visit_done"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.obj", "", "no mesh|no faces"),
        ("points.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\n", "no mesh|no faces"),
        ("nan.obj", "v 0 0 0\nv 1 0 0\nv nan 1 0\nf 1 2 3\n", "finite|importer"),
        ("flat.obj", "v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n", "size of 0|no mesh|no faces|degenerate"),
        ("clear.obj", "mtllib clear.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl clear\nf 1 2 3\n", "transparent"),
        ("garbage.glb", "glTF this is none", "not a glTF file"),
        ("garbage.gltf", "{", "not a glTF file"),
        ("old.gltf", '{"asset": {"version": "1.0"}}', "glTF 1.0"),
        ("garbage.dae", "<COLLADA", "importer|no mesh|cannot read Collada"),
        ("model.skp", "SketchUp", "SketchUp.*glb"),
        ("model.xyz", "what", "not one of"),
    ],
)
def test_what_cannot_be_used_is_quarantined_with_the_reason(worker, tmp_path, name, content, reason):
    (tmp_path / "clear.mtl").write_text("newmtl clear\nKd 1 1 1\nd 0\n")
    (tmp_path / name).write_text(content)
    assert re.search(reason, quarantined(worker, model(tmp_path / name)))


def test_compressed_gltf_and_buffers_elsewhere_are_refused(worker, tmp_path):
    gltf(tmp_path / "draco.gltf", extensionsRequired=["KHR_draco_mesh_compression"])
    assert "Draco" in quarantined(worker, model(tmp_path / "draco.gltf"))
    gltf(tmp_path / "far.gltf", buffers=[{"byteLength": 8, "uri": "../../secret.bin"}])
    assert "outside" in quarantined(worker, model(tmp_path / "far.gltf"))
    assert "gone" in quarantined(worker, model(tmp_path / "nothing.obj"))
