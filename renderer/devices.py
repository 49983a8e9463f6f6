"""On which devices a run draws, and what each worker is given of them: pure functions over lists of devices.

Nothing here imports bpy: Blender is asked what there is in a process of its own (see renderer/command.py). None of it
has ever met a real GPU; see docs/devices.md.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assets.errors import UserError

#: The GPU types that Cycles knows, in the order in which `auto` takes them: Blender's names, in lower case.
GPUS = ("optix", "cuda", "hip", "oneapi", "metal")
DEVICES = ("cpu", *GPUS)

#: What EEVEE draws on: whatever OpenGL the machine gives it, of which a process sees one.
OPENGL = "opengl"

#: While the GPU traces one worker's frame, another's scene is set up and its image encoded, on the CPU; more than two
#: share what is saturated by then, and each holds its own scene in the GPU's memory. Reasoned, never measured.
WORKERS_PER_GPU = 2

#: Threads of a worker on a GPU: they build its scene and write its images, which takes a moment of a few.
MOST_GPU_THREADS = 4

#: The environment variable that says which devices of a type a process sees. HIP_VISIBLE_DEVICES counts within
#: ROCR_VISIBLE_DEVICES: to set both would hide everything but the first device. Metal has none.
VISIBLE = {
    "optix": "CUDA_VISIBLE_DEVICES",
    "cuda": "CUDA_VISIBLE_DEVICES",
    "hip": "HIP_VISIBLE_DEVICES",
    "oneapi": "ONEAPI_DEVICE_SELECTOR",
}

#: Files that a GPU's driver makes: without any, `auto` does not even ask Blender.
DRIVER_FILES = ("/dev/nvidia[0-9]*", "/dev/nvidiactl", "/dev/kfd", "/dev/dri/renderD*", "/dev/dxg")


@dataclass(frozen=True)
class Choice:
    """The type of device that draws, the names of its devices, and why it was taken."""

    device: str
    names: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Seat:
    """What one worker is given.

    Attributes:
        device: type of the device that it draws on.
        number: which of the devices of that type that it sees; 0 where the environment leaves it but one.
        core: the core that it is pinned to, None for any.
        threads: how many threads Blender may use.
        environment: variables to set for it.
    """

    device: str
    number: int
    core: int | None
    threads: int
    environment: Mapping[str, str] = field(default_factory=dict)


def check(engine: str, device: str, workers: str, per_device: int | None) -> None:
    """Refuse options that contradict each other, before anything is started. Raises UserError (exit code 2)."""
    if workers != "auto" and (not workers.isdecimal() or not 1 <= int(workers) <= 1024):
        raise UserError(f"--workers {workers}: give a number from 1 to 1024, or auto", exit_code=2)
    if per_device is not None and not 1 <= per_device <= 64:
        raise UserError(f"--workers-per-device {per_device}: give a number from 1 to 64", exit_code=2)
    if per_device is not None and workers != "auto":
        raise UserError(
            f"--workers {workers} --workers-per-device {per_device}: give one, the other follows", exit_code=2
        )
    if per_device is not None and device == "cpu":
        raise UserError(
            f"--workers-per-device {per_device} --device cpu: it counts workers per GPU; on the CPU give --workers",
            exit_code=2,
        )
    if engine == "eevee" and device != "auto":
        raise UserError(
            f"--engine eevee --device {device}: EEVEE draws with the machine's OpenGL; --device is for Cycles",
            exit_code=2,
        )


def must_ask(device: str) -> bool:
    """Whether Blender has to be asked for its GPUs: that takes seconds, which a machine without any need not spend."""
    return gpu_is_possible() if device == "auto" else device != "cpu"


def gpu_is_possible() -> bool:
    """Whether a GPU's driver has left a trace. On macOS every machine has one."""
    return sys.platform == "darwin" or any(any(Path("/").glob(pattern[1:])) for pattern in DRIVER_FILES)


