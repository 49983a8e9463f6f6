"""A real SLURM of one node on this machine, for the time of a test: its own munge key, ports and folders."""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

#: The node pretends to have this many, so that array tasks run side by side on any machine.
CPUS = 3

CONFIGURATION = """
ClusterName=gr3d-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its first credential has expired, and then for the scheduler: minutes by default.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SchedulerParameters=sched_interval=2,bf_interval=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
KillWait=20
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus}
PartitionName=main Nodes={host} Default=YES MaxTime=60 State=UP
"""


@dataclass(frozen=True)
class Cluster:
    """A running SLURM. Its commands find it with `environment`."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        """Run one of SLURM's commands; returns what it prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def states(self) -> dict[str, str]:
        """State of every job in the queue, of arrays by task: {"12_0": "RUNNING", "13": "PENDING"}."""
        lines = self.run("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def wait(self, what: str, condition: Callable[[], bool], seconds: float = 240) -> None:
        """Until `condition()`; fails with the daemons' last words after `seconds`."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                logs = [(self.folder / name).read_text()[-2000:] for name in ("slurmctld.log", "slurmd.log")]
                raise AssertionError(f"not within {seconds} s: {what}; queue {self.states()}\n" + "\n".join(logs))
            time.sleep(0.2)


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """Start munged, slurmctld and slurmd with all their files in `folder`; stop them, and every job, afterwards."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    host = socket.gethostname().partition(".")[0]
    ports = dict(zip(("controller_port", "node_port"), free_ports(2), strict=True))
    conf = folder / "slurm.conf"
    conf.write_text(CONFIGURATION.format(folder=folder, host=host, cpus=CPUS, **ports))
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    # Options of a user's own (SBATCH_PARTITION, ...) would mean another cluster's.
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_", "SRUN_", "SQUEUE_"))}
    cluster = Cluster(folder, {**clean, "SLURM_CONF": str(conf)})
    with ExitStack() as stack:
        munge_files = [
            f"--{option}={folder}/munge.{option}" for option in ("socket", "pid-file", "log-file", "seed-file")
        ]
        daemon(stack, cluster, "munged", "--foreground", "--force", f"--key-file={key}", *munge_files)
        cluster.wait("munged answers", (folder / "munge.socket").exists, 20)
        daemon(stack, cluster, "slurmctld", "-D", "-f", str(conf))
        daemon(stack, cluster, "slurmd", "-D", "-f", str(conf), "-N", host)
        stack.callback(stop_jobs, cluster)
        cluster.wait("the node is idle", lambda: node_state(cluster) == "idle", 60)
        yield cluster


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def daemon(stack: ExitStack, cluster: Cluster, name: str, *options: str) -> None:
    """Start a daemon in the foreground, to be stopped when `stack` is left, or when this process is killed."""
    program = shutil.which(name, path="/usr/sbin:/sbin:" + os.environ["PATH"])
    with (cluster.folder / f"{name}.out").open("wb") as output:
        process = subprocess.Popen(
            [program, *options],
            env=cluster.environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    stack.callback(stop, process)


def die_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def stop_jobs(cluster: Cluster) -> None:
    """Cancel what a failed test has left: a job outlives its slurmd."""
    subprocess.run(["scancel", "--user=root"], env=cluster.environment, timeout=30)
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline and cluster.states():
        time.sleep(0.2)


def node_state(cluster: Cluster) -> str:
    done = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"], env=cluster.environment, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()
