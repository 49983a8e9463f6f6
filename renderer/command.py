"""Which Blender draws: a program, or a Python that has Blender as its module bpy; and how a worker in it is started."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from assets.errors import UserError

WORKER = Path(__file__).parent / "blender" / "worker.py"

#: Seconds that a program given as --blender may take to say what it is.
VERSION_LIMIT = 60
#: Seconds that Blender may take to list its devices: oneAPI compiles its kernels when it first meets a GPU.
DEVICES_LIMIT = 300


def find_blender(asked: str | None) -> list[str]:
    """The command that starts a worker, up to the worker's own arguments.

    In order: `asked` (--blender PATH, a Blender or a Python that has bpy), the Blender this very code runs in, the bpy
    wheel of this Python, `blender` on the PATH. Raises UserError, with exit code 2 if `asked` is neither, with 1 if
    there is none.
    """
    if asked:
        return _worker_in(_program(asked))
    # Blender puts its own path first in sys.argv, and `bpy` into sys.modules before it runs a script.
    if "bpy" in sys.modules and not {"-b", "--background"}.isdisjoint(sys.argv):
        return _with_blender(sys.argv[0])
    if importlib.util.find_spec("bpy"):
        return _with_python(sys.executable)
    program = shutil.which("blender")
    if program is None:
        raise UserError(
            "no Blender found: `pip install bpy==4.5.*` (needs Python 3.11), or install Blender "
            "(`apt-get install blender`), or give --blender PATH"
        )
    return _with_blender(program)


def worker_environment() -> dict[str, str]:
    """The environment of a worker: a virtual environment's modules would be wrong for a Blender with its own Python."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}


def ask_devices(command: list[str]) -> dict[str, list[str]]:
    """GPU type -> names of its devices, as Blender lists them in a process of its own: drivers can crash or hang it.

    Raises UserError (exit code 1) if it dies of that or takes too long.
    """
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as answer:
        try:
            done = subprocess.run(
                [*command, "--fd-out", str(writing), "--devices"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[writing],
                env=worker_environment(),
                timeout=DEVICES_LIMIT,
            )
        except subprocess.TimeoutExpired:
            how = f"said nothing for {DEVICES_LIMIT} s"
        else:
            how = f"ended with status {done.returncode}"
        finally:
            os.close(writing)
        if lines := answer.read().splitlines():
            return json.loads(lines[0])["found"]
    raise UserError(f"Blender ({command[0]}) {how} when asked for its GPUs; repair their driver, or use --device cpu")


def _with_blender(program: str) -> list[str]:
    return [
        program,
        "-b",
        "--factory-startup",
        "--disable-crash-handler",
        "-noaudio",
        "-t",
        "1",
        "-P",
        str(WORKER),
        "--",
    ]


def _with_python(program: str) -> list[str]:
    return [program, str(WORKER)]


def _program(asked: str) -> str:
    program = shutil.which(asked)
    if program is None:
        raise UserError(f"--blender {asked}: no such program", exit_code=2)
    return program


def _worker_in(program: str) -> list[str]:
    """Ask the program what it is: both answer `--version`, with "Blender 4.5.1" or "Python 3.11.2"."""
    said = _said([program, "--version"])
    if re.search(r"^Blender \d", said, re.MULTILINE):
        return _with_blender(program)
    if not re.search(r"^Python \d", said, re.MULTILINE):
        raise UserError(f"--blender {program}: neither Blender nor a Python (its --version says neither)", exit_code=2)
    look = "import importlib.util as u; print(*(n for n in ('bpy', 'numpy') if not u.find_spec(n)), '.')"
    if missing := _said([program, "-c", look]).split()[:-1]:
        raise UserError(
            f"--blender {program}: this Python has no {' and no '.join(missing)}; `{program} -m pip install bpy`, or "
            "give a Blender program",
            exit_code=2,
        )
    return _with_python(program)


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_LIMIT,
            env=worker_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"--blender {command[0]}: does not run ({error})", exit_code=2) from None
    return done.stdout
