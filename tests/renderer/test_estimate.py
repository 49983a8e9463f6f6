"""The dry run: what it counts, what it measures, and that it leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assets.catalog import Catalog, ObjectRef
from renderer import estimate
from renderer.estimate import VIEWS, Probe, choose, extent, extent_of
from renderer.plan import Plan
from renderer.spec import DEFAULT_SPLITS, make_spec
from tests.needs import ROOT, needs_bpy
from tests.renderer.runs import N, arguments


def plan(splits: str = DEFAULT_SPLITS, shard_size: int = 10, **options) -> Plan:
    refs = tuple(ObjectRef(f"o{i}", "procedural", "chair", digest=str(i)) for i in range(8))
    catalog = Catalog("test", refs)
    spec = {"seed": 1, "resolution": 16, "preset": "fast", "splits": splits, "image_format": "jpg", **options}
    return Plan(make_spec(catalog, **spec, shard_size=shard_size), catalog)


@pytest.mark.parametrize("splits", [DEFAULT_SPLITS, "train=1", "train=0.995,val=0.005"])
@pytest.mark.parametrize("n", [1, 7, 20, 21, 199, 200, 1234])
@pytest.mark.parametrize("shard_size", [3, 10, 1000])
def test_extent_counts_what_the_plan_lists(splits, n, shard_size):
    made = plan(splits, shard_size)
    assert extent(made, n) == extent_of(made.shards(n))


def test_the_probe_is_a_small_part_of_the_run():
    made = plan()
    for n, workers in ((1, 2), (10, 4), (100, 2), (10_000, 2)):
        sampled = choose(made.visits(n), n, workers)
        drawn = [index for visit in sampled.visits for index in visit.indices]
        assert 1 <= len(drawn) <= max(1, n / 5) and max(drawn) < n
        assert max(len(visit.indices) for visit in sampled.visits) <= VIEWS
        assert sorted(i for members in sampled.shards(made).values() for i in members) == sorted(drawn)
    assert len(choose(made.visits(100), 100, 4).visits) >= 4  # something to do for every worker
    assert sampled.images_per_object == pytest.approx(20, rel=0.2)


def test_time_and_disk_follow_from_what_was_measured():
    probe = Probe(
        images=50,
        objects=10,
        quarantined={},
        seconds=12.0,
        start_seconds=3.0,
        object_seconds=1.0,
        image_seconds=0.1,
        images_per_object=20.0,
        bytes_per_image=5000.0,
        memory_mb=300.0,
    )
    made = plan(passes="mask")
    told = estimate.estimate(made, extent(made, 2000), probe, workers=2)
    assert told["images_per_second"] == 13.3  # an image takes a worker 0.1 s and a twentieth of its object's second
    assert told["seconds"] == pytest.approx(3 + 2000 * 0.15 / 2)
    assert told["import_share"] == pytest.approx(0.333)
    assert told["bytes"] == pytest.approx(2000 * 5000 + 200 * estimate.TAR_END)
    said = estimate.text(told)
    assert "time: 0:02:33 with 2 workers" in said and "with mask" in said
    assert "train: 1,200 images of 7 objects, shards: 120" in said


def dry_run(out: Path, tmp: Path, *more: str, n: int = N) -> subprocess.Popen:
    tmp.mkdir(exist_ok=True)
    command = [sys.executable, str(ROOT / "renderer" / "render.py"), *arguments(out, n, "--dry-run", *more)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp)}
    )


@needs_bpy
def test_dry_run_measures_and_leaves_nothing(whole, tmp_path):
    process = dry_run(tmp_path / "data", tmp_path / "tmp", "--json", "--workers", "2")
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    told = json.loads(out)
    assert told["splits"]["train"] == {"images": 36, "shards": 2, "objects": 27}
    assert 0 < told["probe"]["images"] <= N / 5 and told["probe"]["seconds"] > told["start_seconds"] > 0
    assert told["seconds"] > told["start_seconds"] and told["images_per_second"] > 0
    assert 50 < told["memory_mb_per_worker"] < 4000
    drawn = [*whole.glob("*.tar"), whole / "latents.csv", *(whole / "checksums").iterdir()]
    assert told["bytes"] == pytest.approx(sum(path.stat().st_size for path in drawn), rel=0.15)
    assert not (tmp_path / "data").exists() and not list((tmp_path / "tmp").iterdir())


@needs_bpy
def test_stopped_dry_run_leaves_nothing(tmp_path):
    process = dry_run(tmp_path / "data", tmp_path / "tmp", n=100_000)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "tmp").rglob("0*.jpg")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and errors.endswith("stopped\n") and "Traceback" not in errors
    assert out == "" and not list((tmp_path / "tmp").iterdir()) and not (tmp_path / "data").exists()


@needs_bpy
def test_dry_run_fails_as_the_run_would(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    (models / "broken.obj").write_text("v nan nan nan\n")
    (models / "other.obj").write_text("v 0 0 0\n")
    process = dry_run(tmp_path / "data", tmp_path / "tmp", "--objects", str(models))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1 and "no object of the probe can be used" in errors and "Traceback" not in errors
    absent = dry_run(tmp_path / "data", tmp_path / "tmp", "--blender", "/nonexistent/blender")
    assert "/nonexistent/blender" in absent.communicate(timeout=60)[1] and absent.returncode == 2
