"""Which device, which precision, how many threads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmark import distributed
from benchmark.errors import UserError


def resolve_device(name: str) -> torch.device:
    """ "auto" takes the GPU if there is one. UserError when a GPU was asked for and is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {name}: unknown; choose one of auto, cpu, cuda", exit_code=2)
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device; use --device cpu or auto", exit_code=2)
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def resolve_precision(name: str, device: torch.device) -> str:
    """ "auto" -> "bf16" where the hardware multiplies bfloat16, else "fp32". Emulated, bf16 is slower than fp32."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu.get_capabilities().get("avx512_bf16", False) else "fp32"


@contextmanager
def numerics(device: torch.device, deterministic: bool) -> Iterator[None]:
    """Inside, torch may choose the fastest kernels by trial or, with ``deterministic``, only ones that give the same
    bits every time. An operation of which no such kernel exists then raises RuntimeError."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled()
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first matrices are multiplied
    cudnn.benchmark, cudnn.deterministic = not deterministic and device.type == "cuda", deterministic
    torch.use_deterministic_algorithms(deterministic)
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before[:2]
        torch.use_deterministic_algorithms(before[2])


def use_own_cores() -> int:
    """Give torch one thread for each core this process may run on, and return their number.

    torch counts the machine's cores: two runs pinned to a core each would otherwise fight with two threads each. The
    ranks that torchrun started on a machine share its cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, cores // distributed.local_ranks())
    torch.set_num_threads(threads)
    return threads
