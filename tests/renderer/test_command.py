"""Which Blender draws: what --blender may name, and what is taken without it."""

import colorsys
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import webdataset

from assets.errors import UserError
from renderer.command import WORKER, find_blender
from tests.needs import BPY5, ROOT, needs_blender, needs_bpy, needs_bpy5


@needs_bpy
def test_a_python_that_has_bpy_is_a_blender():
    assert find_blender(sys.executable) == [sys.executable, str(WORKER)]
    assert find_blender(None) == find_blender(sys.executable)


@needs_blender
def test_a_blender_program_runs_the_worker_in_the_background():
    command = find_blender("blender")
    assert Path(command[0]).is_absolute() and "-b" in command and command[-2:] == [str(WORKER), "--"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such program"),
        ("#!/bin/sh\necho GIMP 2.10", "neither Blender nor a Python"),
        ("#!/nonexistent/interpreter\n", "does not run"),
        (
            '#!/bin/sh\n[ "$1" = -c ] && exec /usr/bin/env python3 -S "$@" || echo Python 3.13.1',
            "has no bpy and no numpy",
        ),
    ],
)
def test_anything_else_is_refused(tmp_path, content, says):
    program = tmp_path / "program"
    if content is not None:
        program.write_text(content)
        program.chmod(0o755)
    with pytest.raises(UserError, match=says) as caught:
        find_blender(str(program))
    assert caught.value.exit_code == 2 and str(program) in str(caught.value)


@pytest.mark.parametrize(
    ("named", "version"),
    [
        pytest.param(sys.executable, "4.5", marks=needs_bpy),
        pytest.param("blender", "", marks=needs_blender),
        pytest.param(BPY5, "5.0", marks=[needs_bpy5, pytest.mark.slow]),
    ],
    ids=["bpy", "blender", "bpy5"],
)
def test_a_dataset_in_each(tmp_path, named, version):
    """The smoke test: a run of render.py whose floors have the hues of their labels."""
    out = tmp_path / "data"
    options = [
        "--n",
        "20",
        "--objects",
        "procedural:chair",
        "--resolution",
        "32",
        "--format",
        "png",
        "--blender",
        named,
    ]
    command = [sys.executable, str(ROOT / "renderer" / "render.py"), "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "dataset.json").read_text())["blender"].startswith(version)
    urls = sorted(map(str, out.glob("*.tar")))
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb"))
    assert len(samples) == 20
    for sample in samples:
        image, hue = sample["png"], sample["json"]["latents"]["floor_hue"]
        seen = colorsys.rgb_to_hsv(*image[:3, :3].mean(axis=(0, 1)))[0]
        assert abs((seen - hue + 0.5) % 1 - 0.5) < 0.03
        middle, corner = image[10:22, 10:22], image[:3, :3].mean(axis=(0, 1))
        assert np.abs(middle - corner).max() > 0.1, "no object in the middle"


@needs_blender
@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="no system Python")
def test_a_python_without_bpy_takes_the_blender_on_the_path(tmp_path):
    """As does every Python newer than 3.11, for which there is no bpy 4.5."""
    script, out = str(ROOT / "renderer" / "render.py"), tmp_path / "data"
    command = ["/usr/bin/python3", script, "--n", "2", "--out", str(out), "--objects", "procedural:mug"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [*command, "--resolution", "16"], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "blender: " in done.stderr and (out / "report.json").exists()
