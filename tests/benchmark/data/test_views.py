"""Every operation on views, on both paths, against torchvision's for single images, given the same parameters.

Tolerances are on values in [0, 1]: 1e-6 for copies, 1e-5 for sums of products, 2e-5 for a chain of up to seven of them;
a hundredth of one of an image file's 256 levels is 4e-5.
"""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as reference
from torchvision.transforms import ColorJitter, RandomResizedCrop

from benchmark.data import views
from benchmark.data.views import ViewParams, ViewSpec

ALL = ViewSpec(
    crop_scale=(0.08, 1.0),
    flip=0.5,
    jitter=(0.4, 0.4, 0.2, 0.1),
    jitter_p=0.8,
    grey_p=0.2,
    blur_p=0.5,
    solarize_p=0.2,
)
STRONG = ViewSpec(crop_scale=(0.08, 1.0), flip=0.5, jitter=(0.8, 0.8, 0.8, 0.5), jitter_p=1.0, grey_p=0.1, blur_p=0.5)

ADJUST = (
    reference.adjust_brightness,
    reference.adjust_contrast,
    reference.adjust_saturation,
    reference.adjust_hue,
)
SIZES = [(40, 40), (24, 36), (37, 21), (33, 65)]

Apply = Callable[[torch.Tensor, ViewParams], torch.Tensor]


@pytest.fixture(params=[views.apply, views.apply_batched], ids=["by image", "batched"])
def apply(request) -> Apply:
    """What a CPU does, and what a GPU does."""
    return request.param


def pictures(height: int, width: int, count: int = 24) -> torch.Tensor:
    """uint8 (count, 3, height, width): a third noise, a third smooth, then grey and saturated ones."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (8, 3, height, width), generator=generator, dtype=torch.uint8)
    coarse = torch.randint(0, 256, (8, 3, 5, 5), generator=generator, dtype=torch.uint8)
    smooth = reference.resize(coarse, [height, width])
    grey = noise[:4, :1].expand(-1, 3, -1, -1)
    extreme = (noise[:4] > 127).to(torch.uint8) * 255
    return torch.cat([noise, smooth, grey, extreme])[:count]


def params(images: torch.Tensor, **changes: torch.Tensor) -> ViewParams:
    """Parameters that change nothing, except ``changes``."""
    count, _, height, width = images.shape
    no = torch.zeros(count, dtype=torch.bool)
    neutral = {
        "crop": torch.tensor([0.0, 0.0, height, width]).repeat(count, 1),
        "flip": no,
        "jitter": no,
        "order": torch.arange(4).repeat(count, 1),
        "factors": torch.tensor([1.0, 1, 1, 0]).repeat(count, 1),
        "grey": no,
        "sigma": torch.zeros(count),
        "solarize": no,
    }
    return ViewParams(**{**neutral, **changes})


def jittered(image: torch.Tensor, order: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """As torchvision's ColorJitter carries out what its get_params has drawn."""
    for step in order.tolist():
        image = ADJUST[step](image, factors[step].item())
    return image


def expected_view(image: torch.Tensor, drawn: ViewParams, row: int) -> torch.Tensor:
    """The whole pipeline of one image, by torchvision, without solarization."""
    height, width = image.shape[1:]
    x = reference.resized_crop(image / 255, *drawn.crop[row].int().tolist(), [height, width], antialias=True)
    x = reference.hflip(x) if drawn.flip[row] else x
    x = jittered(x, drawn.order[row], drawn.factors[row]) if drawn.jitter[row] else x
    x = reference.rgb_to_grayscale(x, 3) if drawn.grey[row] else x
    if drawn.sigma[row] > 0:
        x = reference.gaussian_blur(x, [views.blur_width(min(height, width))] * 2, [drawn.sigma[row].item()])
    return x


def close(batch: torch.Tensor, singles: list[torch.Tensor], tolerance: float) -> None:
    torch.testing.assert_close(batch, torch.stack(singles), atol=tolerance, rtol=0)


def test_neutral_parameters_return_the_image(apply):
    images = pictures(40, 40)
    result = apply(images, params(images))
    torch.testing.assert_close(result, images / 255, atol=1e-6, rtol=0)


