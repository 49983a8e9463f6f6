"""Small JSON files that save measuring again. Losing one, or being unable to write one, only costs time."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path


def read(name: str) -> dict:
    """What was written under `name`; {} when there is nothing, or nothing readable."""
    try:
        data = json.loads((cache_folder() / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, RuntimeError):
        return {}
    return data if isinstance(data, dict) else {}


def write(name: str, data: dict) -> None:
    """Replace what is under `name`, at once or not at all; not at all where the folder cannot be written."""
    with contextlib.suppress(OSError, RuntimeError):
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f"{name}.", suffix=".tmp", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(data, file)
            os.replace(temporary, folder / f"{name}.json")
        except OSError:
            os.unlink(temporary)


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/gr3d, else ~/.cache/gr3d. RuntimeError when there is no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "gr3d"
