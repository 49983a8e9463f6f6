"""Files made to do harm, or broken as if they were: each gets its verdict, and nothing but that happens."""

import gzip
import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.renderer.blender.helpers import REST, hue, make, model, project, white_box
from tests.renderer.blender.test_importers import COLLADA, gltf, quarantined, textured


def verdict(worker, path: Path) -> str:
    return quarantined(worker, model(path))


def test_no_script_driver_or_handler_of_a_blend_runs(blender, worker, tmp_path):
    folder = make(blender, tmp_path / "made", "trap")
    (folder / "caught").unlink(missing_ok=True)  # what ran while the file was made
    events = worker.visit(model(folder / "trap.blend"), {0: REST, 1: {**REST, "yaw": 1.0}})
    assert events[-1]["event"] == "visit_done"
    assert not (folder / "caught").exists(), (folder / "caught").read_text()
    worker.render(white_box(tmp_path / "box.obj"))  # nothing was left behind that runs later
    assert not (folder / "caught").exists()


def test_other_blend_files_are_never_opened(blender, worker, tmp_path):
    folder = make(blender, tmp_path / "made", "linked")
    for name in ("linked.blend", "linked_packed.blend"):
        reason = verdict(worker, folder / name)
        assert "another .blend file" in reason or (blender == "blender" and "save it uncompressed" in reason)
    (folder / "zipped.blend").write_bytes(gzip.compress((folder / "linked.blend").read_bytes()))  # as before 3.0
    assert "another .blend file" in verdict(worker, folder / "zipped.blend")


def test_a_blends_textures_outside_its_folder_are_grey_and_move_nothing(blender, worker, tmp_path):
    Image.new("RGB", (4, 4), (255, 0, 255)).save(tmp_path / "outside.png")
    folder = make(blender, tmp_path / "made", "foreign")
    notes = worker.visit(model(folder / "foreign.blend"), {0: REST})[0]["notes"]
    assert any("texture replaced by grey" in note and "outside.png" in note for note in notes)
    assert any("modifier taken off: push (displace)" in note for note in notes)
    image = worker.render(model(folder / "foreign.blend"), floor_hue=0.33)
    row, column = (round(c) for c in project(np.zeros(3)))
    assert image[row, column].max() - image[row, column].min() < 0.35  # grey under the red spot


@pytest.mark.slow
def test_modifiers_that_multiply_without_end(blender, worker, tmp_path):
    folder = make(blender, tmp_path / "made", "endless")
    events = ask(worker, folder / "endless.blend")
    assert events is None or events[-1]["event"] == "quarantine"
    assert alive_again(blender, tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no blend", "not a .blend"),
        (b"BLENDER-v", "not a .blend|damaged"),
        (b"BLENDER-v276" + b"REND", "damaged"),
        (b"BLENDER-v276" + struct.pack("<4siQii", b"DATA", 1 << 30, 0, 0, 1) * 3, "damaged"),
        (b"BLENDER-v276" + struct.pack("<4siQii", b"DATA", -5, 0, 0, 1), "more than 2048 MiB"),
        (b"\x1f\x8b and nothing", "damaged"),
        (b"\x28\xb5\x2f\xfd and nothing", "damaged|save it uncompressed"),
    ],
)
def test_damaged_blends(worker, tmp_path, content, reason):
    import re

    (tmp_path / "m.blend").write_bytes(content)
    assert re.search(reason, verdict(worker, tmp_path / "m.blend"))


def test_a_blend_that_unpacks_without_end(worker, tmp_path):
    block = struct.pack("<4siQii", b"DATA", 1 << 30, 0, 0, 1)
    with gzip.open(tmp_path / "bomb.blend", "wb", compresslevel=1) as file:
        file.write(b"BLENDER-v276")
        for _ in range(3):
            file.write(block)
            for _ in range(1 << 10):
                file.write(bytes(1 << 20))
    assert "would unpack to more" in verdict(worker, tmp_path / "bomb.blend")


USD = '#usda 1.0\n({})\ndef Mesh "m" ({}) {{ point3f[] points = [(0,0,0),(1,0,0),(0,1,0)]\n'
USD += "int[] faceVertexCounts = [3]\nint[] faceVertexIndices = [0,1,2] }}\n"


@pytest.mark.parametrize(
    ("layer", "prim"),
    [
        ("subLayers = [@../secret.usda@]", ""),
        ("subLayers = [@inner.usda@]", ""),
        ("", "references = @../secret.usda@</m>"),
        ("", "payload = @{absolute}@</m>"),
        ("", "references = @file://{absolute}@</m>"),
        ("", "references = @link.usda@</m>"),
    ],
)
def test_usd_files_are_not_made_of_files_elsewhere(worker, tmp_path, layer, prim):
    (tmp_path / "secret.usda").write_text(USD.format("", ""))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "inner.usda").write_text(USD.format("subLayers = [@../secret.usda@]", ""))
    (folder / "link.usda").symlink_to(tmp_path / "secret.usda")
    (folder / "m.usda").write_text(USD.format(layer, prim.format(absolute=tmp_path / "secret.usda")))
    reason = verdict(worker, folder / "m.usda")
    assert "outside the model's folder" in reason or "by a URI" in reason


