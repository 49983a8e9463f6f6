"""The real package, where it is installed, and a small library of the same make for what it does not show."""

import json
import re
import shutil
import time
import zipfile
from collections import Counter

import numpy as np
import pytest

from assets import obj, symmetry
from assets.catalog import load_catalog, load_object, split_objects
from assets.errors import BadObject, UserError
from assets.geometry import IDENTITY
from assets.sweethome3d import FURNITURE, family_of, load_sweethome3d, sweethome3d_objects

needs_package = pytest.mark.skipif(
    not list(FURNITURE.glob("*.sh3f")), reason="Debian's sweethome3d-furniture is not installed"
)

# A wedge: nothing about it is symmetric but left and right.
WEDGE = "mtllib w.mtl\nusemtl a\nv 0 0 0\nv 1 0 0\nv 0 2 0\nv 0 0 3\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
CUBE = (
    "".join(f"v {x} {y} {z}\n" for x in (0, 1) for y in (0, 1) for z in (0, 1))
    + "f 1 2 4 3\nf 5 7 8 6\nf 1 5 6 2\nf 3 4 8 7\nf 1 3 7 5\nf 2 6 8 4\n"
)
HEADER = "id=test\nlicense=Creative Commons Attribution 3.0 license\n"
MTL = "newmtl a\nKd 1 0 0\nmap_Kd wood.jpg\nmap_refl room.jpg\nnewmtl unused\nmap_Kd gone.jpg\n"


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Writes a library of pieces (properties of each, numbered from 1) and files; returns its folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def write(pieces, files, name="Test"):
        lines = [f"{key}#{i}={value}" for i, piece in enumerate(pieces, 1) for key, value in piece.items()]
        folder = tmp_path / "furniture"
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(folder / f"{name}.sh3f", "w") as file:
            file.writestr("PluginFurnitureCatalog.properties", HEADER + "\n".join(lines) + "\n")
            for path, content in files.items():
                file.writestr(path, content)
        return folder

    return write


def piece(**changes):
    return {"name": "Chair", "category": "Office", "model": "/t/w/w.obj", "creator": "Me"} | changes


def test_a_piece(library, tmp_path):
    folder = library(
        [piece(name="Bill 10\\u20ac", modelRotation="0 0 1 0 1 0 -1 0 0")],
        {"t/w/w.obj": WEDGE, "t/w/w.mtl": MTL, "t/w/wood.jpg": "jpg", "t/w/other.jpg": "x"},
    )
    (ref,), left_out = sweethome3d_objects(folder=folder)
    assert left_out == []
    assert (ref.id, ref.name, ref.category, ref.author) == ("sweethome3d/t/w", "Bill 10€", "Office", "Me")
    assert ref.licence == "CC-BY-3.0"
    assert ref.path == f"{folder}/Test.sh3f!t/w/w.obj"
    model = load_sweethome3d(ref, tmp_path)
    assert model.rotation == ((0, 0, 1), (0, 1, 0), (-1, 0, 0))
    assert model.path.read_text() == WEDGE
    assert sorted(file.name for file in model.path.parent.iterdir()) == ["w.mtl", "w.obj", "wood.jpg"]
    # Statements whose file is missing are gone, line by line: an importer would paint them magenta.
    mtl = (model.path.parent / "w.mtl").read_text().split()
    assert "wood.jpg" in mtl and "room.jpg" not in mtl and "gone.jpg" not in mtl


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"t/w/w.obj": CUBE}, "rotationally symmetric"),
        ({"t/w/w.obj": CUBE.replace(" 1\n", " 0.1\n")}, "near-flat"),
        ({"t/w/w.obj": WEDGE}, r"missing from the library: w\.mtl"),
        ({"t/w/w.obj": WEDGE, "t/w/w.mtl": MTL}, r"missing from the library: wood\.jpg$"),
        ({}, "missing from the library: t/w/w.obj"),
        ({"t/w/w.obj": "v 0 0 0\n"}, "no faces"),
        ({"t/w/w.obj": "v 0 0 0\nf 1 2 9\n"}, "outside the vertices"),
        ({"t/w/w.obj": "v 0 0 nan\nf 1 1 1\n"}, "not finite"),
        ({"t/w/w.obj": "v 0 0 x\nf 1 1 1\n"}, "not three numbers"),
    ],
)
def test_left_out_with_the_reason(library, files, reason):
    objects, ((id, stated),) = sweethome3d_objects(folder=library([piece()], files))
    assert objects == []
    assert id == "sweethome3d/t/w"
    assert re.search(reason, stated)