def test_views_are_channels_last_and_can_be_put_somewhere():
    images = pictures(24, 36)
    drawn = views.draw(ALL, 24, 24, 36, np.random.default_rng(2))
    result = views.apply(images, drawn)
    assert result.is_contiguous(memory_format=torch.channels_last)
    both = torch.empty(48, 3, 24, 36).contiguous(memory_format=torch.channels_last)
    views.apply(images, drawn, out=both[24:])
    assert torch.equal(both[24:], result)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_crop(apply, height, width):
    images = pictures(height, width)
    drawn = views.draw(ViewSpec(crop_scale=(0.02, 1.0)), len(images), height, width, np.random.default_rng(1))
    expected = [
        reference.resized_crop(image / 255, *box.int().tolist(), [height, width], antialias=True)
        for image, box in zip(images, drawn.crop, strict=True)
    ]
    close(apply(images, params(images, crop=drawn.crop)), expected, 1e-5)


def test_crop_of_one_pixel_and_along_one_axis(apply):
    images = pictures(20, 30, count=3)
    crop = torch.tensor([[19.0, 29, 1, 1], [0, 3, 20, 1], [4, 0, 1, 30]])
    expected = [
        reference.resized_crop(image / 255, *box.int().tolist(), [20, 30], antialias=True)
        for image, box in zip(images, crop, strict=True)
    ]
    close(apply(images, params(images, crop=crop)), expected, 1e-5)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_flip_only_where_drawn(apply, height, width):
    images = pictures(height, width)
    flip = torch.arange(24) % 3 == 0
    expected = [reference.hflip(image / 255) if f else image / 255 for image, f in zip(images, flip, strict=True)]
    close(apply(images, params(images, flip=flip)), expected, 1e-6)


@pytest.mark.parametrize("step", range(4), ids=["brightness", "contrast", "saturation", "hue"])
def test_each_step_of_the_jitter(apply, step):
    images = pictures(37, 21)
    factors = torch.tensor([1.0, 1, 1, 0]).repeat(24, 1)
    factors[:, step] = torch.linspace(-0.5, 0.5, 24) if step == views.HUE else torch.linspace(0, 2, 24)
    expected = [
        ADJUST[step](image / 255, factor.item()) for image, factor in zip(images, factors[:, step], strict=True)
    ]
    result = apply(images, params(images, jitter=torch.ones(24, dtype=torch.bool), factors=factors))
    close(result, expected, 1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_jitter_in_every_order(apply, seed):
    """Each of the 24 orders, on another picture each time."""
    images = pictures(40, 40)
    order = torch.tensor(list(itertools.permutations(range(4))))[torch.randperm(24, generator=_generator(seed))]
    factors = torch.rand(24, 4, generator=_generator(seed)) * torch.tensor([1.6, 1.6, 1.6, 1.0])
    factors += torch.tensor([0.2, 0.2, 0.2, -0.5])  # every hue shift there is
    jitter = torch.arange(24) % 5 != 4
    drawn = params(images, jitter=jitter, order=order, factors=factors)
    expected = [expected_view(image, drawn, row) for row, image in enumerate(images)]
    close(apply(images, drawn), expected, 2e-5)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_grayscale(apply, height, width):
    images = pictures(height, width)
    grey = torch.arange(24) % 2 == 0
    expected = [
        reference.rgb_to_grayscale(image / 255, 3) if g else image / 255 for image, g in zip(images, grey, strict=True)
    ]
    close(apply(images, params(images, grey=grey)), expected, 1e-6)


@pytest.mark.parametrize(("height", "width"), [*SIZES, (130, 128)])
def test_blur(apply, height, width):
    images = pictures(height, width)
    sigma = torch.linspace(0, 2.0, 24)
    kernel = [views.blur_width(min(height, width))] * 2
    expected = [
        reference.gaussian_blur(image / 255, kernel, [s]) if s > 0 else image / 255
        for image, s in zip(images, sigma.tolist(), strict=True)
    ]
    close(apply(images, params(images, sigma=sigma)), expected, 1e-5)


@pytest.mark.parametrize(("side", "width"), [(32, 3), (64, 7), (128, 13), (224, 23)])
def test_blur_width_is_a_tenth(side, width):
    assert views.blur_width(side) == width


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_solarize(apply, height, width):
    images = pictures(height, width)
    chosen = torch.arange(24) % 2 == 0
    expected = [
        reference.solarize(image / 255, 0.5) if s else image / 255 for image, s in zip(images, chosen, strict=True)
    ]
    close(apply(images, params(images, solarize=chosen)), expected, 1e-6)


@pytest.mark.parametrize("spec", [ALL, STRONG], ids=["as in the recipes", "strong"])
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("count", [1, 24])
def test_whole_view(apply, spec, height, width, count):
    """All operations after each other, in torchvision's order."""
    images = pictures(height, width, count)
    drawn = views.draw(spec, count, height, width, np.random.default_rng(3))
    expected = [expected_view(image, drawn, row) for row, image in enumerate(images)]
    without = ViewParams(**{**vars(drawn), "solarize": torch.zeros(count, dtype=torch.bool)})
    # Solarization is a jump at 1/2, checked above; a hue turned by half multiplies the rounding of a nearly grey pixel.
    close(apply(images, without), expected, 2e-5)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 65)])
