import csv

import torch
from PIL import Image

from benchmark.figures.samples import MOST, plot_samples, plot_side_by_side
from benchmark.rcdm.sample import Samples


def drawn(images: int, layers: tuple[str | None, ...] = ("trunk", "head1", None)) -> Samples:
    torch.manual_seed(0)
    of = {layer: torch.randint(0, 256, (images, 3, 3, 8, 8), dtype=torch.uint8) for layer in layers}
    return Samples(torch.randint(0, 256, (images, 3, 16, 16), dtype=torch.uint8), of)


def test_pictures_grow_with_the_images_up_to_a_limit(tmp_path):
    heights = [Image.open(plot_samples(drawn(n), tmp_path / f"{n}.png")).height for n in (1, MOST, MOST + 3)]
    assert heights[0] < heights[1] == heights[2]


def test_networks_stand_side_by_side(tmp_path):
    two = {"augmentation": drawn(2), "class": drawn(2)}
    written = plot_side_by_side(two, [1, 0], ("trunk", "head1"), tmp_path / "figure7", [{"layer": "trunk"}])
    one = plot_side_by_side({"class": drawn(2)}, [1, 0], ("trunk", "head1"), tmp_path / "one", [{"layer": "trunk"}])
    assert Image.open(written.png).width > 1.8 * Image.open(one.png).width
    assert written.svg.stat().st_size > 1000
    with written.csv.open() as file:
        assert list(csv.DictReader(file)) == [{"layer": "trunk"}]
