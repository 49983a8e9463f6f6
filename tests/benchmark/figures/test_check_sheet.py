"""The sheet of a check: every cell in its place, pictures and reasons."""

import numpy as np
from PIL import Image

from benchmark.figures.check_sheet import GAP, LABEL, SIDE, Cell, check_sheet


def test_pictures_labels_and_reasons(tmp_path):
    Image.new("RGB", (SIDE, SIDE), (10, 200, 30)).save(tmp_path / "t.png")
    cells = [Cell(f"chair/{number}", tmp_path / "t.png", "") for number in range(9)]
    cells += [Cell("chair/broken-with-a-very-long-name-indeed", None, "no mesh in it")]
    sheet = np.asarray(Image.open(check_sheet(cells, tmp_path / "sheet.png")))
    assert sheet.shape == (2 * (SIDE + LABEL + GAP) + GAP, 8 * (SIDE + GAP) + GAP, 3)
    row, column = GAP + SIDE + LABEL + GAP, GAP + SIDE + GAP
    assert (sheet[GAP : GAP + SIDE, GAP : GAP + SIDE] == (10, 200, 30)).all()
    assert (sheet[row : row + SIDE, GAP : GAP + SIDE] == (10, 200, 30)).all()
    bad = sheet[row : row + SIDE, column : column + SIDE].astype(int)
    assert (bad[..., 0] > bad[..., 1] + 60).any(), "the reason is not written"
    label = sheet[row + SIDE : row + SIDE + LABEL, column : column + SIDE]
    assert (label < 100).any(), "the label is not written"
