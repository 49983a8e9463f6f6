"""Files of neighbours: what is written comes back, and what cannot be such a file is refused."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.data.neighbours import Neighbours, identity, load_neighbours
from benchmark.data.table import load_table
from benchmark.errors import UserError

FOUND = Neighbours(
    places=np.array([[1, 2], [0, 3], [3, 0], [2, 1]]),
    similarity=np.array([[0.9, 0.5], [0.9, 0.4], [0.8, 0.5], [0.8, 0.4]], np.float32),
    data={"images": 4, "split": "train"},
    network={"name": "simclr", "layer": "trunk"},
)


def test_what_is_saved_comes_back(tmp_path):
    FOUND.save(tmp_path / "new" / "near.npz")
    back = load_neighbours(tmp_path / "new" / "near.npz")
    assert np.array_equal(back.places, FOUND.places) and np.array_equal(back.similarity, FOUND.similarity)
    assert (back.data, back.network, back.digest) == (FOUND.data, FOUND.network, FOUND.digest)
    FOUND.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "new" / "near.npz").read_bytes()


def test_digest_tells_neighbours_and_images_apart():
    others = [
        replace(FOUND, places=FOUND.places[:, ::-1]),
        replace(FOUND, places=FOUND.places[:, :1]),
        replace(FOUND, data={"images": 4, "split": "val"}),
    ]
    assert len({FOUND.digest, *(other.digest for other in others)}) == 4
    assert replace(FOUND, network={}).digest == FOUND.digest  # who found them changes nothing that is learnt


def test_identity_is_of_the_samples_in_their_order(tmp_path, write_dataset):
    data = write_dataset(tmp_path / "data", count=8, side=16)
    table = load_table(data, "train")
    known = identity(data, "train", table)
    assert known == json.loads(json.dumps(known))
    assert known["images"] == 8 and known["dataset resolution"] == 16
    assert identity(data, "train", load_table(data, "train")) == known
    table.categories[3] = "else"
    assert identity(data, "train", table)["samples"] != known["samples"]
    more = write_dataset(tmp_path / "more", count=10, side=16)
    found = replace(FOUND, data=known)
    found.check(known, Path("near.npz"))
    with pytest.raises(UserError, match=r"near\.npz: neighbours among other images \(images: 8, of this dataset 10\)"):
        found.check(identity(more, "train", load_table(more, "train")), Path("near.npz"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"places": FOUND.places.astype(np.int32)}, "int32"),
        ({"places": FOUND.places[0]}, "places are"),
        ({"places": FOUND.places[:3], "similarity": FOUND.similarity[:3]}, "3 rows for 4 images"),
        ({"places": FOUND.places + 1}, "that there are not"),
        ({"places": FOUND.places - 1}, "that there are not"),
        ({"places": np.array([[0, 2], [0, 3], [3, 0], [2, 1]])}, "its own neighbour"),
        ({"places": np.array([[1, 1], [0, 3], [3, 0], [2, 1]])}, "twice"),
        ({"similarity": FOUND.similarity[:, :1]}, "similarity is"),
        ({"places": np.array([[None]])}, "pickle|Object"),
    ],
)
def test_what_cannot_be_neighbours_is_refused(tmp_path, change, says):
    path = tmp_path / "near.npz"
    about = {"format": "gr3d-neighbours-1", "data": FOUND.data, "network": FOUND.network}
    arrays = {"places": FOUND.places, "similarity": FOUND.similarity, **change}
    np.savez(path, **arrays, about=np.frombuffer(json.dumps(about).encode(), np.uint8))
    with pytest.raises(UserError, match=rf"near\.npz: damaged, or not a file of gr3d neighbours .*({says})"):
        load_neighbours(path)


def test_files_of_others(tmp_path):
    path = tmp_path / "near.npz"
    with pytest.raises(UserError, match=r"no such file; make one with gr3d neighbours"):
        load_neighbours(path)
    for content in (b"", b"text", _npy(), _npz(about=b"{}"), _npz(about=b"not json"), _npz(), _bomb()):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"near\.npz: damaged, or not a file of gr3d neighbours"):
            load_neighbours(path)


def test_every_cut_of_a_file_is_refused(tmp_path):
    FOUND.save(tmp_path / "near.npz")
    whole = (tmp_path / "near.npz").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "near.npz").write_bytes(whole[:length])
        with pytest.raises(UserError, match="damaged"):
            load_neighbours(tmp_path / "near.npz")


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, FOUND.places)
    return file.getvalue()


def _npz(**members: bytes) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{name: np.frombuffer(value, np.uint8) for name, value in members.items()})
    return file.getvalue()


def _bomb() -> bytes:
    """A few kilobytes that would unpack to a few hundred megabytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bomb:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 25,)})
        bomb.writestr("about.npy", header.getvalue() + bytes(1 << 25))
    return file.getvalue()
