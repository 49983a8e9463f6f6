"""Folders of models as users have them: downloads, ShapeNet trees, any alphabet, damaged and useless files."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import zipfile

import numpy as np
import pytest

from assets import archive, cache
from assets.catalog import load_catalog, load_object
from assets.directory import directory_objects, load_directory
from assets.errors import BadObject, UserError
from tests.needs import ROOT

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
DAE = "<COLLADA><library_images><image><init_from>{}</init_from></image></library_images></COLLADA>"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def put(path, content=TRIANGLE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def put_zip(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def only(root):
    (ref,) = directory_objects(root)[0]
    return ref


def test_finds_every_kind_of_model(root, tmp_path):
    put(root / "chair" / "a.OBJ")
    put(root / "chair" / "deep" / "er" / "b.glb")
    put(root / "car" / "c.gltf", "{}")
    put(root / "d.dae", DAE.format("x.png"))
    put(root / "notes.txt")
    put(root / ".hidden" / "e.obj")
    put_zip(root / "sofa" / "download.zip", {"model.dae": DAE.format("model/t.png"), "model/t.png": "png"})
    objects, left_out = directory_objects(root)
    assert {(ref.category, ref.name) for ref in objects} == {
        ("chair", "a"),
        ("chair", "b"),
        ("car", "c"),
        ("unknown", "d"),
        ("sofa", "download"),
    }
    assert left_out == []
    for ref in objects:
        assert re.fullmatch(r"[0-9a-f]{64}", ref.digest)
        assert load_directory(ref, tmp_path).path.is_file()


def test_a_zip_is_unpacked_with_its_textures(root, tmp_path):
    put_zip(root / "a.zip", {"model.dae": DAE.format("model/t.png"), "model/t.png": "png"})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    first, second = (load_directory(only(root), scratch).path for _ in range(2))
    assert first != second
    assert scratch in first.parents
    assert (first.parent / "model" / "t.png").read_text() == "png"


def test_several_models_in_one_zip(root, tmp_path):
    put_zip(root / "set.zip", {"a.glb": "a", "sub/b.obj": TRIANGLE, "__MACOSX/._a.glb": "x", "._c.glb": "x"})
    objects, _ = directory_objects(root)
    assert sorted(ref.name for ref in objects) == ["a", "b"]
    assert len({ref.id for ref in objects}) == len({ref.digest for ref in objects}) == 2
    assert {load_directory(ref, tmp_path).path.name for ref in objects} == {"a.glb", "b.obj"}


@pytest.mark.parametrize(
    "name", ["Стул.obj", "椅子.obj", "a b&c!.obj", "été.obj", "🪑.obj", "-.obj", "x" * 200 + ".obj"]
)
def test_ids_are_safe_in_any_alphabet(root, tmp_path, name):
    put(root / "صندلی" / name)
    put(root / "صندلی!" / name, TRIANGLE + "#\n")
    objects, _ = directory_objects(root)
    assert len({ref.id for ref in objects}) == 2
    for ref in objects:
        assert re.fullmatch(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+", ref.id)
        assert load_directory(ref, tmp_path).path.read_text().startswith("v 0")


def test_a_file_name_that_is_not_unicode(root):
    path = os.fsencode(root / "chair") + b"\xff\xfe.obj"
    try:
        with open(path, "w") as file:
            file.write(TRIANGLE)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    catalog = load_catalog(str(root), root)
    assert catalog.content_hash
    assert catalog.objects[0].name.encode()


def test_same_names_in_other_folders_are_other_objects(root):
    for folder in ("a", "b", "a-b/c", "a/b-c"):
        put(root / folder / "model.obj", TRIANGLE + f"# {folder}\n")
    objects, _ = directory_objects(root)
    assert len({ref.id for ref in objects}) == 4
    assert {ref.name for ref in objects} == {"a", "b", "c", "b-c"}


def test_shapenet_v2(root, tmp_path):
    put(root / "taxonomy.json", json.dumps([{"synsetId": "03001627", "name": "chair,seat"}, {"synsetId": "1"}]))
    for synset in ("03001627", "99999999"):
        put(root / synset / "1a2b" / "models" / "model_normalized.obj", TRIANGLE + f"# {synset}\n")
        put(root / synset / "1a2b" / "models" / "model_normalized.solid.binvox")
    objects, left_out = directory_objects(root)
    assert left_out == []
    assert {(ref.category, ref.family, ref.name) for ref in objects} == {
        ("chair", "chair", "1a2b"),
        ("99999999", "99999999", "1a2b"),
    }
    rotation = np.array(load_directory(objects[0], tmp_path).rotation)
    np.testing.assert_allclose(rotation @ [0, 0, -1], [0, 0, 1])  # its front is -z
    np.testing.assert_allclose(rotation @ [0, 1, 0], [0, 1, 0])
    # One synset's folder alone is as good.
    assert {ref.category for ref in directory_objects(root / "03001627")[0]} == {"chair"}


@pytest.mark.parametrize("content", ["", "no json", "{}", "[1]", '[{"synsetId": 1}]', "[" * 100_000])
def test_a_taxonomy_that_cannot_be_read(root, content):
    put(root / "taxonomy.json", content)
    put(root / "03001627" / "1a2b" / "models" / "model_normalized.obj")
    assert only(root).category == "03001627"


def test_digest_covers_companions(root, tmp_path):
    model = put(root / "a" / "m.obj", f"mtllib m.mtl\n{TRIANGLE}")
    put(root / "a" / "m.mtl", "newmtl x\nmap_Kd -s 1 1 1 ../wood 1.png\n")
    digests = [only(root).digest]
    for path, content in (
        (root / "wood 1.png", "png"),
        (root / "wood 1.png", "other"),
        (root / "a" / "m.mtl", "newmtl y\nmap_Kd ../wood 1.png\n"),
        (model, f"mtllib m.mtl\n{TRIANGLE}\n"),
    ):
        put(path, content)
        digests.append(only(root).digest)
    assert len(set(digests)) == len(digests)
    put(root / "a" / "unrelated.png", "png")
    assert only(root).digest == digests[-1]
    cache.write(cache_name(tmp_path), {})
    assert only(root).digest == digests[-1]  # the same read anew


def cache_name(tmp_path):
    (file,) = (tmp_path / "cache" / "gr3d").glob("directory-*.json")
    return file.stem


@pytest.mark.parametrize(
    ("name", "content"),
    [("m.gltf", '{"buffers": [{"uri": "b%20in.bin"}]}'), ("m.dae", DAE.format("file://b in.bin"))],
)
def test_digest_covers_buffers_and_images(root, name, content):
    put(root / name, content)
    missing = only(root).digest
    put(root / "b in.bin", "1")
    assert only(root).digest != missing


@pytest.mark.parametrize("name", ["/dev/zero", "../../../../../../dev/zero", "/etc/passwd", "sub", "\0", "."])
def test_named_files_outside_the_folder_are_not_read(root, name):
    put(root / "m.obj", f"mtllib {name}\n{TRIANGLE}")
    put(root / "m.gltf", json.dumps({"images": [{"uri": name}]}))
    (root / "sub").mkdir()
    assert len(directory_objects(root)[0]) == 2


@pytest.mark.parametrize("damage", ["not json", "[]", '{"m.obj": 3}', '{"m.obj": {"digest": "x", "stamps": {}}}'])
def test_a_damaged_cache_is_rebuilt(root, tmp_path, damage):
    put(root / "m.obj")
    digest = only(root).digest
    file = tmp_path / "cache" / "gr3d" / f"{cache_name(tmp_path)}.json"
    good = file.read_text()
    file.write_text(damage)
    assert only(root).digest == digest
    assert file.read_text() == good


def test_without_a_writable_home(root, monkeypatch):
    put(root / "m.obj")
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/no-such")
    assert only(root).digest


def test_what_cannot_be_used_is_reported(root):
    put(root / "good.obj")
    put(root / "a.skp")
    put(root / "b.max")
    put(root / "broken.zip", "no zip")
    put_zip(root / "sketchup.zip", {"x.skp": "x"})
    put_zip(root / "textures.zip", {"x.png": "x"})
    put_zip(root / "climbs.zip", {"../x.glb": "x"})
    put_zip(root / "bomb.zip", {})
    with zipfile.ZipFile(root / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.glb", bytes(archive.RATIO_FREE_BYTES + 1))
    objects, left_out = directory_objects(root)
    assert [ref.name for ref in objects] == ["good"]
    reasons = dict(left_out)
    assert set(reasons) == {*("a.skp", "b.max", "broken.zip", "sketchup.zip", "textures.zip", "climbs.zip", "bomb.zip")}
    assert "Collada" in reasons["a.skp"] and "Collada" in reasons["sketchup.zip"]
    assert "zip bomb" in reasons["bomb.zip"] and "unsafe path" in reasons["climbs.zip"]


def test_a_folder_of_sketchup_files_only(root):
    put(root / "chair" / "a.skp")
    with pytest.raises(UserError, match=r"models holds no model .*chair/a\.skp.*\.glb or as Collada") as raised:
        directory_objects(root)
    assert raised.value.exit_code == 2


def test_missing_empty_and_not_a_folder(root):
    file = put(root.parent / "file.obj")
    for path in (root, root / "none", file):
        with pytest.raises(UserError, match=r"procedural") as raised:
            directory_objects(path)
        assert str(path) in str(raised.value)
        assert raised.value.exit_code == 2


def test_links_that_go_round(root):
    put(root / "a" / "m.obj")
    (root / "a" / "back").symlink_to(root)
    assert only(root).name == "m"


def test_a_linked_folder_is_followed(root, tmp_path):
    put(tmp_path / "elsewhere" / "chair" / "m.obj")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    assert only(root).category == "linked"


def test_a_model_that_is_gone(root, tmp_path):
    put(root / "m.obj")
    put_zip(root / "z.zip", {"m.glb": "x"})
    refs, _ = directory_objects(root)
    (root / "m.obj").unlink()
    put_zip(root / "z.zip", {"other.glb": "x"})
    for ref in refs:
        with pytest.raises(BadObject, match="gone"):
            load_object(ref, tmp_path)


def test_ids_and_digests_do_not_depend_on_where_the_folder_is(root, tmp_path):
    put(root / "chair" / "m.obj", f"mtllib m.mtl\n{TRIANGLE}")
    put(root / "chair" / "m.mtl", "newmtl x\n")
    here = load_catalog(str(root), root)
    root.rename(tmp_path / "moved")
    there = load_catalog(str(tmp_path / "moved"), root)
    assert here.content_hash == there.content_hash


def test_every_format_is_a_model(root):
    names = ["a.fbx", "b.ply", "c.stl", "d.usd", "e.usda", "f.usdc", "g.usdz", "h.blend", "i.obj", "j.glb", "k.gltf"]
    for name in names:
        put(root / name, name)
    assert sorted(ref.name for ref in directory_objects(root)[0]) == list("abcdefghijk")


def test_objaverses_numbered_folders_are_no_category(root):
    for uid in ("0a" * 16, "0b" * 16):
        put(root / "000-023" / f"{uid}.glb", uid)
    put(root / "000-023" / "named.glb", "x")
    assert {ref.name: ref.category for ref in directory_objects(root)[0]} == {
        "0a" * 16: "unknown",
        "0b" * 16: "unknown",
        "named": "000-023",
    }


@pytest.mark.parametrize(
    ("name", "content", "companion"),
    [
        ("m.fbx", b'; FBX 6.1\nTexture: { RelativeFilename: "maps\\wood.png" }', "maps/wood.png"),
        ("m.fbx", b"Kaydara FBX Binary  \0RelativeFilenameS\x0d\0\0\0maps\\wood.png", "maps/wood.png"),
        ("m.fbx", b'FileName: "C:\\Users\\me\\wood.png"', "wood.png"),
        ("m.obj", b"mtllib m.mtl\n", "m.mtl"),
        ("m.ply", b"ply\ncomment TextureFile wood 1.png\nend_header\n", "wood 1.png"),
        ("m.usda", b"#usda 1.0\n(subLayers = [@parts/a.usda@])", "parts/a.usda"),
        ("m.glb", b"glTF\2\0\0\0\0\0\0\0\x1d\0\0\0JSON" + b'{"images":[{"uri":"w%20.png"}]', "w .png"),
    ],
)
def test_digest_covers_what_other_formats_name(root, name, content, companion):
    put(root / name, content)
    missing = only(root).digest
    put(root / companion, b"1")
    digests = [ref.digest for ref in directory_objects(root)[0] if ref.path.endswith(name)]
    assert digests != [missing]


def test_digest_covers_layers_of_layers(root):
    put(root / "m.usda", "#usda 1.0\n(subLayers = [@parts/a.usda@])")
    put(root / "parts" / "a.usda", "#usda 1.0\n(subLayers = [@b.usda@, @../m.usda@])")

    def digest():
        return next(ref.digest for ref in directory_objects(root)[0] if ref.name == "m")

    before = digest()
    put(root / "parts" / "b.usda", "#usda 1.0\n")
    assert digest() != before


@pytest.mark.parametrize("name", ["pipe.obj", "pipe.zip", "pipe.blend", "device.glb", "nowhere.obj", "itself.obj"])
def test_what_is_no_plain_file_is_left_out(root, name):
    put(root / "good.obj")
    path = root / name
    if name.startswith("pipe"):
        os.mkfifo(path)
    else:
        path.symlink_to({"device.glb": "/dev/zero", "nowhere.obj": "nothing", "itself.obj": "itself.obj"}[name])
    objects, left_out = directory_objects(root)
    assert [ref.name for ref in objects] == ["good"]
    assert [left[0] for left in left_out] == [name]
    assert re.search("not a regular file|No such file|Too many levels", left_out[0][1])


def test_a_pipe_as_material_file_is_not_waited_for(root):
    put(root / "m.obj", f"mtllib m.mtl\n{TRIANGLE}")
    os.mkfifo(root / "m.mtl")
    assert only(root).digest


def test_folders_a_thousand_deep_and_links_in_circles(root):
    put(root / "good.obj")
    (root / "circle").symlink_to(root)
    here = os.open(root, os.O_RDONLY)
    for _ in range(2500):  # a path longer than the system takes: only step by step can it be made
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        objects, left_out = directory_objects(root)
        assert [ref.name for ref in objects] == ["good"]
        assert left_out and "name too long" in left_out[0][1]
    finally:
        subprocess.run(["rm", "-rf", str(root / "d")], check=True)


def test_files_and_folders_without_permission_are_left_out(root):
    """As another user where the tests run as root, who may read everything."""
    put(root / "good.obj")
    put(root / "mine.obj", TRIANGLE + "# mine").chmod(0)
    put(root / "closed" / "a.obj").parent.chmod(0)
    script = (
        "import json, sys; from pathlib import Path; from assets.directory import directory_objects\n"
        "objects, left_out = directory_objects(Path(sys.argv[1]))\n"
        "print(json.dumps([[ref.name for ref in objects], dict(left_out)]))"
    )
    nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(dir="/tmp") as public:  # pytest's own folders are closed to others
        os.chmod(public, 0o755)
        shutil.copytree(
            ROOT / "assets", f"{public}/code/assets", ignore=shutil.ignore_patterns("__pycache__", "models")
        )
        shutil.move(root, f"{public}/models")
        done = subprocess.run(
            ["python3", "-c", script, f"{public}/models"],
            cwd=f"{public}/code",
            env={"PATH": os.defpath, "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            **nobody,
        )
        os.chmod(f"{public}/models/closed", 0o755)
    assert done.returncode == 0, done.stderr
    objects, left_out = json.loads(done.stdout)
    assert objects == ["good"]
    assert {name: "Permission denied" in why for name, why in left_out.items()} == {"mine.obj": True, "closed": True}


def test_archives_in_archives(root):
    put(root / "good.obj")
    put_zip(root / "inner.zip", {"a.obj": TRIANGLE})
    put_zip(root / "outer.zip", {"inner.zip": (root / "inner.zip").read_bytes()})
    (root / "inner.zip").unlink()
    assert directory_objects(root)[1] == [("outer.zip", "only archives in the archive: unpack the outer one")]


@pytest.mark.parametrize("name", ["椅子/стул.obj", "é" * 60 + ".obj", "a b/ .obj", "x" * 300 + ".obj"])
def test_names_in_an_archive_in_any_alphabet(root, tmp_path, name):
    put_zip(root / "a.zip", {name: TRIANGLE})
    ref = only(root)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+", ref.id)
    if len(name) > 255:
        with pytest.raises(BadObject, match="name too long"):
            load_directory(ref, tmp_path)
    else:
        assert load_directory(ref, tmp_path).path.read_text() == TRIANGLE
