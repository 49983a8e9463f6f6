"""What all tests share: which Blenders are here, and that CI skips nothing for lack of one."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FURNITURE = Path("/usr/share/sweethome3d")

needs_bpy = pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="the bpy wheel is not installed")
needs_blender = pytest.mark.skipif(shutil.which("blender") is None, reason="no `blender` on the PATH")
needs_furniture = pytest.mark.skipif(not FURNITURE.exists(), reason="sweethome3d-furniture is not installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """With GR3D_TESTS_MAY_NOT_SKIP (as in .ci/run), a skipped test is a failed one."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("GR3D_TESTS_MAY_NOT_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be: {report.longrepr}"
    return report
