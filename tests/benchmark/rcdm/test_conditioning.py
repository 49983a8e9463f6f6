import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.data.table import load_table
from benchmark.errors import UserError
from benchmark.rcdm.conditioning import conditioning_images, spread


def test_a_number_spreads_over_the_objects(photos):
    table = load_table(photos, "val")  # ten images of five objects
    five = spread(table, 5)
    assert sorted(table.object_ids[k] for k in five) == sorted(set(table.object_ids))
    assert len({table.object_ids[k] for k in spread(table, 3)}) == 3
    assert spread(table, 10).tolist() == list(range(10))
    assert len(set(spread(table, 7).tolist())) == 7
    for wrong in (0, 11):
        with pytest.raises(UserError, match=f"--images {wrong}: choose from 1 to the 10 there are"):
            spread(table, wrong)


def test_files_are_cut_to_the_datasets_size(photos, tmp_path):
    picture = np.zeros((50, 90, 3), dtype=np.uint8)
    picture[:, 15:75] = (200, 10, 30)  # the middle square, and a little more
    Image.fromarray(picture).save(tmp_path / "mine.png")
    images = conditioning_images(photos, "val", ["2", str(tmp_path / "mine.png")])
    assert images.shape == (3, 3, 32, 32) and images.dtype == torch.uint8
    assert images[2].float().mean(dim=(1, 2)).round().tolist() == [200, 10, 30]


def test_what_is_neither_number_nor_picture_is_named(photos, tmp_path):
    with pytest.raises(UserError, match=r"--images nowhere\.png: neither a number of images nor a file"):
        conditioning_images(photos, "val", ["nowhere.png"])
    (tmp_path / "bad.png").write_bytes(b"\x89PNG but no picture")
    with pytest.raises(UserError, match=r"bad\.png: image cannot be decoded"):
        conditioning_images(photos, "val", [str(tmp_path / "bad.png")])
