"""The reader of OpenEXR files, on files put together here. That it reads Blender's is tested by the passes' tests."""

import struct

import numpy as np
import pytest

from renderer import exr


def attribute(name: str, kind: str, content: bytes) -> bytes:
    return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<I", len(content)) + content


def exr_file(
    values: dict[str, np.ndarray], compression: int = 0, kind: int = 2, flags: int = 0, first: int = 0
) -> bytes:
    """Channels of equal shape (H, W) as scan lines, written from the last line to the first."""
    height, width = next(iter(values.values())).shape
    channels = b"".join(name.encode() + b"\0" + struct.pack("<4i", kind, 0, 1, 1) for name in values) + b"\0"
    window = struct.pack("<4i", 0, first, width - 1, first + height - 1)
    header = attribute("channels", "chlist", channels) + attribute("compression", "compression", bytes([compression]))
    header += attribute("dataWindow", "box2i", window) + attribute("lineOrder", "lineOrder", b"\1") + b"\0"
    lines = b"".join(
        struct.pack("<2i", first + row, 4 * width * len(values)) + b"".join(v[row].tobytes() for v in values.values())
        for row in reversed(range(height))
    )
    return b"\x76\x2f\x31\x01" + struct.pack("<I", 2 | flags) + header + bytes(8 * height) + lines


@pytest.fixture
def values() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(5, 7)).astype("<f4") for name in ("Layer.Depth.Z", "Layer.Normal.X")}


@pytest.mark.parametrize("first", [0, 3])
def test_channels_come_back_as_they_were(values, first):
    read = exr.read(exr_file(values, first=first))
    assert list(read) == list(values)
    for name, channel in values.items():
        np.testing.assert_array_equal(read[name], channel)


@pytest.mark.parametrize("change", [{"compression": 3}, {"kind": 1}, {"flags": 0x1000}, {"flags": 0x200}])
def test_other_kinds_are_refused(values, change):
    with pytest.raises(ValueError, match=r"OpenEXR|32-bit float"):
        exr.read(exr_file(values, **change))


def test_parts_of_a_file_are_refused(values):
    whole = exr_file(values)
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"OpenEXR|buffer"):
            exr.read(whole[:length])
