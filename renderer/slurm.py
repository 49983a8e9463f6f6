"""`gr3d render --slurm`: the same render over a cluster, as one SLURM job array, through submitit.

Task K of the array runs the very command that was given, with `--part K/P`. One more job, which SLURM starts when the
array is over however it ended, runs it without: that joins the parts, and renders what a task that failed has left. So
nobody has to wait or stay logged in, SLURM is the only scheduler, and all state is in the dataset's folder, which must
be on a file system that the nodes share:

    DIR/.slurm/jobs.json   the jobs of the last submission
    DIR/.slurm/            submitit's scripts and the jobs' logs

The same command again says how far the jobs are, or submits what is missing once none of them is left. Never runs
inside Blender, and imports submitit where it is used.
"""

import argparse
import contextlib
import importlib.util
import io
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.errors import UserError
from renderer.files import read_json, write_json
from renderer.parts import homes
from renderer.plan import Plan

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ".slurm"
#: More tasks than this only by request: each pays for the start of its Blenders.
DEFAULT_TASKS = 16
#: Minutes, unless `--slurm-set time=...`: few enough for any partition, since a task whose time is up is requeued.
DEFAULT_TIME = 240
#: How often a task whose time is up is requeued.
MAX_TIMEOUTS = 1000
#: Seconds that a task has between SLURM's signal and its end; SLURM may send it a minute earlier.
SIGNAL_DELAY = 120
MIN_TIME = 5  # minutes
#: sbatch's options that gr3d sets itself, and what to use instead.
RESERVED = {
    "array": "use --slurm-tasks",
    "cpus-per-task": "use --workers",
    **dict.fromkeys(
        ("chdir", "dependency", "error", "nodes", "no-requeue", "ntasks", "ntasks-per-node", "open-mode", "output")
        + ("parsable", "requeue", "signal", "test-only", "wait", "wrap"),
        "gr3d sets it itself",
    ),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that are for the submission alone; its jobs are started without them."""
    group = parser.add_argument_group("on a SLURM cluster (docs/cluster.md)")
    group.add_argument("--slurm", action="store_true", help="submit the run as a job array; again: say how far it is")
    group.add_argument(
        "--slurm-tasks", type=int, metavar="P", help=f"tasks of the array, each with --workers CPUs ({DEFAULT_TASKS})"
    )
    group.add_argument(
        "--slurm-set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of sbatch, without its dashes, as often as needed: partition=cpu, account=lab, time=8:00:00, "
        "mem-per-cpu=2G, gres=gpu:1, exclusive",
    )


def job_arguments(arguments: Sequence[str]) -> list[str]:
    """The command line without what concerns the submission alone: `add_options`, --json and --debug."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_options(parser)
    for option in ("--json", "--debug"):
        parser.add_argument(option, action="store_true")
    return parser.parse_known_args(arguments)[1]


@dataclass(frozen=True)
class Request:
    """What the array shall be like.

    Attributes:
        tasks: how many, >= 1; None for as many as is usual.
        cpus: of each, >= 1: as many as it has workers.
        minutes: its time limit.
        settings: further options of sbatch, without dashes; True for those without a value.
    """

    tasks: int | None
    cpus: int
    minutes: int
    settings: dict[str, str | bool]


def check(options: argparse.Namespace) -> Request | None:
    """What --slurm and its further options ask for; None without --slurm.

    Raises UserError (exit code 2) for options that make no sense, or where SLURM or submitit is missing.
    """
    if not options.slurm:
        if options.slurm_tasks is not None or options.slurm_set:
            given = "--slurm-set" if options.slurm_set else "--slurm-tasks"
            raise UserError(f"{given}: only together with --slurm", exit_code=2)
        return None
    if options.part:
        raise UserError("--slurm with --part: --slurm gives every task its own part; leave out one", exit_code=2)
    if options.slurm_tasks is not None and options.slurm_tasks < 1:
        raise UserError(f"--slurm-tasks {options.slurm_tasks}: must be at least 1", exit_code=2)
    if options.workers == "auto":
        raise UserError(
            "--slurm: give --workers W, the CPUs of one task (auto would be the cores of this machine)", exit_code=2
        )
    if "%" in str(options.out.resolve()):
        raise UserError(f"--out {options.out}: SLURM cannot write logs below a folder with % in its name", exit_code=2)
    settings = dict(map(parse_setting, options.slurm_set))
    minutes = parse_time(str(settings.pop("time"))) if "time" in settings else DEFAULT_TIME
    if minutes < MIN_TIME:
        raise UserError(
            f"--slurm-set time={minutes}: must be at least {MIN_TIME} minutes, the last of which a task takes to stop",
            exit_code=2,
        )
    missing = [name for name in ("sbatch", "squeue", "scancel", "srun") if shutil.which(name) is None]
    if missing:
        raise UserError(
            f"--slurm: no `{missing[0]}` on the PATH; run it on a login node of a SLURM cluster, or use --part K/P "
            "with another scheduler (docs/cluster.md)",
            exit_code=2,
        )
    if importlib.util.find_spec("submitit") is None:
        raise UserError(
            f"--slurm needs submitit, which {sys.executable} does not have: `{sys.executable} -m pip install submitit`",
            exit_code=2,
        )
    return Request(options.slurm_tasks, int(options.workers), minutes, settings)


def parse_setting(text: str) -> tuple[str, str | bool]:
    """Read "partition=cpu" or "exclusive". Raises UserError (exit code 2) for what sbatch cannot be given."""
    key, equals, value = text.partition("=")
    key = key.removeprefix("--").replace("_", "-")
    if not re.fullmatch("[a-z][a-z-]+", key) or not value.isprintable() or (equals and not value):
        raise UserError(
            f"--slurm-set {text!r}: give KEY=VALUE with an option of sbatch, for example partition=cpu", exit_code=2
        )
    if key in RESERVED:
        raise UserError(f"--slurm-set {text}: {RESERVED[key]}", exit_code=2)
    return key, value if equals else True


def parse_time(text: str) -> int:
    """Minutes, rounded up, of a time limit in one of sbatch's forms: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S.

    Raises UserError (exit code 2) for anything else, "UNLIMITED" included: the task has to know when its time is up.
    """
    days, dash, clock = text.rpartition("-")
    fields = clock.split(":")
    if not all(field.isdecimal() for field in [*fields, *([days] if dash else [])]) or len(fields) > 3:
        raise UserError(f"--slurm-set time={text}: give minutes, H:M:S or D-H:M:S", exit_code=2)
    numbers = [int(field) for field in fields]
    if dash:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    else:
        hours, minutes, seconds = {1: (0, *numbers, 0), 2: (0, *numbers), 3: tuple(numbers)}[len(numbers)]
    return (int(days) if dash else 0) * 1440 + hours * 60 + minutes + -(-seconds // 60)


class Task:
    """What one job runs: the render command, stopped and requeued when SLURM wants the node back or the time is up.

    submitit pickles it, and calls `checkpoint` when the job gets its warning signal.
    """

    def __init__(self, arguments: Sequence[str], cpus: int) -> None:
        self.arguments, self.cpus = arguments, cpus
        self.process: subprocess.Popen | None = None

    def __call__(self, part: str | None = None) -> None:
        """Render `part` ("3/8"), or join all parts. Exits with the render command's code unless that is 0."""
        cores = own_cores(self.cpus)

        def prepare() -> None:
            # The warning goes to every process of the job; only this one shall act on it. SIGTERM they handle.
            for warning in (signal.SIGUSR1, signal.SIGUSR2):
                signal.signal(warning, signal.SIG_IGN)
            os.sched_setaffinity(0, cores)

        # A process of its own, since submitit turns off SIGTERM in this one, on which `gr3d render` stops.
        command = [sys.executable, str(ROOT / "renderer" / "render.py"), *self.arguments]
        self.process = subprocess.Popen(
            [*command, "--part", part] if part else command, stdin=subprocess.DEVNULL, preexec_fn=prepare
        )
        await_end(self.process)
        if code := self.process.wait():
            sys.exit(code if code > 0 else 128 - code)

    def checkpoint(self, part: str | None = None) -> Any:
        """Stop the render, which seals what is whole, and return what submitit shall requeue: the same again."""
        from submitit.helpers import DelayedSubmission

        if self.process:
            self.process.terminate()
            await_end(self.process, seconds=SIGNAL_DELAY - 15)
        return DelayedSubmission(Task(self.arguments, self.cpus), part)


def await_end(process: subprocess.Popen, seconds: float | None = None) -> None:
    """Wait until `process` has ended, for at most `seconds`.

    Unlike Popen.wait it may be called from a signal handler that interrupts another such call.
    """
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(process.pid)
        try:
            select.select([handle], [], [], seconds)
        finally:
            os.close(handle)


def own_cores(cpus: int) -> set[int]:
    """The cores that SLURM has given to this job, on a cluster that does not bind jobs to their cores too.

    Workers are pinned to the first cores they may run on: those of all jobs of a node would share these.
    """
    mine = os.sched_getaffinity(0)
    if len(mine) <= cpus:
        return mine
    job = os.environ["SLURM_JOB_ID"]  # of one task in an array this is the array's too, which would mean all tasks
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    done = subprocess.run(["scontrol", "show", "job", "--details", job], capture_output=True, text=True, check=False)
    given = re.search(r"CPU_IDs=([\d,-]+)", done.stdout)  # "0-3,8"
    ranges = [field.partition("-") for field in given[1].split(",")] if given else []
    cores = {core for first, dash, last in ranges for core in range(int(first), int(last if dash else first) + 1)}
    return cores & mine if len(cores & mine) >= cpus else mine


@dataclass(frozen=True)
class Submission:
    """One submission for a dataset, as its jobs are now.

    Attributes:
        arguments: the render command that its jobs run.
        n: number of samples asked for.
        parts: number of parts.
        tasks: part ("3/8") -> job id ("12_0"), of the parts that were submitted.
        join: id of the job that joins.
        unfinished: ids of the tasks of the submission before that left something of their part to do.
        states: job id -> state, of the jobs that are not over.
    """

    arguments: list[str]
    n: int
    parts: int
    tasks: dict[str, str]
    join: str
    unfinished: list[str]
    states: dict[str, str]

    @property
    def jobs(self) -> list[str]:
        """Ids as `squeue --jobs` and `scancel` take them: of the array, if there is one, and of the join."""
        return [*dict.fromkeys(job.partition("_")[0] for job in self.tasks.values()), self.join]


def submit(
    folder: Path,
    parts: Sequence[dict[str, list[int]]],
    missing: Iterable[str],
    arguments: Sequence[str],
    n: int,
    request: Request,
) -> Submission:
    """Submit those of `parts` (from Plan.parts) that own one of the shards `missing`, and the job that joins.

    `arguments` is the render command of the jobs. Raises UserError if SLURM refuses.
    """
    import submitit

    missing = set(missing)
    wanted = [f"{number}/{len(parts)}" for number, part in enumerate(parts, 1) if not missing.isdisjoint(part)]
    task = Task(arguments, request.cpus)
    executor = submitit.SlurmExecutor(folder=(folder / FOLDER).resolve(), max_num_timeout=MAX_TIMEOUTS)
    # Submitted from within a job, the new ones must not take over its settings; the user's own stay.
    kept = {name: value for name, value in os.environ.items() if name == "SLURM_CONF" or name.startswith("SBATCH_")}
    with refusals(), submitit.helpers.clean_env(), submitit.helpers.environment_variables(**kept):
        executor.update_parameters(**parameters(folder, request), array_parallelism=max(1, len(wanted)))
        tasks = {part: job.job_id for part, job in zip(wanted, executor.map_array(task, wanted), strict=True)}
        array = {job.partition("_")[0] for job in tasks.values()}
        if array:
            executor.update_parameters(dependency=f"afterany:{array.pop()}")
        try:
            join = executor.submit(task).job_id
        except submitit.core.utils.FailedJobError:
            subprocess.run(["scancel", *tasks.values()], check=False)
            raise
    before = read_json(folder / FOLDER / "jobs.json", {}).get("tasks", {})
    record = {
        "arguments": list(arguments),
        "n": n,
        "parts": len(parts),
        "tasks": tasks,
        "join": join,
        "unfinished": [before[part] for part in wanted if part in before],
    }
    write_json(folder / FOLDER / "jobs.json", record)
    return Submission(**record, states=queue([*tasks.values(), join]))


def parameters(folder: Path, request: Request) -> dict[str, Any]:
    """What submitit is told about every job."""
    return {
        "job_name": f"gr3d-{folder.resolve().name}",
        "time": request.minutes,
        "cpus_per_task": request.cpus,
        "signal_delay_s": SIGNAL_DELAY,
        "ntasks_per_node": 1,
        # srun takes no CPUs over from sbatch since SLURM 22.05, and starts a task for each that it has to spare.
        "srun_args": ["--ntasks=1", f"--cpus-per-task={request.cpus}"],
        # The job unpickles a `Task`, for which it has to find this very code.
        "setup": [f"export PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}"],
        "additional_parameters": {"requeue": True, **request.settings},
    }


def task_count(request: Request, plan: Plan, n: int) -> int:
    """How many parts there shall be. Raises UserError (exit code 2) for more than there are shards."""
    shards = len(plan.shards(n))
    if request.tasks is not None and request.tasks > shards:
        raise UserError(
            f"--slurm-tasks {request.tasks}: there are only {shards} shards; take fewer tasks or smaller shards",
            exit_code=2,
        )
    return request.tasks or min(DEFAULT_TASKS, shards)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turn what submitit raises when sbatch refuses into one line."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it raises as well
            yield
    except (FailedJobError, FailedSubmissionError) as error:
        lines = str(error).strip().splitlines() or ["no reason given"]
        raise UserError(f"--slurm: SLURM refuses the jobs: {'; '.join(lines)}") from None


def queue(jobs: Sequence[str]) -> dict[str, str]:
    """State of those of the jobs ("12_3", "13") that are not over: "RUNNING", "PENDING (Resources)".

    Raises UserError if SLURM does not answer.
    """
    ids = sorted({job.partition("_")[0] for job in jobs})
    command = ["squeue", "--noheader", "--array", "--format=%i|%T|%r", f"--jobs={','.join(ids)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "Invalid job id" not in done.stderr:
        raise UserError(f"--slurm: squeue fails: {done.stderr.strip()}")
    lines = [line.split("|") for line in done.stdout.splitlines()]
    return {job: state if why == "None" else f"{state} ({why})" for job, state, why in lines if job in jobs}


def at_work(folder: Path, plan: Plan, arguments: Sequence[str]) -> dict | None:
    """The `status` of the last submission for the dataset in `folder`; None if none of its jobs is left.

    Raises UserError if these jobs run another command than `arguments`, or if SLURM does not answer.
    """
    record = read_json(folder / FOLDER / "jobs.json", {})
    if not record:
        return None
    submission = Submission(**record, states=queue([*record["tasks"].values(), record["join"]]))
    if not submission.states:
        return None
    if submission.arguments != list(arguments):
        raise UserError(
            f"{folder}: jobs {' '.join(submission.jobs)} are at work there with other options "
            f"({shlex.join(submission.arguments)}); wait for them or `scancel {' '.join(submission.jobs)}`"
        )
    return status(folder, plan, submission)


def status(folder: Path, plan: Plan, submission: Submission) -> dict:
    """How far a submission is, read from the folder: images drawn in all and in each part, states of the jobs."""
    sealed: dict[str, dict] = {}
    for home in (folder, *homes(folder)):
        sealed |= read_json(home / "checksums.json", {})
    spooled = {int(path.stem) for path in (folder / ".spool").glob("[0-9]*") if path.stem.isdecimal()}
    parts = {}
    for number, shards in enumerate(plan.parts(submission.n, submission.parts), 1):
        name = f"{number}/{submission.parts}"
        drawn = sum(
            max(sealed.get(shard, {}).get("samples", 0), len(spooled.intersection(members)))
            for shard, members in shards.items()
        )
        job = submission.tasks.get(name)
        state = submission.states.get(job, "over") if job else "not needed"
        parts[name] = {"images": drawn, "of": sum(map(len, shards.values())), "job": job, "state": state}
    return {
        "asked": submission.n,
        "images": sum(part["images"] for part in parts.values()),
        "jobs": submission.jobs,
        "parts": parts,
        "join": {"job": submission.join, "state": submission.states.get(submission.join, "over")},
    }


def announce(folder: Path, submission: Submission, request: Request) -> str:
    """What to tell the user who has just submitted."""
    ids = " ".join(submission.jobs)
    lines = [
        f"submitted {ids}: {len(submission.tasks)} of {submission.parts} parts with {request.cpus} CPUs each, then a "
        "job that joins them",
        f"how far they are: the same command; logs: {folder / FOLDER}; to stop: scancel {ids}",
    ]
    logs = [folder / FOLDER / f"{job}_0_log.err" for job in submission.unfinished]
    if read := next(filter(Path.exists, logs), None):
        lines.insert(0, f"{len(logs)} tasks of the last submission did not finish: see for example {read}")
    return "\n".join(lines)


def describe(folder: Path, state: dict) -> str:
    """The content of `status` in two lines."""
    counts = Counter(part["state"] for part in state["parts"].values())
    return (
        f"{folder}: {state['images']} of {state['asked']} images; parts: "
        f"{', '.join(f'{count} {name}' for name, count in sorted(counts.items()))}; "
        f"joining: {state['join']['state']}\n"
        f"watch: squeue --jobs={','.join(state['jobs'])}; logs: {folder / FOLDER}; "
        f"to stop: scancel {' '.join(state['jobs'])}"
    )
