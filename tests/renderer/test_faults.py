"""What goes wrong in long runs, done for real: killed, stopped, starved, full, damaged, and always the same bytes."""

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from renderer import health, pool, render
from renderer import run as run_module
from renderer import shards as shards_module
from tests.needs import ROOT, needs_bpy
from tests.renderer.runs import N, arguments, images, run, shards, start, wait_for_images, workers_of

pytestmark = needs_bpy


def report_of(out: Path) -> dict:
    return json.loads((out / "report.json").read_text())


def verify(out: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmark.cli", "verify", str(out), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Killed


@pytest.mark.parametrize("moment", [1, 17, 45])
def test_killed_supervisor_resumes_to_the_same_bytes(whole, tmp_path, moment):
    out = tmp_path / "data"
    process = start(out)
    wait_for_images(out, process, moment)
    process.kill()
    process.communicate()
    done = run(out)
    assert done.returncode == 0, done.stderr
    assert shards(out) == shards(whole)


def test_killed_and_crashed_workers_are_replaced(whole, tmp_path):
    out = tmp_path / "data"
    process = start(out, N, "--workers", "2")
    for number, (moment, how) in enumerate([(5, signal.SIGKILL), (25, signal.SIGSEGV)]):
        wait_for_images(out, process, moment)
        os.kill(workers_of(process.pid)[number % 2], how)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    report = json.loads((out / "report.json").read_text())
    assert [r for r in report["worker_restarts"] if "SIGKILL" in r or "SIGSEGV" in r]
    assert report["quarantined"] == {}
    assert shards(out) == shards(whole)


def test_hung_worker_is_replaced(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "limits", lambda spec: pool.Limits(start=120, load=20, frame=5))
    out = tmp_path / "data"
    stopped = []
    settle = run_module.Run._settle

    def stop_one(self, index):
        settle(self, index)
        if not stopped and self.counts.rendered == 10:
            stopped.append(workers_of(os.getpid())[0])
            os.kill(stopped[0], signal.SIGSTOP)

    monkeypatch.setattr(run_module.Run, "_settle", stop_one)
    assert render.main(arguments(out)) == 0
    assert any("hung" in line for line in json.loads((out / "report.json").read_text())["worker_restarts"])
    assert shards(out) == shards(whole)


def test_object_that_crashes_blender_is_quarantined_and_the_run_goes_on(tmp_path, monkeypatch):
    """Every worker that is handed a certain object is killed at once, as a corrupt model would."""
    victims = []
    send = pool.Worker.send

    def kill_on_victim(self, message):
        send(self, message)
        victims.append(message["object"]["id"])
        if message["object"]["id"] == victims[0]:
            os.kill(self.process.pid, signal.SIGSEGV)

    monkeypatch.setattr(pool.Worker, "send", kill_on_victim)
    out = tmp_path / "data"
    assert render.main(arguments(out, 400, "--resolution", "16")) == 0
    report = json.loads((out / "report.json").read_text())
    victim = victims[0]
    assert list(report["quarantined"]) == [victim]
    assert "SIGSEGV" in report["quarantined"][victim]
    assert report["skipped"] > 0 and report["in_shards"] + report["skipped"] == 400
    row = next(line for line in (out / "objects.csv").read_text().splitlines() if line.startswith(victim))
    assert "SIGSEGV" in row
    again = run(out, 400, "--resolution", "16")  # knows of the quarantine: nothing is left to do
    assert again.returncode == 0 and "nothing is left" in again.stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_cleanly_and_the_same_command_resumes(whole, tmp_path, how):
    out = tmp_path / "data"
    process = start(out)
    wait_for_images(out, process, 8)
    process.send_signal(how)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "the same command resumes" in errors and "Traceback" not in errors
    assert json.loads((out / "report.json").read_text())["still_to_render"] > 0
    assert run(out).returncode == 0
    assert shards(out) == shards(whole)


def test_truncated_missing_and_unlisted_shards_are_made_whole(whole, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(whole, out)
    shard = out / "train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:7000])
    (out / "probe-000000.tar").unlink()
    listed = json.loads((out / "checksums.json").read_text())
    del listed["val-000000.tar"]  # as after a kill between the shard and the list
    (out / "checksums.json").write_text(json.dumps(listed))
    done = run(out)
    assert done.returncode == 0, done.stderr
    # Of the truncated one, what came before the cut is used again.
    assert 12 < json.loads((out / "report.json").read_text())["rendered_in_this_run"] < 20 + 12
    assert shards(out) == shards(whole)


def test_two_runs_on_one_folder_are_refused(tmp_path):
    out = tmp_path / "data"
    process = start(out)
    try:
        wait_for_images(out, process, 1)
        refused = run(out)
        assert refused.returncode == 1 and "another gr3d render" in refused.stderr
    finally:
        process.terminate()
        process.communicate()


def test_image_of_an_object_quarantined_meanwhile_is_dropped(tmp_path):
    """Two workers may show the same object when one of them dies of it for the last time."""
    options = render.parser().parse_args(arguments(tmp_path, 40))
    catalog = render.load_catalog(options.objects, ROOT)
    spec = render.make_spec(
        catalog, seed=5, resolution=32, preset="fast", splits=options.splits, shard_size=20, image_format="jpg"
    )
    dataset = render.open_dataset(tmp_path, render.Plan(spec, catalog))
    state = run_module.Run(dataset, dataset.plan.shards(40))
    sample = dataset.plan.sample(0)
    state._quarantine(sample.object.id, "test")
    dataset.spooled(0).write_bytes(b"late")
    state._image(0)
    assert not dataset.spooled(0).exists() and state.counts.rendered == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("whom", ["supervisor", "everything"])
def test_killed_again_and_again_at_random_moments(whole, tmp_path, workers, whom):
    out = tmp_path / "data"
    chance = random.Random(f"{workers} {whom}")
    for _ in range(8):
        process = start(out, N, "--workers", str(workers))
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=chance.uniform(0.2, 5))
        victims = [*workers_of(process.pid), process.pid] if process.poll() is None else []
        chance.shuffle(victims)
        for victim in victims if whom == "everything" else victims and [process.pid]:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        process.communicate()
    done = run(out, N, "--workers", str(workers))
    assert done.returncode == 0, done.stderr
    assert shards(out) == shards(whole)
    assert verify(out).returncode == 0
    assert not list((out / ".spool").glob("[0-9]*")) and not list((out / ".spool").glob("unfinished-*"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_killed_again_and_again_in_one_run(whole, tmp_path, workers):
    """No object is blamed for what comes from outside."""
    out = tmp_path / "data"
    chance = random.Random(workers)
    process = start(out, N, "--workers", str(workers))
    wait_for_images(out, process, 1)
    kills = 0
    while process.poll() is None and kills < 10:
        if alive := workers_of(process.pid):
            with suppress(ProcessLookupError):
                os.kill(chance.choice(alive), chance.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT]))
                kills += 1
        time.sleep(chance.uniform(0.3, 3))  # after the first kill: a fast machine is done before
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert report_of(out)["worker_restarts"] and report_of(out)["quarantined"] == {}
    assert shards(out) == shards(whole)


def test_workers_end_with_their_supervisor_and_disturb_nobody(whole, tmp_path):
    out = tmp_path / "data"
    process = start(out, N, "--workers", "2")
    wait_for_images(out, process, 3)
    orphans = workers_of(process.pid)
    assert len(orphans) == 2
    os.kill(orphans[0], signal.SIGSTOP)  # not even a stopped one stays
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 5
    while any(map(is_alive, orphans)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, orphans))
    assert run(out).returncode == 0
    assert shards(out) == shards(whole)
    assert not list((out / ".spool").glob("unfinished-*"))


