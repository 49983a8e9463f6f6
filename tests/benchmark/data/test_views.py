"""Every batched operation against torchvision's for single images, given the same parameters."""

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as reference
from torchvision.transforms import RandomResizedCrop

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


@pytest.fixture
def images() -> torch.Tensor:
    """uint8 (24, 3, 40, 40): noise, smooth, grey and saturated ones."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (8, 3, 40, 40), generator=generator, dtype=torch.uint8)
    coarse = torch.randint(0, 256, (8, 3, 5, 5), generator=generator, dtype=torch.uint8)
    smooth = reference.resize(coarse, [40, 40])
    grey = noise[:4, :1].expand(-1, 3, -1, -1)
    extreme = (noise[:4] > 127).to(torch.uint8) * 255
    return torch.cat([noise, smooth, grey, extreme])


def params(count: int, height: int, width: int, **changes: torch.Tensor) -> ViewParams:
    """Parameters that change nothing, except ``changes``."""
    no = torch.zeros(count, dtype=torch.bool)
    whole = torch.tensor([0.0, 0.0, height, width]).expand(count, 4)
    neutral = {"crop": whole, "flip": no, "jitter": no, "factors": torch.tensor([1.0, 1, 1, 0]).expand(count, 4)}
    return ViewParams(**{**neutral, "grey": no, "sigma": torch.zeros(count), "solarize": no, **changes})


def close(batch: torch.Tensor, singles: list[torch.Tensor], tolerance: float) -> None:
    torch.testing.assert_close(batch, torch.stack(singles), atol=tolerance, rtol=0)


def test_neutral_parameters_return_the_image(images):
    result = views.apply(images, params(24, 40, 40))
    torch.testing.assert_close(result, images / 255, atol=1e-6, rtol=0)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_crop(images):
    drawn = views.draw(ViewSpec(crop_scale=(0.05, 1.0)), len(images), 40, 40, np.random.default_rng(1))
    result = views.resized_crop(images, drawn.crop, drawn.flip)
    expected = [
        reference.resized_crop(image / 255, *box.int().tolist(), [40, 40], antialias=True)
        for image, box in zip(images, drawn.crop, strict=True)
    ]
    close(result, expected, 1e-5)


def test_crop_of_an_oblong_image():
    image = torch.randint(0, 256, (1, 3, 24, 36), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    result = views.resized_crop(image, torch.tensor([[2.0, 5, 20, 17]]), torch.tensor([False]))
    close(result, [reference.resized_crop(image[0] / 255, 2, 5, 20, 17, [24, 36], antialias=True)], 1e-5)


def test_flip_only_where_drawn(images):
    flip = torch.arange(24) % 3 == 0
    result = views.apply(images, params(24, 40, 40, flip=flip))
    expected = [reference.hflip(image / 255) if f else image / 255 for image, f in zip(images, flip, strict=True)]
    close(result, expected, 1e-6)


def test_colour_jitter(images):
    generator = torch.Generator().manual_seed(2)
    factors = torch.rand(24, 4, generator=generator) * torch.tensor([0.8, 0.8, 0.4, 1.0])
    factors += torch.tensor([0.6, 0.6, 0.8, -0.5])  # every hue shift there is
    result = views.colour_jitter(images / 255, factors)
    expected = []
    for image, (brightness, contrast, saturation, hue) in zip(images / 255, factors.tolist(), strict=True):
        image = reference.adjust_brightness(image, brightness)
        image = reference.adjust_contrast(image, contrast)
        image = reference.adjust_saturation(image, saturation)
        expected.append(reference.adjust_hue(image, hue))
    close(result, expected, 2e-5)


def test_grayscale(images):
    close(views.grayscale(images / 255), [reference.rgb_to_grayscale(image / 255, 3) for image in images], 1e-6)


def test_blur(images):
    sigma = torch.linspace(0.1, 2.0, 24)
    width = views.blur_width(40)
    expected = [
        reference.gaussian_blur(image / 255, [width, width], [s])
        for image, s in zip(images, sigma.tolist(), strict=True)
    ]
    close(views.gaussian_blur(images / 255, sigma), expected, 1e-5)


@pytest.mark.parametrize(("side", "width"), [(32, 3), (64, 7), (128, 13), (224, 23)])
def test_blur_width_is_a_tenth(side, width):
    assert views.blur_width(side) == width


def test_solarize(images):
    close(views.solarize(images / 255), [reference.solarize(image / 255, 0.5) for image in images], 0)


def test_whole_view(images):
    """All operations after each other, in torchvision's order."""
    drawn = views.draw(ALL, 24, 40, 40, np.random.default_rng(3))
    expected = []
    for row, image in enumerate(images):
        x = reference.resized_crop(image / 255, *drawn.crop[row].int().tolist(), [40, 40], antialias=True)
        x = reference.hflip(x) if drawn.flip[row] else x
        if drawn.jitter[row]:
            brightness, contrast, saturation, hue = drawn.factors[row].tolist()
            x = reference.adjust_contrast(reference.adjust_brightness(x, brightness), contrast)
            x = reference.adjust_hue(reference.adjust_saturation(x, saturation), hue)
        x = reference.rgb_to_grayscale(x, 3) if drawn.grey[row] else x
        if drawn.sigma[row] > 0:
            x = reference.gaussian_blur(x, [views.blur_width(40)] * 2, [drawn.sigma[row].item()])
        expected.append(x)
    drawn_without = ViewParams(**{**vars(drawn), "solarize": torch.zeros(24, dtype=torch.bool)})
    close(views.apply(images, drawn_without), expected, 5e-5)  # solarize is a jump at 1/2, checked above


def test_an_image_does_not_depend_on_its_batch(images):
    drawn = views.draw(ALL, 24, 40, 40, np.random.default_rng(4))
    alone = [views.apply(images[i : i + 1], drawn[i : i + 1])[0] for i in range(24)]
    close(views.apply(images, drawn), alone, 1e-5)


def test_pieces_of_a_large_batch(images):
    many = images.repeat(8, 1, 1, 1)
    drawn = views.draw(ALL, len(many), 40, 40, np.random.default_rng(5))
    result = views.apply(many, drawn)
    torch.testing.assert_close(result[100:], views.apply(many[100:], drawn[slice(100, None)]), atol=1e-5, rtol=0)
    assert result.min() >= -1e-6
    assert result.max() <= 1 + 1e-6


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


def test_draws_are_a_function_of_the_generator():
    first, second, other = (views.draw(ALL, 8, 64, 64, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert torch.equal(first.crop, second.crop)
    assert torch.equal(first.sigma, second.sigma)
    assert not torch.equal(first.crop, other.crop)
