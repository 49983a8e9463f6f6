"""Marks for tests that need something a user may not have; .ci/run installs all of it and lets nothing skip."""

import importlib.util
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

needs_bpy = pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="the bpy wheel is not installed")
needs_blender = pytest.mark.skipif(shutil.which("blender") is None, reason="no `blender` on the PATH")
needs_furniture = pytest.mark.skipif(
    not Path("/usr/share/sweethome3d").exists(), reason="sweethome3d-furniture is not installed"
)