def test_digest_covers_what_decides_the_picture(library):
    files = {"t/w/w.obj": WEDGE, "t/w/w.mtl": MTL, "t/w/wood.jpg": "jpg"}
    digests = set()
    for number, (changes, change) in enumerate(
        [
            ({}, {}),
            ({}, {"t/w/wood.jpg": "other"}),
            ({}, {"t/w/w.mtl": MTL.replace("1 0 0", "0 1 0")}),
            ({}, {"t/w/w.obj": WEDGE + "# x\n"}),
            ({"modelRotation": "-1 0 0 0 1 0 0 0 -1"}, {}),
        ]
    ):
        folder = library([piece(**changes)], files | change, name=f"Test{number}")
        ((ref,), _) = sweethome3d_objects(folder=folder)
        digests.add(ref.digest)
        (folder / f"Test{number}.sh3f").unlink()
    assert len(digests) == 5


def test_a_library_that_changed_after_the_catalog_was_made(library, tmp_path):
    files = {"t/w/w.obj": WEDGE, "t/w/w.mtl": MTL, "t/w/wood.jpg": "jpg"}
    folder = library([piece()], files)
    ((ref,), _) = sweethome3d_objects(folder=folder)
    library([piece()], files | {"t/w/wood.jpg": "other"})
    with pytest.raises(BadObject, match="has changed"):
        load_object(ref, tmp_path)
    (folder / "Test.sh3f").unlink()
    with pytest.raises(BadObject):
        load_object(ref, tmp_path)


@pytest.mark.parametrize("damage", ["", "[]", '{"key": 1}', "pieces", "flatness", "extra"])
def test_a_damaged_cache_is_rebuilt(library, tmp_path, damage):
    folder = library([piece()], {"t/w/w.obj": WEDGE, "t/w/w.mtl": MTL, "t/w/wood.jpg": "jpg"})
    expected = sweethome3d_objects(folder=folder)
    (file,) = (tmp_path / "cache" / "gr3d").iterdir()
    good = json.loads(file.read_text())
    bad = json.loads(file.read_text())
    if damage == "pieces":
        bad["pieces"] = {}
    elif damage == "flatness":
        bad["pieces"]["sweethome3d/t/w"]["flatness"] = "a"
    elif damage == "extra":
        bad["pieces"]["sweethome3d/t/w"]["more"] = 1
    file.write_text(json.dumps(bad) if damage in ("pieces", "flatness", "extra") else damage)
    assert sweethome3d_objects(folder=folder) == expected
    assert json.loads(file.read_text()) == good


def test_without_a_writable_home(library, monkeypatch):
    folder = library([piece()], {"t/w/w.obj": WEDGE, "t/w/w.mtl": MTL, "t/w/wood.jpg": "jpg"})
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/no-such")
    assert len(sweethome3d_objects(folder=folder)[0]) == 1


def test_without_the_package(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match="apt-get install sweethome3d-furniture") as raised:
            sweethome3d_objects(folder=folder)
        assert raised.value.exit_code == 2


def test_a_file_that_is_no_library(tmp_path):
    (tmp_path / "Broken.sh3f").write_text("no zip")
    with pytest.raises(UserError, match=r"Broken\.sh3f"):
        sweethome3d_objects(folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "category", "family"),
    [
        ("Armchair", "Office", "chair"),
        ("Chair with cushion", "Living room", "chair"),
        ("Sofa 2 seats", "Living room", "sofa"),
        ("Convertible sofa BZ", "Bedroom", "sofa"),
        ("Armchair ottoman", "Living room", "stool"),
        ("Piano bench", "Living room", "bench"),
        ("Bedside table", "Bedroom", "table"),
        ("Desk lamp", "Lights", "lamp"),
        ("Table fan", "Living room", ""),
        ("Table tennis bat", "Miscellaneous", ""),
        ("Glass door cabinet", "Kitchen", "cabinet"),
        ("Double door with panes", "Doors and windows", "door"),
        ("Seat Leon", "Vehicles", "vehicle"),
        ("Male", "Characters", "person"),
        ("Sitting male", "Characters", ""),
        ("Wardrobe", "Bedroom", "cabinet"),
        ("", "Miscellaneous", ""),
    ],
)
def test_family_of_a_name(name, category, family):
    assert family_of(name, category) == family


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """The package's catalog; measured anew, or from the user's cache where it is fresh."""
    return load_catalog("sweethome3d", tmp_path_factory.mktemp("root"))


