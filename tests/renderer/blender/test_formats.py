"""Every format that Blender reads: a cube comes out the right way up and in its colours."""

import struct

import numpy as np
import pytest
from PIL import Image

from tests.renderer.blender.helpers import REST, hue, hue_distance, make, model, project

HALF = 0.82 / np.sqrt(3)
FRONT, TOP = np.array([0, -HALF, 0]), np.array([0, 0, HALF])
GREEN, BLUE = 1 / 3, 2 / 3


@pytest.fixture(scope="module")
def made(blender, tmp_path_factory):
    return make(blender, tmp_path_factory.mktemp("made"), "all")


def middle(image: np.ndarray, point: np.ndarray) -> np.ndarray:
    row, column = (round(c) for c in project(point))
    return image[row - 1 : row + 2, column - 1 : column + 2].mean(axis=(0, 1))


@pytest.mark.parametrize("name", ["cube.fbx", "cube.blend", "packed.blend"])
def test_a_cube_is_the_right_way_up_and_in_its_colours(worker, made, name, blender):
    if name == "packed.blend" and blender == "blender" and (made / name).read_bytes()[:2] != b"\x1f\x8b":
        assert "compressed" in worker.visit(model(made / name), {0: REST})[-1]["reason"]
        return
    image = worker.render(model(made / name), floor_hue=0.8)
    assert hue_distance(hue(middle(image, FRONT)), GREEN) < 0.06
    assert hue_distance(hue(middle(image, TOP)), BLUE) < 0.12


@pytest.mark.parametrize("suffix", ["usd", "usda", "usdc", "usdz"])
def test_usd(worker, made, suffix, blender):
    path = made / f"cube.{suffix}"
    if not path.exists():
        path.write_bytes(b"#usda 1.0\n")
        reason = worker.visit(model(path), {0: REST})[-1]["reason"]
        assert blender == "blender" and "cannot read USD" in reason
        return
    image = worker.render(model(path), floor_hue=0.8)
    assert hue_distance(hue(middle(image, FRONT)), GREEN) < 0.06
    assert hue_distance(hue(middle(image, TOP)), BLUE) < 0.12


def test_ply_shows_its_vertex_colours_and_is_z_up(worker, tmp_path):
    faces = {(0, 255, 0): (-1, -1), (0, 0, 255): (2, 1), (255, 255, 255): (-1, 1)}  # colour -> the axis it is across
    lines = ["ply", "format ascii 1.0", f"element vertex {4 * len(faces)}"]
    lines += [*(f"property float {name}" for name in "xyz"), *(f"property uchar {c}" for c in ("red", "green", "blue"))]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    for colour, (axis, side) in faces.items():
        for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            x, y, z = (u, v, side) if axis == 2 else (u, side, v)
            lines.append(" ".join(map(str, (x, y, z, *colour))))
    lines += [f"4 {n} {n + 1} {n + 2} {n + 3}" for n in range(0, 4 * len(faces), 4)] + [""]
    (tmp_path / "cube.ply").write_text("\n".join(lines))
    image = worker.render(model(tmp_path / "cube.ply"), floor_hue=0.8)
    assert hue_distance(hue(middle(image, FRONT)), GREEN) < 0.06
    assert hue_distance(hue(middle(image, TOP)), BLUE) < 0.12


def test_stl_is_grey_and_z_up(worker, made, tmp_path):
    triangles = [
        ((0, 0, 0), (1, 0, 0), (0, 0, 4)),
        ((0, 0, 0), (0, 1, 0), (0, 0, 4)),
        ((0, 0, 0), (1, 0, 0), (0, 1, 0)),
    ]
    spike = b" " * 80 + struct.pack("<I", len(triangles))
    for triangle in triangles:
        spike += struct.pack("<12fH", 0, 0, 0, *(c for point in triangle for c in point), 0)
    (tmp_path / "spike.stl").write_bytes(spike)
    for path in (made / "cube.stl", tmp_path / "spike.stl"):
        image = worker.render(model(path), floor_hue=0.8)
        assert hue_distance(hue(middle(image, np.zeros(3))), 0) < 0.2  # the spot's, as grey is
    shown = np.abs(image - image[:3].mean(axis=(0, 1))).max(axis=2) > 0.15
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    assert np.ptp(rows) > 1.5 * np.ptp(columns), "the spike does not point upwards"


def test_the_texture_that_a_ply_names_is_shown(worker, tmp_path):
    Image.new("RGB", (4, 4), (40, 40, 230)).save(tmp_path / "blue.png")
    corners = [(-1, 0, -1), (1, 0, -1), (1, 0, 1), (-1, 0, 1)]
    lines = ["ply", "format ascii 1.0", "comment TextureFile blue.png", "element vertex 4"]
    lines += [f"property float {name}" for name in "xyzst"]
    lines += ["element face 1", "property list uchar int vertex_indices", "end_header"]
    lines += [f"{x} {y} {z} 0.5 0.5" for x, y, z in corners] + ["4 0 1 2 3", ""]
    (tmp_path / "plate.ply").write_text("\n".join(lines))
    ref = model(tmp_path / "plate.ply")
    assert hue_distance(hue(middle(worker.render(ref), np.zeros(3))), BLUE) < 0.04
    (tmp_path / "blue.png").unlink()
    assert "texture replaced by grey" in worker.visit(ref, {0: REST})[0]["notes"][0]


def test_a_texture_named_by_the_path_of_another_machine_is_found_beside_the_model(worker, tmp_path):
    Image.new("RGB", (4, 4), (40, 40, 230)).save(tmp_path / "blue.png")
    (tmp_path / "m.mtl").write_text("newmtl m\nmap_Kd C:\\Users\\me\\blue.png\n")
    plate = "mtllib m.mtl\nv -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\nvt 0 0\nusemtl m\nf 1/1 2/1 3/1 4/1\n"
    (tmp_path / "m.obj").write_text(plate)
    image = worker.render(model(tmp_path / "m.obj"))
    assert hue_distance(hue(middle(image, np.zeros(3))), BLUE) < 0.04


def test_ascii_fbx_is_read_or_refused_by_name(worker, tmp_path, blender):
    (tmp_path / "text.fbx").write_text("; FBX 6.1.0 project file\nFBXHeaderExtension:  {\n}\n")
    reason = worker.visit(model(tmp_path / "text.fbx"), {0: REST})[-1]["reason"]
    assert ("ASCII" in reason) if blender == "blender" else ("no mesh" in reason or "importer" in reason)
