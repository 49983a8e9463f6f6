"""Small datasets on disk, in the contract's format."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

LATENTS = ("yaw", "pitch", "roll", "floor_hue", "spot_theta", "spot_phi", "spot_hue")


def encode(pixels: np.ndarray, format: str) -> bytes:
    """uint8 (H, W, 3) -> an image file's bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[format])
    return file.getvalue()


def sample(index: int, split: str = "train", side: int = 32, format: str = "png") -> dict:
    """One member pair, as webdataset's TarWriter wants it; random but a function of the index."""
    rng = np.random.default_rng(index)
    quaternion = rng.normal(size=4)
    quaternion *= np.sign(quaternion[0]) / np.linalg.norm(quaternion)
    labels = {
        "index": index,
        "object_id": f"object-{index % 5}",
        "category": f"category-{index % 2}",
        "family": "",
        "split": split,
        "latents": dict(zip(LATENTS, rng.random(len(LATENTS)).tolist(), strict=True)),
        "quaternion": quaternion.tolist(),
    }
    pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    return {"__key__": f"{index:09d}", format: encode(pixels, format), "json": json.dumps(labels).encode()}


def write_shard(path: Path, samples: list[dict]) -> Path:
    with webdataset.TarWriter(str(path)) as tar:
        for entry in samples:
            tar.write(entry)
    return path


def write(folder: Path, count: int = 32, split: str = "train", side: int = 32, **spec: object) -> Path:
    """A dataset of one split in two shards whose indices interleave."""
    folder.mkdir(parents=True, exist_ok=True)
    info = {"gr3d": "0", "blender": "none", "spec": {"seed": 0, "resolution": side, **spec}}
    (folder / "dataset.json").write_text(json.dumps(info))
    for shard in (0, 1):
        indices = [index for index in range(count) if index % 2 != shard]
        write_shard(folder / f"{split}-{shard:06d}.tar", [sample(index, split, side) for index in indices])
    return folder


@pytest.fixture(scope="session")
def write_dataset() -> Callable[..., Path]:
    """write(folder, count=32, split="train", side=32, **spec) -> folder"""
    return write


@pytest.fixture(scope="session")
def make_sample() -> Callable[..., dict]:
    """sample(index, split="train", side=32, format="png") -> a sample for put_shard"""
    return sample


@pytest.fixture(scope="session")
def put_shard() -> Callable[[Path, list[dict]], Path]:
    """write_shard(path, samples) -> path"""
    return write_shard
