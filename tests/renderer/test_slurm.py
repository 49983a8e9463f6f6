"""`gr3d render --slurm` on a real SLURM of one node: requeued, cancelled, its time up, and the same bytes after all."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from assets.errors import UserError
from renderer import slurm
from tests.needs import ROOT, needs_bpy, needs_slurm
from tests.renderer.cluster import Cluster, running_cluster
from tests.renderer.runs import shards

OPTIONS = ["--objects", "procedural:chair,car", "--resolution", "16", "--shard-size", "12", "--seed", "5"]
N = 150
TASKS = 3


def command(out: Path, *more: str) -> list[str]:
    script = str(ROOT / "renderer" / "render.py")
    return [sys.executable, script, "--n", str(N), "--out", str(out), *OPTIONS, "--workers", "1", *more]


def run(words: list[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=280, check=False)


def submit(cluster: Cluster, out: Path, *more: str) -> subprocess.CompletedProcess:
    words = ["--slurm", "--slurm-tasks", str(TASKS), "--slurm-set", "time=50:00", *more]
    return run(command(out, *words), cluster.environment)


def submitted(cluster: Cluster, out: Path, *more: str) -> dict:
    """Submit, and return the record of the jobs."""
    done = submit(cluster, out, *more)
    assert done.returncode == 0, done.stderr
    assert "submitted" in done.stdout
    return json.loads((out / ".slurm" / "jobs.json").read_text())


def state(cluster: Cluster, out: Path) -> dict:
    done = submit(cluster, out, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def log(out: Path, job: str) -> str:
    return (out / ".slurm" / f"{job}_0_log.err").read_text()


def assert_is(out: Path, undisturbed: Path) -> None:
    assert shards(out) == shards(undisturbed)
    report = json.loads((out / "report.json").read_text())
    assert report["in_shards"] == N and report["still_to_render"] == 0 and report["quarantined"] == {}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    verified = run([sys.executable, "-m", "benchmark.cli", "verify", str(out)], environment)
    assert verified.returncode == 0, verified.stdout


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with running_cluster(tmp_path_factory.mktemp("slurm") / "cluster") as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """The dataset as one undisturbed run on this machine draws it."""
    out = tmp_path_factory.mktemp("undisturbed") / "data"
    done = run(command(out))
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.timeout(900)
@pytest.mark.slow
@needs_bpy
@needs_slurm
def test_requeued_and_timed_out_tasks_give_the_bytes_of_an_undisturbed_run(cluster, undisturbed, tmp_path):
    out = tmp_path / "my data"
    jobs = submitted(cluster, out)
    requeued, timed_out = jobs["tasks"]["2/3"], jobs["tasks"]["3/3"]
    disturbances = {
        "2/3": ["scontrol", "requeue", requeued],
        "3/3": ["scancel", "--signal=USR2", timed_out],  # as SLURM does before the time limit
    }

    def disturb_what_has_begun() -> bool:
        parts = state(cluster, out)["parts"]
        for part in [part for part in disturbances if parts[part]["images"]]:
            cluster.run(*disturbances.pop(part))
        return not disturbances

    cluster.wait("both tasks are disturbed", disturb_what_has_begun)
    between = state(cluster, out)
    assert between["asked"] == N and 0 < between["images"] < N and between["join"]["state"] == "PENDING (Dependency)"
    other = submit(cluster, out, "--n", "400")
    assert other.returncode == 1 and "other options" in other.stderr and "Traceback" not in other.stderr
    cluster.wait("all jobs are over", lambda: not cluster.states())
    for job in (requeued, timed_out):
        assert "stopped; the same command resumes" in log(out, job), "was over before it could be disturbed"
    assert_is(out, undisturbed)
    again = submit(cluster, out)
    assert again.returncode == 0 and "nothing is left" in again.stdout


@pytest.mark.timeout(900)
@pytest.mark.slow
@needs_bpy
@needs_slurm
def test_after_scancel_the_same_command_submits_only_what_is_missing(cluster, undisturbed, tmp_path):
    out = tmp_path / "data"
    first = submitted(cluster, out, "--slurm-set", "exclusive")  # which on one node means: one after the other
    cluster.wait("one part is whole, another begun", lambda: one_whole_one_begun(state(cluster, out)))
    cluster.run("scancel", *{job.partition("_")[0] for job in first["tasks"].values()}, first["join"])
    cluster.wait("all jobs are over", lambda: not cluster.states())
    assert shards(out) and shards(out) != shards(undisturbed)
    again = submit(cluster, out)
    assert again.returncode == 0 and f"did not finish: see for example {out / '.slurm'}" in again.stdout
    assert 0 < len(json.loads((out / ".slurm" / "jobs.json").read_text())["tasks"]) < TASKS
    logs = [path.name for path in (out / ".slurm").glob("*.err")]
    assert all(name.endswith("_0_log.err") for name in logs), f"more than one process for a task: {logs}"
    cluster.wait("all jobs are over", lambda: not cluster.states())
    assert_is(out, undisturbed)


def one_whole_one_begun(now: dict) -> bool:
    shares = sorted(part["images"] / part["of"] for part in now["parts"].values())
    return shares[-1] == 1 and shares[-2] > 0


@pytest.mark.slow
@needs_bpy
@needs_slurm
def test_what_slurm_refuses_is_one_clear_line(cluster, tmp_path):
    refused = submit(cluster, tmp_path / "data", "--slurm-set", "partition=nowhere")
    assert refused.returncode == 1
    assert "invalid partition" in refused.stderr.splitlines()[-1] and "Traceback" not in refused.stderr
    assert not cluster.states()


@pytest.mark.slow
@needs_bpy
@needs_slurm
def test_why_jobs_wait_is_said(cluster, tmp_path):
    assert submit(cluster, tmp_path / "data", "--slurm-set", "time=2:00:00").returncode == 0
    waiting = submit(cluster, tmp_path / "data")
    assert "0 of 150 images; parts: 3 PENDING (Partition" in waiting.stdout
    cluster.run("scancel", "--user=root")
    cluster.wait("all jobs are over", lambda: not cluster.states())


@pytest.mark.slow
@needs_slurm
def test_jobs_on_one_node_take_different_cores(cluster):
    """This SLURM does not bind jobs to cores, as some do not, so workers pinned to "the first ones" would collide."""
    report = shlex.join([sys.executable, "-c", "from renderer.slurm import own_cores; print(own_cores(1), flush=True)"])
    logs = cluster.folder / "cores-%a"
    job = ["--array=0-1", f"--output={logs}", "--wrap", f"{report}; sleep 3", f"--chdir={ROOT}"]
    cluster.run("sbatch", *job)
    cluster.wait("all jobs are over", lambda: not cluster.states())
    cores = {(cluster.folder / f"cores-{task}").read_text() for task in range(2)}
    assert len(cores) == min(2, len(os.sched_getaffinity(0))) and all(re.fullmatch(r"\{\d+\}\n", c) for c in cores)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--slurm", "--workers", "auto"], "give --workers W"),
        (["--slurm", "--part", "1/2"], "--slurm with --part"),
        (["--slurm", "--slurm-tasks", "0"], "--slurm-tasks 0"),
        (["--slurm", "--slurm-set", "partition="], "--slurm-set 'partition='"),
        (["--slurm", "--slurm-set", "-p cpu"], "--slurm-set '-p cpu'"),
        (["--slurm", "--slurm-set", "comment=a\nrm"], "KEY=VALUE"),
        (["--slurm", "--slurm-set", "cpus-per-task=8"], "use --workers"),
        (["--slurm", "--slurm-set", "time=soon"], "time=soon"),
        (["--slurm", "--slurm-set", "time=4"], "at least 5 minutes"),
        (["--slurm", "--out", "100%"], "100%"),
        (["--slurm-set", "partition=cpu"], "only together with --slurm"),
        (["--slurm-tasks", "4"], "only together with --slurm"),
    ],
)
def test_bad_options_are_one_clear_line(tmp_path, options, says):
    refused = run(command(tmp_path / "data", *options))
    assert refused.returncode == 2
    assert says in refused.stderr and refused.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_without_slurm_it_says_so(tmp_path):
    refused = run(command(tmp_path / "data", "--slurm"), {"PATH": "/nowhere"})
    assert refused.returncode == 2
    assert "no `sbatch` on the PATH" in refused.stderr and refused.stderr.count("\n") == 1


@needs_slurm
def test_more_tasks_than_shards_are_refused(tmp_path):
    refused = run(command(tmp_path / "data", "--slurm", "--slurm-tasks", "100"))
    assert refused.returncode == 2 and "only 14 shards" in refused.stderr.splitlines()[-1]


@needs_slurm
def test_folder_that_cannot_be_made_is_one_clear_line():
    refused = run(command(Path("/proc/nothing"), "--slurm"))
    assert refused.returncode == 2 and "/proc/nothing" in refused.stderr and refused.stderr.count("\n") == 1


@needs_slurm
@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="no system Python")
def test_without_submitit_it_says_how_to_get_it(tmp_path):
    refused = run(["/usr/bin/python3", *command(tmp_path / "data", "--slurm")[1:]], {"PATH": os.environ["PATH"]})
    assert refused.returncode == 2
    assert "/usr/bin/python3 -m pip install submitit" in refused.stderr and refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("0:30", 1), ("8:00:00", 480), ("1:00:01", 61), ("2-0", 2880), ("1-1:30", 1530), ("0-0:1:1", 2)],
)
def test_times_are_read_as_sbatch_reads_them(text, minutes):
    assert slurm.parse_time(text) == minutes


@pytest.mark.parametrize("text", ["", "UNLIMITED", "-1", "1:2:3:4", "1-", "0x10"])
def test_other_times_are_refused(text):
    with pytest.raises(UserError, match="time="):
        slurm.parse_time(text)


def test_jobs_get_the_command_without_what_concerns_the_submission():
    given = "--n 5 --slurm --out d --slurm-tasks=3 --slurm-set exclusive --workers 2 --json --debug --seed=7"
    assert slurm.job_arguments(given.split()) == ["--n", "5", "--out", "d", "--workers", "2", "--seed=7"]


def test_settings_are_sbatchs_options():
    assert slurm.parse_setting("partition=cpu") == ("partition", "cpu")
    assert slurm.parse_setting("--mem_per_cpu=2G") == ("mem-per-cpu", "2G")
    assert slurm.parse_setting("exclusive") == ("exclusive", True)


def test_the_cost_table_of_the_docs_is_what_its_command_prints():
    text = (ROOT / "docs" / "cluster.md").read_text()
    script, *arguments = shlex.split(re.search(r"^    python (scripts/cluster_cost.py .*)", text, re.MULTILINE)[1])
    done = run([sys.executable, str(ROOT / script), *arguments])
    assert done.stdout.startswith("| nodes |") and done.stdout in text


def test_costs_follow_from_what_a_dry_run_measures(tmp_path):
    measured = {"images": 72_000, "images_per_second": 20, "workers": 2, "bytes_per_image": 5000, "start_seconds": 36}
    (tmp_path / "measured.json").write_text(json.dumps(measured))
    script = [sys.executable, str(ROOT / "scripts" / "cluster_cost.py"), "--measured", str(tmp_path / "measured.json")]
    table = run([*script, "--cores", "4", "--nodes", "1", "5"]).stdout
    assert "| 1 x 4 cores | 0.51 | 2.0 | 40 | 0.4 GB |\n| 5 x 4 cores | 0.11 | 2.2 | 200 | 0.4 GB |" in table
