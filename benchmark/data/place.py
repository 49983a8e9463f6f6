"""Where a table's images are kept: in memory, in a memory map, or on the training device."""

import os
from contextlib import suppress
from pathlib import Path

import torch

from benchmark.errors import UserError

PLACES = ("auto", "ram", "mmap", "device")

_SHARE = 0.5  # of the available memory that a table may take without being told to


def choose_place(wanted: str, size: int, device: torch.device) -> tuple[str, str]:
    """(one of "ram", "mmap", "device", why, in words) for a table of `size` bytes used on `device`.

    wanted: one of PLACES. "auto" prefers a GPU's memory, then RAM, each up to half of what is available, then a
    memory map. Where several processes of one run share the machine (torchrun), each counts with a table of its own,
    unless it is mapped. UserError for another name.
    """
    if wanted not in PLACES:
        raise UserError(f"--table {wanted}: unknown; choose one of {', '.join(PLACES)}", exit_code=2)
    if wanted != "auto":
        return wanted, "as asked for"
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if size <= _SHARE * free:
            return "device", f"{in_words(free)} of the GPU's memory available"
    available = available_memory()
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    why = f"{in_words(available)} of memory available"
    if processes > 1:
        why += f" for {processes} processes"
    return ("ram" if size * processes <= _SHARE * available else "mmap"), why


def available_memory() -> int:
    """Bytes that this process can still take without swapping, its container's limit included."""
    available = _machine_memory()
    for limit, used in (
        ("memory.max", "memory.current"),  # control groups, version 2
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # no such file, or "max"
            folder = Path("/sys/fs/cgroup")
            available = min(available, int((folder / limit).read_text()) - int((folder / used).read_text()))
    return max(0, available)


def _machine_memory() -> int:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # not on Linux


def in_words(size: float) -> str:
    """Bytes as "12 MB" or "3.4 GB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
