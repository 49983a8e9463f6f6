"""Small runs of the renderer in a process of their own, and what they left on disk."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

from tests.needs import ROOT

N = 60
OPTIONS = ["--objects", "procedural:chair,car", "--resolution", "32", "--shard-size", "20", "--seed", "5"]


def arguments(out: Path, n: int = N, *more: str) -> list[str]:
    return ["--n", str(n), "--out", str(out), *OPTIONS, *more]


def run(out: Path, n: int = N, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "renderer" / "render.py"), *arguments(out, n, *more)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def start(out: Path, n: int = N, *more: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "renderer" / "render.py"), *arguments(out, n, *more)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def images(out: Path) -> int:
    """How many images are done, in the spool or in listed shards."""
    lists = [path for path in (out / "checksums.json", *out.glob(".parts/*/checksums.json")) if path.exists()]
    sealed = sum(entry["samples"] for path in lists for entry in json.loads(path.read_text()).values())
    return sealed + len(list((out / ".spool").glob("[0-9]*.jpg")))


def wait_for_images(out: Path, process: subprocess.Popen, count: int) -> None:
    """Until `count` images are done."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if images(out) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"not {count} images: {process.communicate()}")


def shards(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.glob("*.tar"))}


def workers_of(supervisor: int) -> list[int]:
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [int(pid) for pid in children if b"worker.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
