"""Jobs side by side: pinned, reported when they fail, ended when the caller is interrupted."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from benchmark.errors import UserError
from benchmark.figures.jobs import Job, available_cores, last_line, run_jobs
from tests.needs import ROOT


def python(name: str, code: str, folder) -> Job:
    return Job(name, (sys.executable, "-c", code), folder / f"{name}.log")


def test_jobs_run_on_disjoint_cores(tmp_path):
    code = "import os, time; print(sorted(os.sched_getaffinity(0))); time.sleep(1)"
    jobs = [python(f"job{k}", code, tmp_path) for k in range(3)]
    before = available_cores()
    seconds = {}
    run_jobs(jobs, 2, seconds.__setitem__)
    assert set(seconds) == {"job0", "job1", "job2"}
    assert min(seconds.values()) > 1
    used = [last_line(job.log) for job in jobs]
    if len(before) > 1:
        assert used[0] != used[1]
    assert available_cores() == before


def test_failing_job_stops_the_others_and_quotes_its_log(tmp_path):
    started = time.monotonic()
    jobs = [
        python("long", "import time; time.sleep(60)", tmp_path),
        python("bad", "print('fine so far'); raise SystemExit('gr3d: disk is full')", tmp_path),
    ]
    if len(available_cores()) == 1:
        jobs = jobs[1:]
    with pytest.raises(UserError, match=r"bad failed: gr3d: disk is full .*bad\.log"):
        run_jobs(jobs, 2, lambda name, seconds: None)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("how", "in_background"),
    [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGKILL, False)],
)
def test_signal_reaches_the_jobs_and_is_waited_for(tmp_path, how, in_background):
    """in_background: as a script starts it with &, where Ctrl-C is ignored."""
    mark = tmp_path / "ended"
    job = (
        "import signal, sys, time, pathlib\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(mark)!r}).touch(), sys.exit(1)))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    caller = (
        "import sys; from pathlib import Path; from benchmark.figures.jobs import Job, run_jobs\n"
        f"run_jobs([Job('j', (sys.executable, '-c', {job!r}), Path({str(tmp_path)!r}) / 'j.log')], 1, print)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", caller],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN) if in_background else None,
    )
    deadline = time.monotonic() + 60
    while last_line(tmp_path / "j.log") != "ready" and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, how)
    process.communicate(timeout=30)
    assert process.returncode != 0
    while not mark.exists() and time.monotonic() < deadline:  # after SIGKILL nobody waits for the job
        time.sleep(0.1)
    assert mark.exists()


def test_job_waits_for_one_that_was_left_behind(tmp_path, capfd):
    """As when its caller was killed while it saved: it takes a second, and so does the one that is to go on."""
    order = tmp_path / "order"
    code = f"import time; time.sleep(1); open({str(order)!r}, 'a').write('%s ')"
    with (tmp_path / "saving.log").open("ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        left = subprocess.Popen([sys.executable, "-c", code % "left"], stdout=log)
    run_jobs([python("saving", code % "next", tmp_path), python("other", "", tmp_path)], 1, lambda *_: None)
    left.wait()
    assert order.read_text() == "left next "
    said = capfd.readouterr().err
    assert said.count("saving: waiting for another process that writes") == 1
    assert said.index("other: done") < said.index("saving: started")


def test_last_line_of_a_progress_bar(tmp_path):
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_bytes(b"10 %\r20 %\r30 %\r\n \n")
    assert last_line(log) == "30 %"
