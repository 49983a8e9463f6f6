"""Paths in USD files, found without USD."""

import struct
import zipfile

import pytest

from assets import usd
from assets.errors import BadObject

TEXT = b'#usda 1.0\n(subLayers = [@./sub/a.usda@])\ndef "x" (references = @../b.usd@</x>) { asset t = @@@c@d.png@@@ }\n'


def crate(tokens: bytes, version: tuple[int, int, int] = (0, 8, 0), packed: bytes | None = None) -> bytes:
    """A binary file with a table of tokens and nothing else; `packed` with USD's framing and LZ4 in it."""
    if packed is None:  # literals alone, at most 14
        packed = b"\0" + bytes([len(tokens) << 4 & 0xF0]) + tokens
    body = struct.pack("<QQQ", 1, len(tokens), len(packed)) + packed
    if version < (0, 4, 0):
        body = struct.pack("<QQ", 1, len(tokens)) + tokens
    start = 88
    table = struct.pack("<Q", 1) + struct.pack("<16sqq", b"TOKENS", start, len(body))
    return b"PXR-USDC" + bytes([*version]) + bytes(5) + struct.pack("<q", start + len(body)) + bytes(64) + body + table


def test_paths_in_text():
    assert usd.strings(TEXT) == ["./sub/a.usda", "../b.usd", "c@d.png"]


def test_tokens_of_a_crate():
    assert usd.strings(crate(b"a.usd\0b.png\0")) == ["a.usd", "b.png"]
    assert usd.strings(crate(b"old.usd\0" * 9, version=(0, 0, 1))) == ["old.usd"] * 9


def test_lz4_with_long_runs_matches_that_overlap_and_several_chunks():
    literals = bytes([0xF0, 255, 5]) + b"x" * 275  # 15 + 255 + 5
    overlapping = (
        bytes([0x1F]) + b"y" + struct.pack("<H", 1) + bytes([255, 1]) + bytes([0x10]) + b"\0"
    )  # 1 + 275 times y
    packed = bytes([2]) + b"".join(struct.pack("<i", len(chunk)) + chunk for chunk in (literals, overlapping))
    assert usd.strings(crate(b"?", packed=packed)) == ["x" * 275 + "y" * 276]


def test_a_package_names_what_is_not_in_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.usdz", "w") as package:
        package.writestr("root.usda", TEXT)
        package.writestr("sub/a.usda", '#usda 1.0\ndef "x" (payload = @/etc/x.usd@) {}')
    assert usd.strings((tmp_path / "p.usdz").read_bytes()) == ["../b.usd", "c@d.png", "/etc/x.usd"]


@pytest.mark.parametrize(
    "data",
    [
        b"PXR-USDC",
        crate(b"a")[:-20],
        crate(b"a", packed=b"\0\x0f\x01\x00"),  # a match before there is anything
        crate(b"a", packed=b"\0\x1fa\x01\x00" + b"\xff" * 1000),  # a length that does not end
        b"PK\x03\x04 no zip",
    ],
)
def test_damaged_files_are_refused(data):
    with pytest.raises(BadObject):
        usd.strings(data)
