"""The look at an object alone: what is fine gets more samples, and they bring it nearer to the truth."""

import numpy as np
import pytest

from tests.needs import needs_bpy
from tests.renderer.blender.helpers import REST, Worker, grass, marked_cube, read, white_box


@needs_bpy
def test_the_laplacian_of_known_pictures():
    from renderer.blender.booth import mean_squared_laplacian

    rows, columns = np.mgrid[:8, :8]
    ramp = np.repeat((rows + 2 * columns)[..., None] / 30, 3, axis=2)
    assert mean_squared_laplacian(ramp) == pytest.approx(0, abs=1e-12)
    chessboard = np.repeat(((rows + columns) % 2)[..., None].astype(float), 3, axis=2)
    assert mean_squared_laplacian(chessboard) == pytest.approx(1)


def test_only_what_is_finer_than_a_pixel_gets_more_samples(worker, tmp_path):
    settings = worker.first["engine"]
    assert settings["spp_of_detail"] == 4 * settings["spp"]
    for number, (ref, fine) in enumerate(
        [
            (marked_cube(tmp_path / "cube.obj"), False),
            (grass(tmp_path / "grass.obj"), True),
            (white_box(tmp_path / "box.obj"), False),
        ]
    ):
        notes = worker.visit(ref, {number: REST})[0]["notes"]
        assert notes == ([f"fine detail: {settings['spp_of_detail']} samples a pixel"] if fine else [])


@needs_bpy
def test_fine_detail_comes_near_to_the_truth(tmp_path):
    blades = grass(tmp_path / "grass.obj")
    pictures = {}
    for preset in ("fast", "3diebench"):
        with Worker("bpy", tmp_path / preset, preset=preset) as drawing:
            drawing.visit(blades, {0: REST})
        pictures[preset] = read(drawing.spool / "000000000.png")
    error = ((pictures["fast"] - pictures["3diebench"]) ** 2).mean()
    assert -10 * np.log10(error) > 34  # 32 with the samples of other objects