def test_a_binary_usd_file_is_not_made_of_files_elsewhere(worker, tmp_path):
    from tests.assets.test_usd import crate

    (tmp_path / "s.usda").write_text(USD.format("", ""))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "m.usdc").write_bytes(crate(b"../s.usda\0"))
    assert "outside the model's folder" in verdict(worker, tmp_path / "model" / "m.usdc")


def test_obj_and_collada_are_not_made_of_files_elsewhere(worker, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.mtl").write_text("newmtl white\nKd 1 0 0\n")
    box = Path(white_box(folder / "box.obj").path)
    box.write_text(box.read_text().replace("box.mtl", "../secret.mtl"))
    assert "outside the model's folder: ../secret.mtl" in verdict(worker, box)
    (tmp_path / "secret.dae").write_text(COLLADA)
    for url in ("../secret.dae#g", f"file://{tmp_path}/secret.dae#g"):
        (folder / "m.dae").write_text(COLLADA.replace('url="#g"', f'url="{url}"'))
        assert "outside the model's folder" in verdict(worker, folder / "m.dae")


def test_xml_entities_are_refused(worker, tmp_path):
    laughs = '<!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b SYSTEM "file:///etc/passwd">]>'
    (tmp_path / "m.dae").write_text(COLLADA.replace('<?xml version="1.0"?>', '<?xml version="1.0"?>' + laughs))
    assert "XML entities" in verdict(worker, tmp_path / "m.dae")


@pytest.mark.parametrize("uri", ["../far.png", "{absolute}", "file://{absolute}"])
def test_textures_of_gltf_and_collada_elsewhere_are_grey(worker, tmp_path, uri):
    Image.new("RGB", (4, 4), (255, 0, 255)).save(tmp_path / "far.png")
    folder = tmp_path / "model"
    folder.mkdir()
    content = gltf(folder / "m.gltf")
    content["images"] = [{"uri": uri.format(absolute=tmp_path / "far.png")}]
    content["textures"] = [{"source": 0}]
    content["materials"][0]["pbrMetallicRoughness"] = {"baseColorTexture": {"index": 0}}
    (folder / "m.gltf").write_text(json.dumps(content))
    events = worker.visit(model(folder / "m.gltf"), {0: REST})
    if events[-1]["event"] == "visit_done":  # an importer may also refuse it
        image = worker.render(model(folder / "m.gltf"), spot_hue=0.33, floor_hue=0.33)
        row, column = (round(c) for c in project(np.zeros(3)))
        assert abs(hue(image[row, column]) - 0.33) < 0.1, "the magenta texture shows"


@pytest.mark.parametrize("name", ["texture.png", "box.mtl"])
def test_a_pipe_among_the_companions_is_not_waited_for(worker, tmp_path, name):
    ref = textured(tmp_path, "texture.png")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    assert "a pipe, socket or device" in quarantined(worker, ref)


CLAIMS = {
    "m.ply": b"ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\nproperty float x\nproperty float y\n"
    b"property float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n" + bytes(64),
    "text.ply": b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    b"element face 99999999999\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n",
    "m.stl": bytes(80) + struct.pack("<I", 0xFFFFFFFF) + bytes(50),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_headers_that_claim_billions(worker, tmp_path, name):
    (tmp_path / name).write_bytes(CLAIMS[name])
    assert "more than it can hold" in verdict(worker, tmp_path / name)


@pytest.mark.parametrize("change", [{"count": 4_000_000_000}, {"count": 1_000_000_000, "bufferView": None}])
def test_gltf_that_claims_billions(worker, tmp_path, change):
    content = gltf(tmp_path / "m.gltf")
    accessor = {**content["accessors"][0], **change}
    content["accessors"][0] = {name: value for name, value in accessor.items() if value is not None}
    (tmp_path / "m.gltf").write_text(json.dumps(content))
    assert "more than it can hold" in verdict(worker, tmp_path / "m.gltf")


def nan_ply(path: Path) -> None:
    header = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    path.write_text(
        header + "element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\nnan 1 0\n3 0 1 2\n"
    )


def nan_stl(path: Path) -> None:
    path.write_bytes(bytes(80) + struct.pack("<I12fH", 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, float("nan"), 1, 0, 0))


def nan_gltf(path: Path) -> None:
    content = gltf(path)
    points = np.array([(float("nan"), 0, 0)] * 8, np.float32).tobytes()
    uri = content["buffers"][0]["uri"]
    import base64

    data = base64.b64decode(uri.partition(",")[2])
    content["buffers"][0]["uri"] = "data:;base64," + base64.b64encode(points + data[len(points) :]).decode()
    path.write_text(json.dumps(content))


def nan_dae(path: Path) -> None:
    path.write_text(COLLADA.replace("-1 0 -1 1 0 -1", "NaN 0 -1 NaN 0 -1"))


def nan_usd(path: Path) -> None:
    path.write_text(USD.format("", "").replace("(1,0,0)", "(nan,0,0)"))


def nan_fbx(path: Path) -> None:
    path.write_text(
        "; FBX 7.4.0 project file\nFBXHeaderExtension:  {\n FBXVersion: 7400\n}\nObjects:  {\n"
        ' Geometry: 1, "Geometry::g", "Mesh" {\n  Vertices: *9 {\n a: 0,0,0,1,0,0,nan,1,0\n }\n'
        '  PolygonVertexIndex: *3 {\n a: 0,1,-3\n }\n }\n Model: 2, "Model::m", "Mesh" {\n Version: 232\n }\n}\n'
        'Connections:  {\n C: "OO",1,2\n C: "OO",2,0\n}\n'
    )


@pytest.mark.parametrize("write", [nan_ply, nan_stl, nan_gltf, nan_dae, nan_usd, nan_fbx], ids=lambda w: w.__name__)
def test_vertices_that_are_not_numbers(worker, tmp_path, write):
    """Quarantined, or shown without them: never in a picture."""
    path = tmp_path / f"m.{write.__name__[4:].replace('usd', 'usda')}"
    write(path)
    event = worker.visit(model(path), {0: REST})[-1]
    assert event["event"] == "quarantine", event
    assert event["reason"]


@pytest.mark.parametrize("name", ["стул", "椅子", "a b&c!%20#", "🪑", "x" * 200, "a'b"])
def test_names_in_any_alphabet(worker, tmp_path, name):
    """Of folder, file, material and texture, in the formats that name companions."""
    folder = tmp_path / name
    folder.mkdir()
    Image.new("RGB", (4, 4), (40, 40, 230)).save(folder / f"{name}.png")
    ref = textured(folder, f"{name}.png")
    for suffix in (".obj", ".mtl"):
        path = folder / f"box{suffix}"
        path.write_text(path.read_text().replace("white", name).replace("box.mtl", f"{name}.mtl"))
        path.rename(folder / f"{name}{suffix}")
    ref = model(folder / f"{name}.obj")
    events = worker.visit(ref, {0: REST})
    assert events[-1]["event"] == "visit_done", events
    gltf(folder / f"{name}.gltf", (0.1, 0.1, 0.9))
    for path in (folder / f"{name}.obj", folder / f"{name}.gltf"):
        image = worker.render(model(path))
        row, column = (round(c) for c in project(np.array([0, -0.82 / np.sqrt(3), 0])))
        assert abs(hue(image[row, column]) - 2 / 3) < 0.1, f"{path.suffix} lost its colour"


def ask(worker, path: Path) -> list[dict] | None:
    """The events of a visit, or None if the worker died of it."""
    try:
        return worker.visit(model(path), {0: REST})
    except AssertionError:
        assert worker.process.poll() is not None
        return None


def alive_again(blender: str, tmp_path: Path) -> bool:
    """That a fresh worker draws, as the supervisor's next would."""
    from tests.renderer.blender.helpers import Worker

    with Worker(blender, tmp_path / "fresh") as fresh:
        return fresh.visit(white_box(tmp_path / "box.obj"), {0: REST})[-1]["event"] == "visit_done"


@pytest.mark.parametrize("what", ["uv", "texture", "vertex colours"])
def test_nothing_outshines_the_picture(worker, tmp_path, what):
    """Absurd texture coordinates, textures and vertex colours: a surface gives back no more light than it gets."""
    if what == "vertex colours":
        lines = ["ply", "format ascii 1.0", "element vertex 4", *(f"property float {name}" for name in "xyz")]
        lines += [*(f"property float {name}" for name in ("red", "green", "blue", "alpha")), "element face 1"]
        lines += ["property list uchar int vertex_indices", "end_header"]
        lines += [f"{x} 0 {z} 1e30 1e30 1e30 1" for x, z in ((-1, -1), (1, -1), (1, 1), (-1, 1))] + ["4 0 1 2 3", ""]
        ref = model(tmp_path / "glow.ply")
        Path(ref.path).write_text("\n".join(lines))
    else:
        Image.new("RGB", (300, 200), (40, 200, 40)).save(tmp_path / "t.png")
        ref = textured(tmp_path, "t.png" if what == "uv" else "t.hdr")
        (tmp_path / "t.hdr").write_bytes(
            b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 4 +X 4\n" + b"\xff\xff\xff\xb0" * 16
        )
        if what == "uv":
            path = Path(ref.path)
            path.write_text(path.read_text().replace("vt 0.5 0.5", "vt 3443870976 0.5"))
    image = worker.render(replace(ref, id=f"glow {what}"), floor_hue=0.6)
    assert (image > 0.97).all(axis=2).mean() < 0.02
