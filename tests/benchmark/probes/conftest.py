"""A small dataset with the layout of a real one, whose images show some of the latents."""

import io
import json
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HALF = math.pi / 2
RANGES = {
    "yaw": (-HALF, HALF),
    "pitch": (-HALF, HALF),
    "roll": (-HALF, HALF),
    "floor_hue": (0, 1),
    "spot_theta": (0, HALF / 2),
    "spot_phi": (0, 4 * HALF),
    "spot_hue": (0, 1),
}


def quaternion(yaw: float, pitch: float, roll: float) -> list[float]:
    """[w, x, y, z] of Rz(yaw) Ry(pitch) Rx(roll)."""
    (a, b, c), (x, y, z) = ([f(angle / 2) for angle in (yaw, pitch, roll)] for f in (math.cos, math.sin))
    return [a * b * c + x * y * z, a * b * z - x * y * c, a * y * c + x * b * z, x * b * c - a * y * z]


def draw(latents: dict[str, float]) -> np.ndarray:
    """uint8 (16, 16, 3): floor hue fills the lower half, yaw and spot theta the brightness of two patches."""
    image = np.full((16, 16, 3), 90.0)
    turn = 2 * math.pi * latents["floor_hue"]
    image[8:, :, 0], image[8:, :, 1] = 128 + 100 * math.cos(turn), 128 + 100 * math.sin(turn)
    image[:4, :8] = 128 + 70 * latents["yaw"]
    image[:4, 8:] = 40 + 250 * latents["spot_theta"]
    return image.clip(0, 255).astype(np.uint8)


def write_split(folder: Path, split: str, count: int, objects: list[str], first: int) -> None:
    rng = np.random.default_rng(first)
    with tarfile.open(folder / f"{split}-000000.tar", "w") as tar:
        for index in range(first, first + count):
            latents = {name: float(rng.uniform(*span)) for name, span in RANGES.items()}
            png = io.BytesIO()
            Image.fromarray(draw(latents)).save(png, "PNG")
            labels = {
                "index": index,
                "object_id": objects[index % len(objects)],
                "category": "chair",
                "family": "chair",
                "split": split,
                "latents": latents,
                "quaternion": quaternion(latents["yaw"], latents["pitch"], latents["roll"]),
            }
            for ending, data in (("png", png.getvalue()), ("json", json.dumps(labels).encode())):
                member = tarfile.TarInfo(f"{index:09d}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 probe, 60 val_views and 60 val images; val shows other objects. One more split, `lone`, has a
    single object."""
    folder = tmp_path_factory.mktemp("dataset")
    (folder / "dataset.json").write_text(json.dumps({"gr3d": "0", "blender": "4.5.0", "spec": {"seed": 0}}))
    known = [f"chair/{k}" for k in range(10)]
    write_split(folder, "probe", 240, known, 0)
    write_split(folder, "val_views", 60, known, 1000)
    write_split(folder, "val", 60, ["chair/90", "chair/91"], 2000)
    write_split(folder, "lone", 20, ["chair/0"], 3000)
    return folder
