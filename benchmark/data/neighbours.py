"""Files of nearest neighbours (`gr3d neighbours`): which images are near which, and among which images that was found.

An .npz with places.npy (int64 (N, k)), similarity.npy (float32 (N, k)) and about.npy (JSON as bytes). Nothing in it is
executed, and it is not believed: it comes from outside.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.data.table import ImageTable, read_dataset_info
from benchmark.errors import UserError
from benchmark.files import write_atomically

MOST = 1000  # neighbours of an image

_FORMAT = "gr3d-neighbours-1"
_MOST_ABOUT = 1 << 24  # bytes


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The k nearest of each of N images, itself excluded.

    places: int64 (N, k), rows of the table they were found in, the nearest first. similarity: float32 (N, k), their
    cosines. data: those images' `identity`. network: what found them, for the reader.
    """

    places: np.ndarray
    similarity: np.ndarray
    data: dict
    network: dict

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that stand for who is whose neighbour among which images."""
        said = json.dumps([self.places.shape, self.data], sort_keys=True).encode()
        return hashlib.sha256(said + self.places.astype("<i8").tobytes()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write aside, then rename. UserError when it cannot be written."""
        about = {"format": _FORMAT, "data": self.data, "network": self.network}
        file = io.BytesIO()
        np.savez(
            file,
            places=self.places,
            similarity=self.similarity,
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
        )
        write_atomically(path, file.getvalue())

    def check(self, data: dict, path: Path) -> None:
        """UserError unless they were found among the images whose `identity` is ``data``; ``path``: their file."""
        for name in [*data, *self.data]:
            if self.data.get(name) != data.get(name):
                raise UserError(
                    f"{path}: neighbours among other images ({name}: {self.data.get(name)}, of this dataset "
                    f"{data.get(name)}); find them again with gr3d neighbours --data"
                )


def identity(data: Path | str, split: str, table: ImageTable) -> dict:
    """What a table's rows are: the dataset's spec, and a digest of every sample's number, object and category in their
    order. As it reads back from JSON."""
    labels = [table.index.tolist(), table.object_ids, table.categories]
    found = {
        **{f"dataset {name}": value for name, value in read_dataset_info(data)["spec"].items()},
        "split": split,
        "images": len(table),
        "samples": hashlib.sha256(json.dumps(labels).encode()).hexdigest(),
    }
    return json.loads(json.dumps(found))


def load_neighbours(path: Path) -> Neighbours:
    """UserError when there is no such file, or it is not one of `Neighbours.save`."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; make one with gr3d neighbours --out {path}", exit_code=2)
    try:
        with np.load(path, allow_pickle=False) as file:
            _check_size(file.zip)
            about = json.loads(file["about"].tobytes())
            if about["format"] != _FORMAT:
                raise ValueError(f"format {about['format']!r}, expected {_FORMAT!r}")
            found = Neighbours(file["places"], file["similarity"], dict(about["data"]), dict(about["network"]))
        _check_places(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, MemoryError, zipfile.error) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: damaged, or not a file of gr3d neighbours ({reason})") from error
    return found


def _check_size(file: zipfile.ZipFile) -> None:
    """ValueError for members that unpack to more than they can mean: np.savez does not compress."""
    for member in file.infolist():
        if member.file_size > member.compress_size + _MOST_ABOUT:
            raise ValueError(f"{member.filename} would unpack to {member.file_size} bytes")


def _check_places(found: Neighbours) -> None:
    """ValueError unless every row holds neighbours that there are, not the image itself, none of them twice."""
    places, similarity = found.places, found.similarity
    if places.dtype != np.int64 or places.ndim != 2 or not 1 <= places.shape[1] <= MOST:
        raise ValueError(f"places are {places.dtype} {places.shape}")
    if similarity.dtype != np.float32 or similarity.shape != places.shape:
        raise ValueError(f"similarity is {similarity.dtype} {similarity.shape}, places are {places.shape}")
    if len(places) != found.data.get("images"):
        raise ValueError(f"{len(places)} rows for {found.data.get('images')} images")
    if places.min() < 0 or places.max() >= len(places):
        raise ValueError("it names images that there are not")
    if (places == np.arange(len(places))[:, None]).any():
        raise ValueError("an image is its own neighbour")
    if (np.diff(np.sort(places, axis=1), axis=1) == 0).any():
        raise ValueError("an image is another's neighbour twice")
