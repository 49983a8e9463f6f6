"""Small datasets in the files in which they are published."""

import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def images(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    """uint8 (count, *shape), random."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_idx(path: Path, values: np.ndarray) -> None:
    head = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    with gzip.open(path, "wb") if path.suffix == ".gz" else path.open("wb") as file:
        file.write(head + values.tobytes())


def fashion_mnist(folder: Path, train: int = 20, val: int = 10, ending: str = ".gz") -> Path:
    """Labels count through the classes."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate((("train", train), ("t10k", val))):
        write_idx(folder / f"{name}-images-idx3-ubyte{ending}", images(count, 28, 28, seed=seed))
        write_idx(folder / f"{name}-labels-idx1-ubyte{ending}", np.arange(count, dtype=np.uint8) % 10)
    return folder


def python2_pickle(batch: dict[bytes, object]) -> bytes:
    """A batch of CIFAR-10 as Python 2's cPickle wrote it (protocol 2, byte strings, numpy.core.multiarray)."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def array(value: np.ndarray) -> bytes:
        dtype = (
            b"cnumpy\ndtype\n("
            + text(b"u1")
            + b"K\x00K\x01tR(K\x03"
            + text(b"|")
            + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        )
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"tR"
        shape = b"(" + b"".join(map(number, value.shape)) + b"t"
        return made + b"(K\x01" + shape + dtype + b"\x89" + text(value.tobytes()) + b"tb"

    def written(value: object) -> bytes:
        if isinstance(value, np.ndarray):
            return array(value)
        if isinstance(value, list):
            return b"](" + b"".join(map(written, value)) + b"e"
        return number(value) if isinstance(value, int) else text(value)

    return b"\x80\x02}(" + b"".join(written(key) + written(value) for key, value in batch.items()) + b"u."


NAMES = (b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck")


def cifar10_python(folder: Path, count: int = 10, dump: Callable[[dict], bytes] = python2_pickle) -> Path:
    """cifar-10-batches-py with `count` images a batch; labels count through the classes."""
    batches = folder / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    for seed, name in enumerate((*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")):
        batch = {
            b"batch_label": b"a batch",
            b"labels": [row % 10 for row in range(count)],
            b"data": images(count, 3072, seed=seed),
            b"filenames": [b"image_%d.png" % row for row in range(count)],
        }
        (batches / name).write_bytes(dump(batch))
    (batches / "batches.meta").write_bytes(dump({b"num_cases_per_batch": count, b"label_names": list(NAMES)}))
    return folder


def cifar10_binary(folder: Path, count: int = 10) -> Path:
    batches = folder / "cifar-10-batches-bin"
    batches.mkdir(parents=True)
    for seed, name in enumerate((*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")):
        rows = np.concatenate([np.arange(count, dtype=np.uint8)[:, None] % 10, images(count, 3072, seed=seed)], axis=1)
        (batches / f"{name}.bin").write_bytes(rows.tobytes())
    (batches / "batches.meta.txt").write_text("\n".join(name.decode() for name in NAMES) + "\n\n")
    return folder


def photograph(path: Path, width: int = 40, height: int = 30, seed: int = 0, format: str = "JPEG") -> Path:
    """A picture file of random pixels, in a folder made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(images(1, height, width, 3, seed=seed)[0]).save(path, format)
    return path


def python3_pickle(protocol: int) -> Callable[[dict], bytes]:
    """How those who write such batches themselves may pickle them: text instead of byte strings."""

    def text(value: object) -> object:
        return value.decode() if isinstance(value, bytes) else value

    def dump(batch: dict) -> bytes:
        items = {
            text(key): list(map(text, value)) if isinstance(value, list) else value for key, value in batch.items()
        }
        return pickle.dumps(items, protocol)

    return dump
