"""Killed and resumed equals never killed: `gr3d train`, ended by SIGKILL and SIGTERM at a step nobody chose."""

import random
import signal

import pytest
import torch

from benchmark.objectives import OBJECTIVES

# One of each kind of optimizer, and parts of batches, on the way. A finished run has no optimizer in its checkpoint:
# the log, with every step's loss and gradient, tells of it.
_OPTIONS = {
    "simclr": ("--optimizer", "lars", "--lr", "0.3"),
    "barlow-twins": ("--optimizer", "sgd", "--lr", "0.003"),
    "byol": ("--accumulate", "2"),
}


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_killed_and_resumed_equals_never_killed(tiny, training, digest, objective):
    options = ("--objective", objective, *_OPTIONS.get(objective, ()))
    killed = training(tiny, "killed", *options).await_step(random.randint(2, 7))
    killed.kill()
    assert killed.end() == -signal.SIGKILL, "the run ended before it could be killed"
    half = torch.load(killed.out / "checkpoint.pt", weights_only=True)
    assert half["optimizer"]["state"]
    assert (half["teacher"] is not None) == (objective == "byol")
    whole, again = training(tiny, "whole", *options), training(tiny, "killed", *options, "--resume")
    assert (again.end(), whole.end()) == (0, 0), again.text + whole.text
    assert f"goes on after step {half['step']} of 12" in again.text
    assert digest(killed.out) == digest(whole.out)


def test_sigterm_saves_and_ends(tiny, training):
    process = training(tiny, "run", "--checkpoint-minutes", "60").await_step(2)
    process.terminate()
    assert process.end() == 1
    last = process.text.splitlines()[-1]
    step = torch.load(process.out / "checkpoint.pt", weights_only=True)["step"]
    assert f"stopped by SIGTERM after step {step} of 12, saved; add --resume" in last
    assert "Traceback" not in process.text
