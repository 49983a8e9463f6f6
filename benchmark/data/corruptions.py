"""The corruptions of ImageNet-C, drawn here on any dataset by the library imagecorruptions (its fork that is kept up,
imagecorruptions-imaug), whose functions follow the published ones."""

import zlib
from functools import cache
from types import ModuleType

import numpy as np

from benchmark.errors import UserError

#: The fifteen over which the paper's mCE is taken.
CORRUPTIONS = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
ALL = (*CORRUPTIONS, "speckle_noise", "gaussian_blur", "spatter", "saturate")
SEVERITIES = (1, 2, 3, 4, 5)

SMALLEST = 32  # pixels along a side that the library takes

_SEEDED = ("impulse_noise", "glass_blur")  # which numpy's generator does not reach


def corrupted(image: np.ndarray, corruption: str, severity: int, *identity: object) -> np.ndarray:
    """The image, uint8 (H, W, 3), of at least SMALLEST pixels a side, with one of ALL at a severity from 1 to 5.

    identity: what the randomness follows from, beside the corruption and its severity. Sets numpy's global generator:
    call it from one thread. UserError without the library.
    """
    library = _library()
    seed = zlib.crc32(repr((corruption, severity, *identity)).encode(errors="surrogateescape"))
    np.random.seed(seed)
    given = {"seed": seed} if corruption in _SEEDED else {}
    return np.asarray(library.corrupt(image, severity, corruption, **given))


@cache
def _library() -> ModuleType:
    try:
        import imagecorruptions
    except ImportError as error:
        raise UserError(
            f"corruptions need the library imagecorruptions-imaug ({error}); pip install 'gr3d[corruptions]'"
        ) from error
    return imagecorruptions


def check_library() -> None:
    """UserError unless corruptions can be drawn here."""
    _library()
