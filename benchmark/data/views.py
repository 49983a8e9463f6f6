"""Batched views: random augmentations of a whole batch, with parameters of its own for every image.

Two steps, so that each operation can be checked against its per-image counterpart in torchvision:
``draw`` makes the random parameters (small arrays, from a NumPy generator, hence the same for every device and
resumable by seed), ``apply`` turns uint8 images and parameters into float views on the images' device.

The operations are the paper's five (crop, colour jitter, grayscale, Gaussian blur, solarization) and an optional flip,
in torchvision's order and with its arithmetic, including the clamping after every step and the random order of the
jitter's four steps.

On a GPU they are the tensor operations of this module. Resizing and blurring are separable, so each is two matrix
products per image with small per-image matrices; the flip is a reversed row order of one of them. On a CPU, where every
pass over a batch goes through memory, ``apply`` carries out the same arithmetic image by image (kernels.py).
"""

import functools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # steps of the colour jitter, numbered as in torchvision

_GREY = (0.2989, 0.587, 0.114)  # ITU-R 601 luma as rounded by torchvision
_PARTS = 4  # of a batch for each thread: another process on one of the cores delays a part, not half of the batch


@dataclass(frozen=True)
class ViewSpec:
    """How one view of an image is drawn. Probabilities in [0, 1]; the defaults change nothing but the crop.

    crop_scale: range of the crop's share of the area; crop_ratio: range of its aspect ratio (log-uniform).
    flip: probability of a horizontal flip. jitter: strengths (brightness, contrast, saturation, hue) as in
    torchvision's ColorJitter, applied with probability jitter_p. blur_sigma: range in pixels; the kernel spans a
    tenth of the side.
    """

    crop_scale: tuple[float, float] = (1.0, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.0
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    jitter_p: float = 0.0
    grey_p: float = 0.0
    blur_p: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize_p: float = 0.0


@dataclass(frozen=True)
class ViewParams:
    """The drawn parameters of B views, all on the CPU.

    crop: float32 (B, 4), top, left, height, width in pixels (whole numbers when drawn). factors: float32 (B, 4),
    brightness, contrast and saturation factors, and the hue shift in turns. order: int64 (B, 4), the jitter's steps
    (BRIGHTNESS ... HUE) from the first to the last. sigma: float32 (B,), 0 for no blur. flip, jitter, grey, solarize:
    bool (B,), whether.
    """

    crop: Tensor
    flip: Tensor
    jitter: Tensor
    order: Tensor
    factors: Tensor
    grey: Tensor
    sigma: Tensor
    solarize: Tensor

    def __getitem__(self, rows: slice) -> "ViewParams":
        return ViewParams(*(getattr(self, field.name)[rows] for field in fields(self)))


def draw(spec: ViewSpec, count: int, height: int, width: int, rng: np.random.Generator) -> ViewParams:
    """Parameters for ``count`` views of images of height x width pixels."""

    def chance(p: float) -> Tensor:
        return torch.from_numpy(rng.random(count) < p)

    strengths = np.array(spec.jitter)
    low = np.append(np.maximum(0.0, 1.0 - strengths[:3]), -strengths[3])
    high = np.append(1.0 + strengths[:3], strengths[3])
    sigma = rng.uniform(*spec.blur_sigma, count) * (rng.random(count) < spec.blur_p)
    return ViewParams(
        crop=torch.from_numpy(_draw_crops(spec, count, height, width, rng)),
        flip=chance(spec.flip),
        jitter=chance(spec.jitter_p),
        order=torch.from_numpy(rng.random((count, 4)).argsort(axis=1)),
        factors=torch.from_numpy(rng.uniform(low, high, (count, 4)).astype(np.float32)),
        grey=chance(spec.grey_p),
        sigma=torch.from_numpy(sigma.astype(np.float32)),
        solarize=chance(spec.solarize_p),
    )


def _draw_crops(spec: ViewSpec, count: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 4) whole-pixel boxes: the first of ten tries that fits, else the whole image, as in Inception's crop."""
    tries = (count, 10)
    area = height * width * rng.uniform(*spec.crop_scale, tries)
    ratio = np.exp(rng.uniform(math.log(spec.crop_ratio[0]), math.log(spec.crop_ratio[1]), tries))
    w, h = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
    first = fits.argmax(axis=1)[:, None]
    found = fits.any(axis=1)
    w = np.where(found, np.take_along_axis(w, first, 1)[:, 0], width)
    h = np.where(found, np.take_along_axis(h, first, 1)[:, 0], height)
    top = np.floor(rng.random(count) * (height - h + 1))
    left = np.floor(rng.random(count) * (width - w + 1))
    return np.stack([top, left, h, w], axis=1).astype(np.float32)


def apply(images: Tensor, params: ViewParams, out: Tensor | None = None) -> Tensor:
    """uint8 (B, 3, H, W) -> float32 (B, 3, H, W) in [0, 1], channels_last, on the images' device.

    out: where to put them, of this shape and layout: fresh memory for every batch can cost a CPU a fifth of the work.
    On a CPU with as many threads as torch has; the values do not depend on their number.
    """
    if out is None:
        out = torch.empty(images.shape, device=images.device, memory_format=torch.channels_last)
    if images.device.type == "cpu":
        _apply_by_image(images, params, out)
    else:
        out.copy_(apply_batched(images, params))
    return out


def apply_batched(images: Tensor, params: ViewParams) -> Tensor:
    """The same as ``apply``, in any layout, by tensor operations on any device."""
    x = resized_crop(images, params.crop, params.flip)
    x = _where(params.jitter, colour_jitter, x, params.factors, params.order)
    x = _where(params.grey, grayscale, x)
    x = _where(params.sigma > 0, gaussian_blur, x, params.sigma)
    return _where(params.solarize, solarize, x)


def _apply_by_image(images: Tensor, params: ViewParams, out: Tensor) -> None:
    from benchmark.data import kernels  # numba takes a second to import

    count, _, height, width = images.shape
    pixels, pictures = out.permute(0, 2, 3, 1).numpy(), images.contiguous().numpy()
    arrays = [getattr(params, field.name).numpy() for field in fields(params)]
    half = blur_width(min(height, width)) // 2

    def draw_part(rows: slice) -> None:
        kernels.views(pictures[rows], *(array[rows] for array in arrays), half, pixels[rows])

    threads = torch.get_num_threads()
    part = -(-count // (_PARTS * threads))
    parts = [slice(start, start + part) for start in range(0, count, part)]
    if threads == 1:
        draw_part(slice(None))
    else:
        list(_pool(threads).map(draw_part, parts))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="views")


def _where(chosen: Tensor, operation: Callable[..., Tensor], x: Tensor, *params: Tensor) -> Tensor:
    """Apply an operation to the chosen images only. ``chosen`` is on the CPU, so no device has to be waited for."""
    rows, others = chosen.nonzero()[:, 0], (~chosen).nonzero()[:, 0]
    if len(rows) == 0:
        return x
    if len(others) == 0:
        return operation(x, *params)
    order = torch.cat([rows, others])
    back = order.argsort().to(x.device, non_blocking=True)
    rows_there, others_there = order.to(x.device, non_blocking=True).split([len(rows), len(others)])
    changed = operation(x.index_select(0, rows_there), *(param[rows] for param in params))
    # On a CPU this is half the cost of writing the changed images back with x[rows] = changed.
    return torch.cat([changed, x.index_select(0, others_there)]).index_select(0, back)


def resized_crop(images: Tensor, crop: Tensor, flip: Tensor) -> Tensor:
    """Cut boxes (B, 4) of top, left, height, width pixels and resize each to the full size, antialiased bilinear.

    images: uint8 (B, C, H, W); flip: bool (B,), mirror left and right. Returns float32 in [0, 1], contiguous.
    """
    height, width = images.shape[2:]
    crop = crop.to(images.device, non_blocking=True)
    rows = _resize_matrices(crop[:, 0], crop[:, 2], height) / 255
    columns = _resize_matrices(crop[:, 1], crop[:, 3], width)
    flip = flip.to(images.device, non_blocking=True)
    columns = torch.where(flip[:, None, None], columns.flip(1), columns)
    return _separable(images.float(), rows, columns)


def _separable(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows (B, H', H) and columns (B, W', W) applied to the last two axes of x (B, C, H, W)."""
    count, channels, height, width = x.shape
    x = torch.bmm(x.reshape(count, channels * height, width), columns.transpose(1, 2))
    return torch.matmul(rows[:, None], x.view(count, channels, height, -1))


def _resize_matrices(start: Tensor, length: Tensor, size: int) -> Tensor:
    """(B, size, size): row o holds the weights that output pixel o gives the input pixels in [start, start + length).

    A triangle filter as wide as the output's pixel (never narrower than an input pixel), cut off at the box and
    normalised: what PIL and torch call antialiased bilinear.
    """
    scale = (length / size)[:, None, None]
    pixel = torch.arange(size, device=start.device) + 0.5
    centre = start[:, None, None] + pixel[None, :, None] * scale
    weights = (1 - (pixel - centre).abs() / scale.clamp(min=1)).clamp_(min=0)
    inside = (pixel > start[:, None]) & (pixel < (start + length)[:, None])
    weights = weights * inside[:, None, :]
    return weights / weights.sum(dim=2, keepdim=True)


def colour_jitter(x: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue, in each image's own order. x: (B, 3, H, W) in [0, 1].

    factors: (B, 4); a factor of 1 (for hue a shift of 0) changes nothing, hue is in turns, [-0.5, 0.5]. order: (B, 4),
    on the CPU, as in ViewParams.

    Sorted by the place of their hue step, the images that have a step before it, or after it, are neighbours: no step
    is computed for an image that does not want it.
    """
    place = (order == HUE).int().argmax(dim=1)
    place, rows = place.sort()
    steps = order[rows].unbind(1)
    there = rows.to(x.device, non_blocking=True)
    x, factors = x.index_select(0, there), factors[rows]
    for k in range(3):
        late = slice(int((place <= k).sum()), None)  # their hue comes after step k
        _blend(x[late], factors[late], steps[k][late])
    _shift_hue(x, factors[:, HUE].to(x.device, non_blocking=True).view(-1, 1, 1))
    for k in range(1, 4):
        early = slice(0, int((place < k).sum()))
        _blend(x[early], factors[early], steps[k][early])
    return torch.empty_like(x).index_copy_(0, there, x)


def _blend(x: Tensor, factors: Tensor, step: Tensor) -> None:
    """One of brightness, contrast and saturation for each image, in place: all three move x away from something grey,
    which is black, the image's mean luma, or each pixel's luma."""
    if len(x) == 0:
        return
    factor = factors.gather(1, step[:, None])
    table = torch.stack([factor[:, 0], (step == CONTRAST).float(), (step == SATURATION).float()])
    factor, of_mean, of_pixel = table.to(x.device, non_blocking=True).view(3, -1, 1, 1, 1).unbind(0)
    grey = _luma(x)
    grey = torch.addcmul(grey.mean(dim=(2, 3), keepdim=True) * of_mean, grey, of_pixel)
    torch.lerp(grey, x, factor, out=x).clamp_(0, 1)


def _luma(x: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W)"""
    red, green, blue = x.split(1, dim=1)
    return (red * _GREY[0]).add_(green, alpha=_GREY[1]).add_(blue, alpha=_GREY[2])


def _shift_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Move the hue of the HSV colour by ``turns`` (B, 1, 1). x: (B, 3, H, W) in [0, 1], changed in place.

    HSV is never formed in full. With value v, chroma c and hue h in sixths of a turn, a channel of the shifted colour
    is v - c * clamp(min(k, 4 - k), 0, 1) for k = (n + h) mod 6 and n = 5, 3, 1 for red, green, blue.
    """
    red, green, blue = x.unbind(1)
    value = x.amax(dim=1)
    chroma = value - x.amin(dim=1)
    scale = 1 / chroma.clamp(min=1e-8)
    # Hue by which channel is the largest, red before green before blue; float masks and lerp because torch.where is
    # several times slower on a CPU.
    is_red, is_green = torch.empty_like(value), torch.empty_like(value)
    torch.eq(value, red, out=is_red)
    torch.eq(value, green, out=is_green)
    hue = (red - green).mul_(scale).add_(4)
    hue.lerp_((blue - red).mul_(scale).add_(2), is_green)
    hue.lerp_((green - blue).mul_(scale), is_red)
    hue.div_(6).add_(turns)
    for channel, offset in enumerate((5, 3, 1)):
        # min(k, 4 - k) = 2 - |k - 2|, and k - 2 taken to [-3, 3]: in turns, what is left after rounding.
        k = hue + (offset - 2) / 6
        k.sub_(k.round()).abs_().mul_(-6).add_(2).clamp_(0, 1)
        torch.addcmul(value, chroma, k, value=-1, out=x[:, channel])
    return x


def grayscale(x: Tensor) -> Tensor:
    """(B, 3, H, W) -> the same shape, all three channels the luma."""
    return _luma(x).expand_as(x)


def gaussian_blur(x: Tensor, sigma: Tensor) -> Tensor:
    """Blur (B, C, H, W) with its own sigma > 0 (B,) in pixels, mirrored at the borders.

    The kernel spans ``blur_width`` of the shorter side, as SimCLR's; wide sigmas are cut off by it.
    """
    sigma = sigma.to(x.device, non_blocking=True)
    half = blur_width(min(x.shape[2:])) // 2
    rows = _blur_matrices(sigma, half, x.shape[2])
    columns = rows if x.shape[2] == x.shape[3] else _blur_matrices(sigma, half, x.shape[3])
    return _separable(x, rows, columns)


def blur_width(side: int) -> int:
    """The kernel's width in pixels: about a tenth of the side, odd, at least 3."""
    return max(3, side // 20 * 2 + 1)


def _blur_matrices(sigma: Tensor, half: int, size: int) -> Tensor:
    """(B, size, size): row o holds the weights of output pixel o, the kernel folded back at both borders."""
    offset = torch.arange(-half, half + 1, device=sigma.device)
    kernel = torch.exp(-0.5 * (offset / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    source = torch.arange(size, device=sigma.device)[:, None] + offset  # (size, K)
    source = (size - 1) - ((size - 1) - source.abs()).abs()  # reflect without repeating the border pixel
    matrices = torch.zeros((len(sigma), size, size), device=sigma.device)
    return matrices.scatter_add_(
        2, source.expand(len(sigma), -1, -1), kernel[:, None, :].expand(-1, size, -1).contiguous()
    )


def solarize(x: Tensor) -> Tensor:
    """Invert what is at or above one half."""
    return torch.where(x >= 0.5, 1 - x, x)
