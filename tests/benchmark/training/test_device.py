"""Threads and precision follow the machine."""

import os

import pytest
import torch

from benchmark.errors import UserError
from benchmark.training.device import resolve_device, resolve_precision, use_own_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not pin processes")
def test_a_pinned_process_uses_its_own_cores_only():
    threads, cores = torch.get_num_threads(), os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        assert use_own_cores() == torch.get_num_threads() == 1
    finally:
        os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)


def test_precision_given_is_kept_and_auto_is_resolved():
    cpu = torch.device("cpu")
    assert resolve_precision("fp32", cpu) == "fp32"
    assert resolve_precision("bf16", cpu) == "bf16"
    assert resolve_precision("auto", cpu) in ("bf16", "fp32")


def test_unknown_device():
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(UserError, match="--device tpu: unknown"):
        resolve_device("tpu")
