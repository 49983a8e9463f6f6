"""The contact sheet shows what is in the dataset, one object a row."""

import numpy as np
from PIL import Image

from benchmark.data.table import load_table
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
