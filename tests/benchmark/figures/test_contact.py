"""The contact sheet shows what is in the dataset, one object a row."""

import numpy as np
import pytest
from PIL import Image

from benchmark.data.table import load_table
from benchmark.errors import UserError
from benchmark.figures.contact import contact_sheet


def test_rows_are_objects_and_cells_are_their_images(write_dataset, tmp_path):
    data = write_dataset(tmp_path / "data", count=20)
    sheet = np.asarray(Image.open(contact_sheet(data, tmp_path / "sheet.png", rows=2, columns=3)))
    assert sheet.shape == (2 + 2 * 34, 2 + 3 * 34, 3)
    table = load_table(data, "train")
    last = sorted(set(table.object_ids))[-1]  # rows are spread evenly: the first and the last object
    second = [i for i, name in enumerate(table.object_ids) if name == last][1]
    cell = sheet[2 + 34 : 2 + 34 + 32, 2 + 34 : 2 + 34 + 32]
    assert np.array_equal(cell, table.images[second].permute(1, 2, 0).numpy())


def test_objects_with_few_images_leave_white(write_dataset, tmp_path):
    data = write_dataset(tmp_path / "data", count=5)
    sheet = np.asarray(Image.open(contact_sheet(data, tmp_path / "sheet.png", rows=9, columns=2)))
    assert sheet.shape[0] == 2 + 5 * 34
    assert (sheet[:, -32:] == 255).all()


@pytest.mark.parametrize(
    ("name", "format"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.webp", "WEBP")]
)
def test_ending_decides_the_format(write_dataset, tmp_path, name, format):
    data = write_dataset(tmp_path / "data", count=5)
    assert Image.open(contact_sheet(data, tmp_path / "new" / name)).format == format


@pytest.mark.parametrize("name", ["sheet", "sheet.txt", "."])
def test_other_endings_are_wrong_usage(tmp_path, name):
    with pytest.raises(UserError, match=r"--out .*\.png") as error:
        contact_sheet(tmp_path / "no data is read", tmp_path / name)
    assert error.value.exit_code == 2


def test_unwritable_picture_is_a_clear_line(write_dataset, tmp_path):
    data = write_dataset(tmp_path / "data", count=5)
    (tmp_path / "folder.png").mkdir()
    for out in (tmp_path / "folder.png", data / "dataset.json" / "a.png"):
        with pytest.raises(UserError, match=r"cannot be written.*--out"):
            contact_sheet(data, out)


def test_picture_larger_than_its_format_allows(write_dataset, tmp_path):
    data = write_dataset(tmp_path / "data", count=5)
    with pytest.raises(UserError, match=r"cannot be encoded as WEBP"):
        contact_sheet(data, tmp_path / "a.webp", columns=600)
