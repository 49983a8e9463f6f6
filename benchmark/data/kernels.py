"""The operations of views.py for a CPU, compiled with numba: one image after the other, without leaving the cache.

A batched tensor operation reads and writes the whole batch; colour jitter alone is some seventy of them. Here an image
passes through all of its operations in buffers of its own size, which stay in the core's cache, and only the operations
drawn for it are carried out. The arithmetic is that of views.py, which says where it comes from; tests hold both to
torchvision's per-image functions.

Compiled at the first call (about ten seconds, once per machine: numba keeps the result in __pycache__, or in the user's
cache folder where that cannot be written).
"""

from collections.abc import Callable

import numpy as np
from numba import njit

RED, GREEN, BLUE = np.float32(0.2989), np.float32(0.587), np.float32(0.114)  # luma, as torchvision rounds it
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)


def _compiled(function: Callable) -> Callable:
    # nogil: threads run side by side. numpy's error model: a division never raises, so loops become vector code.
    options = {"nogil": True, "fastmath": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep it in: compiled in every process
        return njit(**options)(function)


@_compiled
def views(images, crop, flip, jitter, order, factors, grey, sigma, solarize, half, out):
    """Draw the views of a part of a batch.

    images: uint8 (B, 3, H, W); crop ... solarize: the arrays of ViewParams; half: pixels of the blur's kernel beside
    its middle. out: float32 (B, H, W, 3), written.
    """
    count, _, height, width = images.shape
    x = np.empty((3, height * width), np.float32)
    spare = np.empty((3, height * width), np.float32)
    for i in range(count):
        _resized_crop(images[i], crop[i], flip[i], x)
        if jitter[i]:
            for k in range(4):
                _adjust(x, order[i, k], factors[i])
        if grey[i]:
            _grayscale(x)
        if sigma[i] > 0:
            _blur(x, spare, sigma[i], half, height, width)
        if solarize[i]:
            _solarize(x)
        _interleave(x, out[i])


@_compiled
def _resized_crop(image, crop, flip, x):
    """Bilinear; never downwards, since the box lies within the image, so that two pixels along each axis decide."""
    _, height, width = image.shape
    top, left, box_height, box_width = int(crop[0]), int(crop[1]), int(crop[2]), int(crop[3])
    first, second, share = np.empty(width, np.int32), np.empty(width, np.int32), np.empty(width, np.float32)
    for j in range(width):
        at = width - 1 - j if flip else j
        first[j], second[j], share[j] = _neighbours(at, box_width, width)
    row = np.empty(box_width, np.float32)
    for i in range(height):
        above, below, part = _neighbours(i, box_height, height)
        upper, lower = np.float32((1 - part) / 255), np.float32(part / 255)
        for channel in range(3):
            one = image[channel, top + above, left : left + box_width]
            other = image[channel, top + below, left : left + box_width]
            for j in range(box_width):
                row[j] = upper * np.float32(one[j]) + lower * np.float32(other[j])
            line = x[channel, i * width : (i + 1) * width]
            for j in range(width):
                near = row[first[j]]
                line[j] = near + share[j] * (row[second[j]] - near)


@_compiled
def _neighbours(at, length, size):
    """The two pixels of a box of `length` that output pixel `at` of `size` lies between, and the second one's share."""
    place = min(max((at + 0.5) * length / size - 0.5, 0.0), length - 1.0)
    before = int(place)
    return before, min(before + 1, length - 1), place - before


@_compiled
def _adjust(x, operation, factors):
    factor = factors[operation]
    if operation == 0:
        _brightness(x, factor)
    elif operation == 1:
        _contrast(x, factor)
    elif operation == 2:
        _saturation(x, factor)
    else:
        _hue(x, factor)


@_compiled
def _brightness(x, factor):
    for channel in range(3):
        line = x[channel]
        for j in range(len(line)):
            line[j] = min(max(line[j] * factor, _ZERO), _ONE)


@_compiled
def _contrast(x, factor):
    red, green, blue = x[0], x[1], x[2]
    total = _ZERO
    for j in range(len(red)):
        total += RED * red[j] + GREEN * green[j] + BLUE * blue[j]
    offset = (_ONE - factor) * (total / np.float32(len(red)))
    for channel in range(3):
        line = x[channel]
        for j in range(len(line)):
            line[j] = min(max(line[j] * factor + offset, _ZERO), _ONE)


@_compiled
def _saturation(x, factor):
    red, green, blue = x[0], x[1], x[2]
    rest = _ONE - factor
    for j in range(len(red)):
        r, g, b = red[j], green[j], blue[j]
        offset = rest * (RED * r + GREEN * g + BLUE * b)
        red[j] = min(max(r * factor + offset, _ZERO), _ONE)
        green[j] = min(max(g * factor + offset, _ZERO), _ONE)
        blue[j] = min(max(b * factor + offset, _ZERO), _ONE)


@_compiled
def _hue(x, turns):
    """Conditions are written as choices between values, which become vector code, not as branches."""
    red, green, blue = x[0], x[1], x[2]
    two, four, six = np.float32(2), np.float32(4), np.float32(6)
    shift = six * np.float32(turns - np.floor(turns))
    tiny = np.float32(1e-8)
    for j in range(len(red)):
        r, g, b = red[j], green[j], blue[j]
        value = max(max(r, g), b)
        chroma = value - min(min(r, g), b)
        scale = _ONE / max(chroma, tiny)
        by_green = two + (b - r) * scale
        by_blue = four + (r - g) * scale
        hue = by_green if value == g else by_blue
        by_red = (g - b) * scale
        hue = (by_red if value == r else hue) + shift  # in sixths of a turn, [-1, 11)
        hue = hue - six if hue >= six else hue
        hue = hue + six if hue < _ZERO else hue
        red[j] = value - chroma * _ramp(hue + np.float32(5))
        green[j] = value - chroma * _ramp(hue + np.float32(3))
        blue[j] = value - chroma * _ramp(hue + _ONE)


@_compiled
def _ramp(k):
    """What a channel lacks of the value, as a share of the chroma; k: sixths of a turn, [0, 12)."""
    k = k - np.float32(6) if k >= np.float32(6) else k
    return min(max(min(k, np.float32(4) - k), _ZERO), _ONE)


@_compiled
def _grayscale(x):
    red, green, blue = x[0], x[1], x[2]
    for j in range(len(red)):
        luma = RED * red[j] + GREEN * green[j] + BLUE * blue[j]
        red[j] = luma
        green[j] = luma
        blue[j] = luma


@_compiled
def _blur(x, spare, sigma, half, height, width):
    taps = np.empty(2 * half + 1, np.float32)
    total = 0.0
    for k in range(2 * half + 1):
        total += np.exp(-0.5 * ((k - half) / sigma) ** 2)
    for k in range(2 * half + 1):
        taps[k] = np.exp(-0.5 * ((k - half) / sigma) ** 2) / total
    padded = np.empty(width + 2 * half, np.float32)
    for channel in range(3):
        for i in range(height):  # along the rows, into spare
            line, blurred = x[channel, i * width : (i + 1) * width], spare[channel, i * width : (i + 1) * width]
            for j in range(half):
                padded[j] = line[half - j]
                padded[half + width + j] = line[width - 2 - j]
            padded[half : half + width] = line
            blurred[:] = _ZERO
            for k in range(2 * half + 1):
                tap, shifted = taps[k], padded[k : k + width]
                for j in range(width):
                    blurred[j] += tap * shifted[j]
        for i in range(height):  # and down the columns, back into x
            blurred = x[channel, i * width : (i + 1) * width]
            blurred[:] = _ZERO
            for k in range(2 * half + 1):
                row = abs(i + k - half)
                row = height - 1 - abs(height - 1 - row)
                tap, line = taps[k], spare[channel, row * width : (row + 1) * width]
                for j in range(width):
                    blurred[j] += tap * line[j]


@_compiled
def _solarize(x):
    for channel in range(3):
        line = x[channel]
        for j in range(len(line)):
            line[j] = _ONE - line[j] if line[j] >= _HALF else line[j]


@_compiled
def _interleave(x, out):
    """(3, H * W) -> (H, W, 3)"""
    pixels = out.reshape(-1, 3)
    red, green, blue = x[0], x[1], x[2]
    for j in range(len(red)):
        pixels[j, 0] = red[j]
        pixels[j, 1] = green[j]
        pixels[j, 2] = blue[j]
