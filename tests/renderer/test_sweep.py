"""Figure 8's images, rendered for real: every row changes its own latent and nothing else."""

import numpy as np
import pytest

from assets.errors import UserError
from benchmark.data.table import LATENT_NAMES, load_table
from renderer.latents import LATENTS
from renderer.sweep import HELD, choose, draw, sweep
from tests.needs import needs_bpy
from tests.renderer.blender.helpers import hue, hue_distance


def test_a_row_sweeps_its_latent_over_the_whole_range_and_holds_the_others():
    latents = sweep(5)
    assert len(latents) == 7 * 5
    for row, (name, (low, high)) in enumerate(LATENTS.items()):
        values = [entry[name] for entry in latents[row * 5 : row * 5 + 5]]
        steps = np.diff(values)
        assert values[0] == low and np.allclose(steps, steps[0])
        # A circular latent looks the same at both ends, so it stops one step before the end.
        assert high in (pytest.approx(values[-1]), pytest.approx(values[-1] + steps[0]))
        others = [{k: v for k, v in entry.items() if k != name} for entry in latents[row * 5 : row * 5 + 5]]
        assert others == [{k: v for k, v in HELD.items() if k != name}] * 5


@needs_bpy
def test_images_show_it(tmp_path):
    draw(choose("procedural:chair,car", "chair-00001"), 3, 32, tmp_path / "data")
    table = load_table(tmp_path / "data", "train")
    assert len(table) == 21 and set(table.object_ids) == {"chair-00001"}
    images = table.images.permute(0, 2, 3, 1).numpy().astype(float) / 255
    for row, name in enumerate(LATENT_NAMES):
        one, two, three = images[row * 3 : row * 3 + 3]
        assert np.abs(one - two).max() > 0.05 and np.abs(two - three).max() > 0.05, name
    row = LATENT_NAMES.index("floor_hue")
    for image, value in zip(images[row * 3 : row * 3 + 3], (0, 1 / 3, 2 / 3), strict=True):
        assert hue_distance(hue(image[:3, :3].mean((0, 1))), value) < 0.02


def test_first_object_by_default_and_near_names_for_a_wrong_one():
    assert [ref.id for ref in choose("procedural:chair,car", None).objects] == ["car-00000"]
    with pytest.raises(UserError, match=r"--object chair-99999: .*chair-0000") as error:
        choose("procedural:chair,car", "chair-99999")
    assert error.value.exit_code == 2


@pytest.mark.parametrize("columns", [0, 1, 33])
def test_columns_have_limits(tmp_path, columns):
    with pytest.raises(UserError, match=f"--columns {columns}: must be from 2 to 32"):
        draw(choose("procedural:chair", None), columns, 32, tmp_path / "data")


@needs_bpy
def test_an_object_that_cannot_be_used_is_named_with_the_reason(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    (models / "empty.obj").write_text("v 0 0 0\n")
    with pytest.raises(UserError, match=r"empty.*cannot be used.*--object"):
        draw(choose(str(models), None), 2, 16, tmp_path / "data")
