"""Marks for tests that need something a user may not have; .ci/run installs all of it and lets nothing skip."""

import ctypes.util
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

needs_bpy = pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="the bpy wheel is not installed")
needs_blender = pytest.mark.skipif(shutil.which("blender") is None, reason="no `blender` on the PATH")
needs_opengl = pytest.mark.skipif(
    ctypes.util.find_library("EGL") is None, reason="no OpenGL (Debian: libegl1 and libgl1-mesa-dri)"
)
#: A Python that has Blender 5.0 as its module bpy: an environment of its own, since one Python holds one bpy.
BPY5 = os.environ.get("GR3D_BPY5")
needs_bpy5 = pytest.mark.skipif(
    BPY5 is None, reason="GR3D_BPY5 names no Python with Blender 5.0: scripts/blender5 FOLDER makes FOLDER/bin/python"
)
needs_furniture = pytest.mark.skipif(
    not Path("/usr/share/sweethome3d").exists(), reason="sweethome3d-furniture is not installed"
)
needs_slurm = pytest.mark.skipif(
    os.geteuid() != 0
    or importlib.util.find_spec("submitit") is None
    or not all(shutil.which(name, path="/usr/bin:/usr/sbin") for name in ("sbatch", "slurmctld", "slurmd", "munged")),
    reason="to start a SLURM takes root, slurm-wlm and munge, to submit to it submitit",
)
needs_mount = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0,
    reason="to mount a small disk takes root's rights",
)
needs_assimp = pytest.mark.skipif(not Path("/usr/share/assimp").exists(), reason="assimp-testmodels is not installed")
needs_fashion_mnist = pytest.mark.skipif(
    not Path("/usr/share/datasets/fashion-mnist").exists(), reason="dataset-fashion-mnist is not installed"
)
needs_foolbox = pytest.mark.skipif(importlib.util.find_spec("foolbox") is None, reason="foolbox is not installed")
