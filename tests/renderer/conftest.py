"""Small datasets, rendered for real once, for tests that only read one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import ROOT
from tests.renderer.runs import N, run

OPTIONS = ["--objects", "procedural:chair,car", "--resolution", "32", "--shard-size", "10", "--seed", "5"]


def render(out: Path, n: int, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "renderer" / "render.py"), "--n", str(n), "--out", str(out), *OPTIONS, *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> Path:
    """40 images of 32 x 32 in all four splits. Not to be changed: copy it first."""
    out = tmp_path_factory.mktemp("rendered") / "data"
    done = render(out, 40)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Path:
    """The run of tests/renderer/runs.py by two workers, without a fault: what others compare their bytes with."""
    out = tmp_path_factory.mktemp("whole") / "data"
    done = run(out, N, "--workers", "2")
    assert done.returncode == 0, done.stderr
    return out