def test_a_run_of_a_killed_one_clears_its_scratch_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    out = tmp_path / "data"
    process = start(out)
    wait_for_images(out, process, 1)
    process.kill()
    process.communicate()
    assert len(list(tmp_path.glob("gr3d-*"))) == 1
    assert run(out, 20).returncode == 0
    assert not list(tmp_path.glob("gr3d-*")) and not list(tmp_path.glob("blender_*"))


# Stopped


def test_stopped_run_finishes_the_image_in_flight(tmp_path):
    """Images of a second each: the one that is being drawn when the signal comes is there afterwards.

    As from a scheduler, every process of the run gets the signal.
    """
    out = tmp_path / "data"
    slow = ["--preset", "reference", "--resolution", "24", "--workers", "1"]
    process = start(out, N, *slow)
    wait_for_images(out, process, 2)
    time.sleep(0.1)
    before = images(out)
    for pid in (*workers_of(process.pid), process.pid):
        os.kill(pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1 and "the same command resumes" in errors
    report = report_of(out)
    assert report["in_shards"] == report["rendered_in_this_run"] == before + 1
    assert report["worker_restarts"] == []


@pytest.mark.slow
def test_stopped_run_does_not_wait_for_an_image_without_end(tmp_path):
    out = tmp_path / "data"
    process = start(out, N, "--preset", "reference", "--resolution", "1024", "--workers", "1")
    deadline = time.monotonic() + 60
    while not ((out / "dataset.json").exists() and json.loads((out / "dataset.json").read_text())["blender"]):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    time.sleep(2)
    process.terminate()
    process.communicate(timeout=pool.Limits.finish + 10)
    assert process.returncode == 1


# Starved


def test_worker_without_memory_is_replaced(whole, tmp_path):
    out = tmp_path / "data"
    process = start(out, N, "--workers", "1")
    wait_for_images(out, process, 3)
    resource.prlimit(workers_of(process.pid)[0], resource.RLIMIT_DATA, (1 << 20, 1 << 20))
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    report = report_of(out)
    assert report["worker_restarts"] and report["quarantined"] == {}
    assert shards(out) == shards(whole)


def test_object_that_cannot_be_loaded_is_quarantined(tmp_path):
    """Blender's importer raises RuntimeError on it: that ends neither the worker nor the run."""
    models = tmp_path / "models"
    models.mkdir()
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"
    for number in range(3):
        faces = "f 1 2 3\nf 1 2 4\nf 1 3 4\nf 2 3 4\n"
        (models / f"good{number}.obj").write_text(corners.replace("1", str(number + 1)) + faces)
    lies = {"asset": {"version": "2.0"}, "scenes": [{"nodes": [0]}], "scene": 0, "nodes": [{"mesh": 0}]}
    lies["meshes"] = [{"primitives": [{"attributes": {"POSITION": 7}}]}]  # there is no accessor 7
    (models / "broken.gltf").write_text(json.dumps(lies))
    out = tmp_path / "data"
    done = run(out, 80, "--objects", str(models), "--splits", "train=1")
    assert done.returncode == 0, done.stderr
    report = report_of(out)
    assert len(report["quarantined"]) == 1 and "broken" in next(iter(report["quarantined"]))
    assert report["worker_restarts"] == [] and report["skipped"] == 80 - report["in_shards"] > 0


def test_recycled_workers_change_no_bytes(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "RECYCLING", health.Recycling(frames=1))
    out = tmp_path / "data"
    assert render.main(arguments(out, N, "--workers", "2")) == 0
    report = report_of(out)
    assert report["workers_recycled"] >= 2 and report["worker_restarts"] == []
    assert shards(out) == shards(whole)
    for memory in report["rss_mb"].values():
        assert 50 < memory["max"] < 4000 and memory["series"][-1][0] > 0


# Full


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")


@as_root
@pytest.mark.parametrize("kilobytes", [24, 64, 128, 192, 256])
def test_full_disk_is_said_and_survived(whole, tmp_path, kilobytes):
    """From a disk that holds no image to one on which the last shard does not fit."""
    with small_disk(tmp_path / "disk", kilobytes) as disk:
        full = run(disk / "data")
        assert full.returncode == 1
        assert "Traceback" not in full.stderr
        assert "space" in full.stderr.lower() and "quarantined" not in full.stderr
        enlarge(disk)
        assert run(disk / "data").returncode == 0
        assert shards(disk / "data") == shards(whole)


@as_root
@pytest.mark.parametrize("file", ["checksums.json", "report.json", "dataset.json"])
def test_disk_that_fills_up_before_a_list_is_written(whole, tmp_path, monkeypatch, capsys, file):
    """Another program takes the last byte just before `file` is written for the second time (or the first)."""
    with small_disk(tmp_path / "disk", 1024) as disk:

        def fill_first(path: Path, value: object) -> None:
            if path.name == file:
                with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
                    while True:
                        ballast.write(bytes(1024))
            write(path, value)

        write = shards_module.write_json
        monkeypatch.setattr(shards_module, "write_json", fill_first)
        monkeypatch.setattr(render, "write_json", fill_first)
        assert render.main(arguments(disk / "data")) == 1
        assert "space" in capsys.readouterr().err.lower()
        monkeypatch.undo()
        (disk / "ballast").unlink()
        assert run(disk / "data").returncode == 0
        assert shards(disk / "data") == shards(whole)


# Damaged


def test_every_kind_of_damage_is_named_and_repaired(whole, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(whole, out)
    (out / "probe-000000.tar").unlink()
    cut = out / "train-000000.tar"
    cut.write_bytes(cut.read_bytes()[:20_000])
    flipped = out / "val-000000.tar"
    data = bytearray(flipped.read_bytes())
    data[700] ^= 8
    flipped.write_bytes(data)
    found = verify(out)
    assert found.returncode == 1
    assert "probe-000000.tar: missing" in found.stdout
    assert "train-000000.tar: 20000 bytes long" in found.stdout
    assert re.search(r"val-000000\.tar: \d{9}\.jpg: damaged", found.stdout)
    assert len(re.findall(r"val-000000\.tar: \d{9}\.jpg", found.stdout)) == 1
    repaired = verify(out, "--repair", "--json")
    assert repaired.returncode == 0, repaired.stderr
    assert json.loads(repaired.stdout)["repaired"] == ["probe-000000.tar", "train-000000.tar", "val-000000.tar"]
    assert shards(out) == shards(whole)
    proved = verify(out, "--rerender", "5")
    assert proved.returncode == 0 and "5 images drawn again: the same bytes" in proved.stdout


def test_one_flipped_bit_costs_one_image(whole, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(whole, out)
    shard = out / "train-000001.tar"
    data = bytearray(shard.read_bytes())
    data[data.index(b"\xff\xda") + 40] ^= 1  # in the picture of its first image: it still decodes
    shard.write_bytes(data)
    repaired = verify(out, "--repair")
    assert repaired.returncode == 0, repaired.stderr
    assert "1 image drawn to mend it" in repaired.stdout
    assert shards(out) == shards(whole)


def test_flipped_bit_in_a_shard_that_grows_is_not_carried_along(whole, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(whole, out)
    shard = out / "val-000000.tar"  # half full
    data = bytearray(shard.read_bytes())
    data[data.index(b"\xff\xda") + 40] ^= 1
    shard.write_bytes(data)
    assert run(out, 80).returncode == 0
    assert run(tmp_path / "fresh", 80).returncode == 0
    assert shards(out) == shards(tmp_path / "fresh")


def test_rerender_tells_other_pictures(whole, tmp_path):
    """A dataset whose checksums are right and whose pictures are not what its samples show."""
    out = tmp_path / "data"
    shutil.copytree(whole, out)
    record = json.loads((out / "dataset.json").read_text())
    record["cpus"] = ["Another CPU"]
    (out / "dataset.json").write_text(json.dumps(record))
    shard = out / "val_views-000000.tar"
    data = bytearray(shard.read_bytes())
    for found in re.finditer(b"\xff\xda", bytes(data)):
        data[found.start() + 60] ^= 1
    shard.write_bytes(data)
    differs = verify(out, "--rerender", "10")
    assert differs.returncode == 1
    assert "val_views-000000.tar" in differs.stdout and "its bytes differ" in differs.stdout
    assert "drawn on Another CPU, this is" in differs.stdout


def test_verify_knows_the_categories_of_a_folder(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    for number in range(3):
        tetrahedron = f"v 0 0 0\nv {number + 1} 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\nf 1 3 4\nf 2 3 4\n"
        (models / f"m{number}.obj").write_text(tetrahedron)
    table = tmp_path / "categories.csv"
    table.write_text("path,category\n" + "".join(f"m{number}.obj,kind{number % 2}\n" for number in range(3)))
    out = tmp_path / "data"
    done = run(out, 20, "--objects", str(models), "--categories", str(table), "--splits", "train=1")
    assert done.returncode == 0, done.stderr
    fine = verify(out)
    assert fine.returncode == 0 and "not checked" not in fine.stdout
    table.rename(tmp_path / "elsewhere.csv")
    assert "not checked" in verify(out).stdout
    assert "not checked" not in verify(out, "--categories", str(tmp_path / "elsewhere.csv")).stdout


def test_verify_says_what_it_cannot_check_without_the_objects(whole, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(whole, out)
    record = json.loads((out / "dataset.json").read_text())
    record["command"]["objects"] = "/nowhere/models"
    (out / "dataset.json").write_text(json.dumps(record))
    fine = verify(out)
    assert fine.returncode == 0 and "were not checked" in fine.stdout and "/nowhere/models" in fine.stdout
    (out / "val-000000.tar").unlink()
    refused = verify(out, "--repair")
    assert refused.returncode == 2 and "/nowhere/models" in refused.stderr
    other = verify(out, "--repair", "--objects", "procedural:chair")
    assert other.returncode == 2 and "does not hold the objects" in other.stderr
    assert verify(out, "--repair", "--objects", "procedural:chair,car").returncode == 0
    assert shards(out) == shards(whole)
