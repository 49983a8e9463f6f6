"""What a long reading has finished, kept until the result is written, so that a second start does not read it again."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import torch

from benchmark.data.datasets import open_dataset
from benchmark.errors import UserError
from benchmark.files import write_atomically
from benchmark.probes.features import weights_hash
from benchmark.probes.subjects import Subject

FOLDER = ".unfinished"

Value = TypeVar("Value", bound=Mapping)


class Parts:
    """Finished parts of one result, a file each in FOLDER of the folder `out`; in no folder, nothing is kept.

    A context: left without an exception, with the result written, it deletes them.
    """

    def __init__(self, out: Path | None = None) -> None:
        self.folder = None if out is None else out / FOLDER

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None and self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def get(self, what: str, key: Mapping[str, object], make: Callable[[], Value]) -> Value:
        """What an earlier start made for the same `key`, or else make(), which is kept.

        what: the part in words, for stderr. key: JSON values, everything that the part depends on. make: gives a dict
        of tensors on the CPU and plain Python values, as deep as one likes. UserError when it cannot be written.
        """
        if self.folder is None:
            return make()
        path = self.folder / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()}.pt"
        found = _read(path)
        if found is not None:
            print(f"{what}: kept from before", file=sys.stderr)
            return found
        made = make()
        buffer = io.BytesIO()
        torch.save(made, buffer)
        write_atomically(path, buffer.getvalue())
        return made


def what_is_read(name: str, subject: Subject) -> dict[str, object]:
    """What features of a network depend on, besides the images and the pooling: JSON values."""
    network = subject.open()
    layers = list(getattr(network, "layers", ()))  # of gr3d's own; a foreign network's are in its config
    return {"network": name, "weights": weights_hash(network), "layers": layers, "config": subject.config}


def images_of(data: str | Path, split: str) -> list:
    """JSON values that change whenever an image of the split or its label does."""
    return [split, *open_dataset(data).source(split).identity()]


def _read(path: Path) -> dict | None:
    """None for what is not there, or is damaged and has to be made again."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); delete it") from error
    try:
        return torch.load(io.BytesIO(data), weights_only=True)
    except Exception as error:  # torch has a kind for every damage
        print(f"warning: {path}: damaged ({type(error).__name__}); its images are read again", file=sys.stderr)
        return None
