"""What the documentation tells people to type works as it stands."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.needs import ROOT, needs_bpy
from tests.renderer.threediebench.published import OBJECTS

TEXT = (ROOT / "docs" / "dataset.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def library(block: str) -> str:
    return re.search(r"(?:import|from) (tarfile|webdataset|datasets|csv|mlcroissant)", block)[1]


@needs_bpy
@pytest.mark.parametrize("block", blocks("python"), ids=library)
def test_loading_code_reads_a_dataset(rendered, tmp_path, block):
    shutil.copytree(rendered, tmp_path / "data" / "gr3d")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    whole = sum(1 for _ in (rendered / "latents.csv").open()) - 1
    count = {"tarfile": 10, "webdataset": 24, "datasets": 1 + 2, "csv": whole, "mlcroissant": 2}[library(block)]
    assert len(lines) == count
    for line in lines[-2:]:
        assert "32" in line or library(block) == "csv"
        assert re.search(r"(chair|car)-\d{5} -?\d\.\d+", line)


@needs_bpy
def test_conversion_as_documented(published, tmp_path):
    shutil.copytree(published, tmp_path / "downloads" / "3DIEBench")
    lists = tmp_path / "SIE" / "data"
    lists.mkdir(parents=True)
    names = [f"/{name}" for name in OBJECTS]
    np.save(lists / "train_images.npy", np.array(names[1:]))
    np.save(lists / "val_images.npy", np.array(names[:1]))
    (block,) = blocks("bash")
    script = f'gr3d() {{ "{sys.executable}" -m benchmark.cli "$@"; }}\nset -e\n{block}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr + done.stdout


def test_every_file_that_is_named_is_written(rendered):
    named = set(re.findall(r"^\| `([\w.-]+)`", TEXT.split("## A sample")[0], re.MULTILINE)) - {"quarantine.json"}
    assert len(named) > 7
    assert named <= {path.name for path in rendered.iterdir()}
