"""Debian's importer torture set and all of its furniture: each file gets a verdict, and what is drawn is to be seen."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assets.catalog import load_catalog
from assets.directory import MODELS
from renderer.check import check_objects
from renderer.command import find_blender
from renderer.render import give_devices
from tests.needs import needs_assimp, needs_bpy, needs_furniture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_bpy]

ASSIMP = Path("/usr/share/assimp")
FURNITURE = Path("/usr/share/sweethome3d/furniture")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def check(folder: Path, scratch: Path) -> dict[str, str]:
    """Path below the folder -> reason ("" when ok) of all models; the pictures of the good ones are looked at."""
    scratch.mkdir()
    catalog = load_catalog(str(folder), folder)
    command = find_blender(None)
    _, seats = give_devices(command, "cycles", "cpu", "auto", None)
    verdicts = check_objects(catalog.objects, command, seats, scratch)
    assert len(verdicts) == len(catalog.objects)
    for verdict in verdicts:
        assert (verdict.thumbnail is None) == bool(verdict.reason), verdict
        if not verdict.reason:
            look(np.asarray(Image.open(verdict.thumbnail).convert("RGB")).astype(int), verdict.object.path)
    found = {verdict.object.path.removeprefix(f"{folder}/"): verdict.reason for verdict in verdicts}
    return {**dict(catalog.left_out), **found}


def look(image: np.ndarray, name: str) -> None:
    """Something other than the floor, within the frame, and not in Blender's magenta."""
    red, green, blue = (image[..., channel] for channel in range(3))
    magenta = (green < 0.1 * red) & (abs(red - blue) < 0.15 * red) & (red > 60)
    assert magenta.mean() < 0.05, f"{name} is magenta"
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    floor = np.median(edge, axis=0)
    foreign = np.abs(image - floor).max(axis=2) > 24
    assert foreign.sum() >= 20, f"{name} is empty"
    assert foreign[[0, -1]].mean() < 0.2 and foreign[:, [0, -1]].mean() < 0.2, f"{name} leaves the frame"


@needs_assimp
def test_assimps_models(tmp_path):
    found = check(ASSIMP, tmp_path / "scratch")
    files = {str(path.relative_to(ASSIMP)) for path in ASSIMP.rglob("*") if path.suffix.lower() in MODELS}
    twins = {row for row in found if row not in files}  # the same content as another: known by their ids
    assert len(files - found.keys()) <= len(twins)
    good = [name for name, reason in found.items() if not reason]
    assert len(good) >= 100
    assert found["models/OBJ/point_cloud.obj"]


@needs_furniture
def test_all_furniture(tmp_path):
    """Also the pieces that the source's rules leave out: the libraries unpacked, as a folder of .obj files."""
    for library in FURNITURE.glob("*.sh3f"):
        with zipfile.ZipFile(library) as archive:
            archive.extractall(tmp_path / "models" / library.stem)
    found = check(tmp_path / "models", tmp_path / "scratch")
    assert len(found) == 820
    assert sum(not reason for reason in found.values()) >= 810
