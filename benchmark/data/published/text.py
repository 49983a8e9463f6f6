"""Text files from outside."""

from pathlib import Path

from benchmark.errors import UserError

_LARGEST = 1 << 28  # bytes; the lists of ImageNet and Places205 have up to 2^27


def read_lines(path: Path) -> list[str]:
    """The lines. UserError for a file that is too large, cannot be read or is no text."""
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path}: {path.stat().st_size} bytes, the limit is {_LARGEST}")
        return path.read_text().splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no text ({error})") from error