@needs_package
@pytest.mark.slow
def test_the_whole_package(catalog):
    """What sweethome3d-furniture 1.8 holds; another version may differ."""
    assert len(catalog.objects) + len(catalog.left_out) == 820
    reasons = Counter(re.split(":", reason)[0] for _, reason in catalog.left_out)
    assert reasons["missing from the library"] == 21
    assert 100 <= reasons["near-flat"] <= 140
    assert len(catalog.objects) >= 300
    assert all(re.fullmatch(r"sweethome3d/[A-Za-z0-9_./-]+", ref.id) for ref in catalog.objects)
    assert {ref.licence for ref in catalog.objects} == {"CC0-1.0", "CC-BY-3.0", "CC-BY-3.0-US"}
    assert all(ref.author and ref.name and ref.category for ref in catalog.objects)
    assert len({ref.category for ref in catalog.objects}) >= 10


@needs_package
@pytest.mark.slow
def test_known_objects_are_on_the_right_side(catalog):
    kept = {ref.id.removeprefix("sweethome3d/") for ref in catalog.objects}
    left_out = {id.removeprefix("sweethome3d/"): reason for id, reason in catalog.left_out}
    for id in ("blendswap-cc-0/armchair", "katorlegaz/coffee-mug", "scopia/teapot"):
        assert id in kept, left_out.get(id)
    for id in ("katorlegaz/cafe-table", "blendswap-cc-0/stool2", "blendswap-cc-0/basketball", "blendswap-cc-by/rubix2"):
        assert "symmetric" in left_out.get(id, "kept"), id


@needs_package
@pytest.mark.slow
def test_chairs_and_sofas_share_a_pose(catalog, tmp_path):
    """At least 60; what is highest in them, the back, is behind the middle: towards -z, the front being +z."""
    seats = load_catalog("sweethome3d:chair,sofa", tmp_path).objects
    assert len(seats) >= 60
    assert set(seats) == {ref for ref in catalog.objects if ref.family in ("chair", "sofa")}
    turned = 0
    for ref in seats:
        model = load_object(ref, tmp_path)
        vertices, triangles = obj.read_mesh(model.path.read_bytes())
        points = symmetry.surface_samples(vertices @ np.array(model.rotation).T, triangles, 2000, 0.0)
        low, high = points.min(axis=0), points.max(axis=0)
        place = (points - low) / (high - low)
        assert place[place[:, 1] > 0.75, 2].mean() < 0.51, ref.id
        turned += model.rotation != IDENTITY
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
    assert turned >= 5  # so the direction of modelRotation is put to the test
    fit, val = split_objects(load_catalog("sweethome3d:chair,sofa", tmp_path), 0, 0.2)
    assert len(fit) + len(val) == len(seats)


@needs_package
@pytest.mark.slow
def test_a_known_catalog_loads_at_once(catalog, tmp_path):
    start = time.process_time()
    assert load_catalog("sweethome3d", tmp_path) == catalog
    assert time.process_time() - start < 0.5


@needs_package
@pytest.mark.slow
def test_a_family_of_which_nothing_is_usable(catalog, tmp_path):
    with pytest.raises(UserError, match=r"window holds no usable object \(sweethome3d/"):
        load_catalog("sweethome3d:window", tmp_path)


@needs_package
@pytest.mark.slow
def test_an_unknown_family(catalog, tmp_path):
    with pytest.raises(UserError, match=r"'unicorn'.*chair.*sofa") as raised:
        load_catalog("sweethome3d:chair,unicorn", tmp_path)
    assert raised.value.exit_code == 2