def test_both_paths_agree_with_solarization(height, width):
    images = pictures(height, width)
    drawn = views.draw(ALL, 24, height, width, np.random.default_rng(9))
    difference = (views.apply(images, drawn) - views.apply_batched(images, drawn)).abs()
    assert (difference > 2e-5).float().mean() < 1e-4  # pixels whose value is 1/2 but for rounding
    assert drawn.solarize.any()


def test_an_image_does_not_depend_on_its_batch(apply):
    images = pictures(40, 40)
    drawn = views.draw(ALL, 24, 40, 40, np.random.default_rng(4))
    alone = [apply(images[i : i + 1], drawn[i : i + 1])[0] for i in range(24)]
    close(apply(images, drawn), alone, 1e-5)


def test_bits_do_not_depend_on_threads():
    images = pictures(40, 40).repeat(3, 1, 1, 1)
    drawn = views.draw(ALL, len(images), 40, 40, np.random.default_rng(5))
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            results.append(views.apply(images, drawn))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert results[0].min() >= 0
    assert results[0].max() <= 1


def test_images_need_not_be_contiguous(apply):
    images = pictures(24, 36)
    drawn = views.draw(ALL, 24, 24, 36, np.random.default_rng(6))
    assert torch.equal(
        apply(images.contiguous(memory_format=torch.channels_last), drawn), apply(images.contiguous(), drawn)
    )


def test_draws_follow_the_spec():
    count = 4000
    drawn = views.draw(ALL, count, 64, 64, np.random.default_rng(6))
    top, left, height, width = drawn.crop.unbind(1)
    assert (drawn.crop == drawn.crop.round()).all()
    assert top.min() >= 0
    assert left.min() >= 0
    assert (top + height).max() <= 64
    assert (left + width).max() <= 64
    share = height * width / 64**2
    assert 0.06 < share.min() < 0.1
    theirs = [RandomResizedCrop.get_params(torch.empty(3, 64, 64), [0.08, 1], [3 / 4, 4 / 3]) for _ in range(2000)]
    shares = torch.tensor([h * w / 64**2 for _, _, h, w in theirs])
    quantiles = torch.tensor([0.1, 0.5, 0.9])
    torch.testing.assert_close(share.quantile(quantiles), shares.quantile(quantiles), atol=0.04, rtol=0)
    assert len(drawn.crop.unique(dim=0)) > 0.9 * count
    for chosen, p in (
        (drawn.flip, 0.5),
        (drawn.jitter, 0.8),
        (drawn.grey, 0.2),
        (drawn.sigma > 0, 0.5),
        (drawn.solarize, 0.2),
    ):
        assert abs(chosen.float().mean().item() - p) < 0.03
    low, high = torch.tensor([0.6, 0.6, 0.8, -0.1]), torch.tensor([1.4, 1.4, 1.2, 0.1])
    assert (drawn.factors >= low).all()
    assert (drawn.factors <= high).all()
    torch.testing.assert_close(drawn.factors.mean(0), (low + high) / 2, atol=0.02, rtol=0)


def test_every_order_of_the_jitter_is_drawn_alike():
    drawn = views.draw(ALL, 24_000, 64, 64, np.random.default_rng(8))
    orders, counts = drawn.order.unique(dim=0, return_counts=True)
    assert orders.tolist() == [list(order) for order in itertools.permutations(range(4))]
    assert counts.min() > 850
    assert counts.max() < 1150  # 1000 each, standard deviation 31
    assert sorted(ColorJitter(0.4, 0.4, 0.2, 0.1).get_params(None, None, None, None)[0].tolist()) == [0, 1, 2, 3]


def test_draws_are_a_function_of_the_generator():
    first, second, other = (views.draw(ALL, 8, 64, 64, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert torch.equal(first.crop, second.crop)
    assert torch.equal(first.sigma, second.sigma)
    assert not torch.equal(first.crop, other.crop)
