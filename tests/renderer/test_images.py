"""Stripping metadata keeps every pixel and drops every comment; arrays become PNGs that others read."""

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from renderer.images import png, without_metadata

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 17, 3), dtype=np.uint8)


def encode(**options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, **options)
    return buffer.getvalue()


def decode(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def test_jpeg_loses_comments_and_exif_only():
    exif = Image.Exif()
    exif[0x0131] = "Blender"
    plain = encode(format="JPEG", quality=90)
    noted = encode(format="JPEG", quality=90, comment=b"RenderTime 00:01", exif=exif)
    assert b"RenderTime" in noted and noted != plain
    assert without_metadata(noted, "jpg") == without_metadata(plain, "jpg") == plain
    assert np.array_equal(decode(plain), decode(without_metadata(noted, "jpg")))


def test_png_loses_text_only():
    text = PngImagePlugin.PngInfo()
    text.add_text("RenderTime", "00:01")
    text.add_itxt("Date", "today")
    noted = encode(format="PNG", pnginfo=text)
    stripped = without_metadata(noted, "png")
    assert stripped == encode(format="PNG")
    assert np.array_equal(decode(stripped), PIXELS)


@pytest.mark.parametrize("image_format", ["jpg", "png"])
def test_other_files_are_refused(image_format):
    with pytest.raises(ValueError, match="not a"):
        without_metadata(b"GIF89a", image_format)


def test_jpeg_without_a_picture_is_refused():
    with pytest.raises(ValueError, match="without a picture"):
        without_metadata(encode(format="JPEG")[:40], "jpg")


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1)])
def test_png_is_read_by_others_as_it_was(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    picture = Image.open(io.BytesIO(png(pixels)))
    assert picture.mode == ("L" if len(shape) == 2 else "RGB")
    np.testing.assert_array_equal(np.asarray(picture), pixels)
