"""Passes: further files of a sample that say of every pixel what it shows. Their names, files and encodings.

Every pass is sampled once, at the pixel's centre: no value mixes two surfaces, so masks are not anti-aliased and a
depth is that of a point. They look through a surface that is at most half opaque.

    KEY.mask.png    8-bit grey: 255 on the object, 0 on the floor
    KEY.depth.npy   float32 (H, W): distance from the camera along its axis (not along the ray), of the floor, too; in
                    units of the scene, in which the camera is 2.5 from the object's centre
    KEY.normal.png  8-bit RGB: round(255 (n + 1) / 2) of the unit normal n in the world's axes (z up, the camera on the
                    -y side), on the side of the surface that is seen; the object's turn with its rotation

`.npy` because the readers of both webdataset and Hugging Face `datasets` give its numbers unchanged; webdataset's makes
8-bit pictures of 16-bit PNGs.
"""

import io
from collections.abc import Callable

import numpy as np

from assets.errors import UserError
from renderer.images import png

#: Pass -> the ending of its file after the sample's key, in the order in which they are named and stored.
ENDINGS = {"mask": "mask.png", "depth": "depth.npy", "normal": "normal.png"}

#: What the card of a dataset says of them.
MEANINGS = {
    "mask": "8-bit grey: 255 on the object, 0 on the floor",
    "depth": "float32 (height, width): distance from the camera along its axis, of the floor, too, in units of the "
    "scene (the camera is 2.5 from the object's centre)",
    "normal": "8-bit RGB: round(255 (n + 1) / 2) of the unit normal n in the world's axes (z up, the camera on the -y "
    "side)",
}


def parse_passes(text: str) -> tuple[str, ...]:
    """Read "normal,mask" into ("mask", "normal"): each once, in the order of ENDINGS, whatever was typed.

    Raises UserError (exit code 2) for a name that no pass has.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in ENDINGS:
            raise UserError(f"--passes {text}: no pass is called '{name}'; there are {', '.join(ENDINGS)}", exit_code=2)
    return tuple(name for name in ENDINGS if name in names)


def encode(name: str, values: np.ndarray) -> bytes:
    """The file of a pass.

    Args:
        name: one of ENDINGS.
        values: (H, W) bool for mask, (H, W) for depth, (H, W, 3) unit vectors for normal.
    """
    if name == "mask":
        return png(np.where(values, 255, 0).astype(np.uint8))
    if name == "normal":
        return png(np.round(255 * (np.clip(values, -1, 1) + 1) / 2).astype(np.uint8))
    file = io.BytesIO()
    np.save(file, values.astype("<f4"), allow_pickle=False)
    return file.getvalue()


def read_depth(data: bytes) -> np.ndarray:
    """The depths (H, W) float32 in a .depth.npy file. Raises ValueError if it is damaged or holds something else."""
    try:
        depth = np.load(io.BytesIO(data), allow_pickle=False)
    except EOFError:
        raise ValueError("an empty file") from None
    if not isinstance(depth, np.ndarray) or depth.dtype != np.dtype("<f4") or depth.ndim != 2:
        raise ValueError("not a table of 32-bit floats")
    if not (np.isfinite(depth) & (depth > 0)).all():
        raise ValueError("depths that are not positive numbers")
    return depth


def is_depth(data: bytes) -> bool:
    """Whether `read_depth` can read it."""
    try:
        read_depth(data)
    except ValueError:
        return False
    return True


def fault(file: str, data: bytes | None, side: int, decode: Callable[[bytes], tuple[int, int]]) -> str:
    """What is wrong with the file of an image or a pass, "" if nothing.

    Args:
        file: its name.
        data: what it holds, None if it is not there.
        side: width and height that it must have.
        decode: width and height of a picture; raises on a damaged one.
    """
    if data is None:
        return "is missing"
    try:
        size = read_depth(data).shape if file.endswith(".npy") else decode(data)
    except Exception as error:
        return f"does not decode ({error})"
    return "" if size == (side, side) else f"is not {side} x {side}"
