"""Training on tables kept in other places, and on plain images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.errors import UserError
from benchmark.probes.online import read_records
from benchmark.recipes import RECIPES
from benchmark.training import TrainConfig, train


def run(data: Path, out: Path, objective: str = "simclr", **how: str) -> dict:
    settings = replace(RECIPES["small"][objective], epochs=1, batch=8, head="none")
    train(TrainConfig(run=settings, data=data, out=out, device="cpu", **how))
    return torch.load(out / "checkpoint.pt", weights_only=True)["network"]


def test_the_place_of_the_images_changes_no_weight(write_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = write_dataset(tmp_path / "data", count=16)
    one, other = (run(data, tmp_path / place, table=place) for place in ("ram", "mmap"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    said = capsys.readouterr().err
    assert f"{data}: split 'train': 16 images, 0 MB in RAM (as asked for)\n" in said
    assert f"mapped from {tmp_path / 'cache'}" in said


def test_plain_images(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(32):
        path = tmp_path / "photos" / "train" / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    for objective in ("simclr", "supervised"):
        assert run(tmp_path / "photos", tmp_path / objective, objective)
        assert read_records(tmp_path / objective)[0]["accuracy"].keys() >= {"stem", "trunk"}
    with pytest.raises(UserError, match="folder of plain images: it has categories, but no quaternion"):
        run(tmp_path / "photos", tmp_path / "rotation", "rotation")