def choose(requested: str, found: Mapping[str, Sequence[str]]) -> Choice:
    """The devices to draw on.

    Args:
        requested: "auto" (the first GPU type of which there is a device, else the CPU) or one of DEVICES.
        found: type -> names of its devices, as Blender lists them. The CPU need not be named.

    Raises UserError (exit code 2) for an unknown name and for a device that was asked for and is not there.
    """
    found = {device: tuple(names) for device, names in {"cpu": ("CPU",), **found}.items() if names}
    if requested == "auto":
        device = next((gpu for gpu in GPUS if gpu in found), "cpu")
        others = ", ".join(gpu for gpu in GPUS if gpu in found and gpu != device)
        why = "auto: no GPU that Blender can use" if device == "cpu" else "auto: the first of " + ", ".join(GPUS)
        return Choice(device, found[device], why + (f"; {others} also there" if others else ""))
    if requested not in DEVICES:
        raise UserError(f"--device {requested}: choose auto, {', '.join(DEVICES)}", exit_code=2)
    if requested not in found:
        there = "; ".join(f"{device} ({', '.join(found[device])})" for device in DEVICES if device in found)
        raise UserError(f"--device {requested}: Blender finds none here; there is {there}", exit_code=2)
    return Choice(requested, found[requested], "asked for")


def worker_count(choice: Choice, workers: str, per_device: int | None, cores: int) -> int:
    """How many workers draw. Raises UserError (exit code 2) for a number per GPU where there is none.

    Args:
        choice: from `choose`.
        workers: a number, or "auto": one per core on the CPU, `per_device` for every GPU.
        per_device: workers per GPU, None for the default; no more than there are cores then.
        cores: how many the run may use.
    """
    if workers != "auto":
        return int(workers)
    if choice.device == "cpu":
        if per_device is not None:
            raise UserError(
                f"--workers-per-device {per_device}: no GPU to count workers for ({choice.why}); give --workers",
                exit_code=2,
            )
        return cores
    count = len(choice.names)
    if per_device is not None:
        return per_device * count
    if choice.device == OPENGL:
        return 1  # a GPU is shared by all of its processes, and software OpenGL takes all cores for one
    return max(count, min(WORKERS_PER_GPU * count, cores))


def seats(choice: Choice, workers: int, cores: Sequence[int], environment: Mapping[str, str]) -> list[Seat]:
    """What each of `workers` workers is given: devices in turn, and a core of its own on the CPU.

    A worker on a GPU is not pinned: its driver has threads of its own, and which cores are near which GPU the system
    knows better.

    Args:
        choice: from `choose`.
        workers: how many.
        cores: the cores that the run may use.
        environment: the run's own; devices that it hides stay hidden.

    Raises UserError (exit code 2) where the environment hides devices in a way that cannot be divided.
    """
    if choice.device == "cpu":
        pinned = hasattr(os, "sched_setaffinity") and workers <= len(cores)
        return [Seat("cpu", 0, cores[k] if pinned else None, 1) for k in range(workers)]
    threads = min(MOST_GPU_THREADS, max(1, len(cores) // workers))
    if choice.device not in VISIBLE:  # Metal, OpenGL
        return [Seat(choice.device, k % len(choice.names), None, threads) for k in range(workers)]
    variable = VISIBLE[choice.device]
    shown = _visible(choice, environment.get(variable, ""))
    return [Seat(choice.device, 0, None, threads, {variable: shown[k % len(shown)]}) for k in range(workers)]


def _visible(choice: Choice, inherited: str) -> list[str]:
    """A value of the type's variable for each of its devices, which leaves a process that one alone.

    Where the run itself sees but some devices (a SLURM job's), they are named as the run's own variable names them:
    numbers count among what the machine has, not among what the run sees.
    """
    variable = VISIBLE[choice.device]
    prefix = "level_zero:" if choice.device == "oneapi" else ""
    if inherited in ("", prefix + "*", prefix + "gpu"):
        return [f"{prefix}{number}" for number in range(len(choice.names))]
    if not inherited.startswith(prefix) or not re.fullmatch(r"[\w/-]+(,[\w/-]+)*", inherited.removeprefix(prefix)):
        raise UserError(f"{variable}={inherited}: name the devices one by one ({prefix}0,1), or unset it", exit_code=2)
    return [prefix + one for one in inherited.removeprefix(prefix).split(",")]
