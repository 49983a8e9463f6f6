"""Small datasets, rendered for real once, for tests that only read one."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from assets.catalog import Catalog, ObjectRef
from renderer.plan import Plan
from renderer.shards import open_dataset
from renderer.spec import DEFAULT_SPLITS, make_spec
from tests.needs import ROOT
from tests.renderer.runs import N, run
from tests.renderer.threediebench.published import publish

GREY_N = 40
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


@pytest.fixture
def grey_plan() -> Plan:
    refs = tuple(ObjectRef(f"o{i}", "procedural", "chair", digest=str(i)) for i in range(8))
    catalog = Catalog("test", refs)
    options = {"seed": 1, "resolution": 16, "preset": "fast", "splits": DEFAULT_SPLITS}
    return Plan(make_spec(catalog, **options, shard_size=10, image_format="jpg"), catalog)


@pytest.fixture
def grey(grey_plan, tmp_path) -> Path:
    """A sealed dataset of GREY_N grey images."""
    dataset = open_dataset(tmp_path, grey_plan)
    for index in range(GREY_N):
        Image.new("RGB", (16, 16), (index, index, index)).save(dataset.spooled(index))
    for name, members in dataset.missing(grey_plan.shards(GREY_N)).items():
        dataset.seal(name, members)
    assert not list(dataset.spool.glob("*.jpg"))
    return tmp_path


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Path:
    """3DIEBench's layout, with the authors' LICENSE beside the synsets. Not to be changed: copy it first."""
    root = tmp_path_factory.mktemp("published") / "3DIEBench"
    publish(root, tmp_path_factory.mktemp("worker"))
    (root / "LICENSE").write_text("Attribution-NonCommercial 4.0 International")
    return root
