"""One run on several processes that torchrun started: the same images, one voice, one end."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch

from benchmark.recipes import RECIPES
from benchmark.training.config import check_shares
from benchmark.training.schedule import shares

# `gr3d train`, but rank 1's dataset is not there.
BLIND = """
import os, sys
if os.environ["RANK"] == "1":
    sys.argv[sys.argv.index("--data") + 1] = "/nowhere"
from benchmark.cli import run_rank
run_rank()
"""

# `gr3d train`, but rank 1 breaks down in its sixth step, as from a bug.
BROKEN = """
import os
from benchmark.training.trainer import Trainer
step = Trainer.step
def breaking(self, i):
    if os.environ["RANK"] == "1" and i == 5:
        raise ZeroDivisionError("broken")
    return step(self, i)
Trainer.step = breaking
from benchmark.cli import run_rank
run_rank()
"""

# What step 3 shows every rank, for each kind of positives, saved as views{rank}.pt in the folder argv[2].
VIEWS = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
import torch
from benchmark import distributed
from benchmark.data.table import load_table
from benchmark.recipes import RECIPES
from benchmark.training.trainer import Trainer
run = replace(RECIPES["small"]["simclr"], head="none", batch=8, accumulate=2, precision="fp32")
near = (np.arange(32)[:, None] + [1, 5, 9]) % 32
with distributed.started(torch.device("cpu")):
    table, shown = load_table(Path(sys.argv[1]), "train"), {}
    for kind in ("augmentation", "class", "neighbours x"):
        trainer = Trainer(replace(run, positives=kind), table, torch.device("cpu"), neighbours=near)
        shown[kind] = [(batch.clone().unflatten(0, (2, -1)), rows) for batch, rows in trainer._parts(3)]
    torch.save(shown, Path(sys.argv[2]) / f"views{distributed.rank()}.pt")
"""


def children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in listed.stdout.split()]


def test_shares_are_every_image_once():
    for accumulate, ranks in ((1, 1), (2, 1), (1, 2), (2, 3)):
        seen = [
            row for rank in range(ranks) for share in shares(24, accumulate, rank, ranks) for row in range(24)[share]
        ]
        assert sorted(seen) == list(range(24))
    assert shares(24, 2, 1, 3) == [slice(4, 8), slice(16, 20)]  # each part, a run of 12, is cut into the ranks' shares


@pytest.mark.slow
def test_ranks_see_the_images_that_one_process_sees(tiny, tmp_path):
    script = tmp_path / "views.py"
    script.write_text(VIEWS)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    (tmp_path / "one").mkdir()
    alone = [sys.executable, str(script), str(tiny), str(tmp_path / "one")]
    both = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for command in (alone, [*both, str(script), str(tiny), str(tmp_path)]):
        subprocess.run(command, env=environment, check=True, timeout=240)
    whole = torch.load(tmp_path / "one" / "views0.pt")
    parts = [torch.load(tmp_path / f"views{rank}.pt") for rank in range(2)]
    for kind in ("augmentation", "class", "neighbours x"):
        for part in range(2):
            for what, axis in ((0, 1), (1, 0)):
                joined = torch.cat([parts[rank][kind][part][what] for rank in range(2)], axis)
                assert torch.equal(joined, whole[kind][part][what])
    first, second = whole["augmentation"][0][0][1], whole["class"][0][0][1]
    assert not torch.equal(first, second)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "objective", "whom"), [(2, "byol", "one rank"), (2, "simclr", "all"), (3, "vicreg", "one rank")]
)
def test_killed_and_resumed_equals_never_killed(tiny, training, digest, ranks, objective, whom):
    options = ("--objective", objective, "--batch", "12")  # 6 steps
    killed = training(tiny, "killed", *options, ranks=ranks).await_step(3)
    victims = children(killed.pid)
    assert len(victims) == ranks
    if whom == "all":
        os.kill(killed.pid, signal.SIGKILL)
    for victim in victims if whom == "all" else victims[-1:]:
        os.kill(victim, signal.SIGKILL)
    assert killed.end() == (-signal.SIGKILL if whom == "all" else 1)
    assert not (killed.out / "report.json").exists()
    if whom != "all":
        assert "gr3d: rank 0: another rank is gone" in killed.text
        assert "--resume" in killed.text
    step = torch.load(killed.out / "checkpoint.pt", weights_only=True)["step"]
    again = training(tiny, "killed", *options, "--resume", ranks=ranks)
    assert again.end() == 0, again.text
    assert again.text.count(f"goes on after step {step} of 6") == 1
    whole = training(tiny, "whole", *options, ranks=ranks)
    assert whole.end() == 0, whole.text
    assert digest(killed.out) == digest(whole.out)


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_all_after_the_same_step(tiny, training):
    process = training(tiny, "run", "--checkpoint-minutes", "60", ranks=2).await_step(3)
    os.kill(children(process.pid)[-1], signal.SIGTERM)
    assert process.end() == 1
    step = torch.load(process.out / "checkpoint.pt", weights_only=True)["step"]
    assert process.text.count("gr3d: ") == 1
    assert f"stopped by SIGTERM after step {step} of 12, saved; add --resume" in process.text


def test_what_one_rank_cannot_do_ends_all_with_one_line(tiny, training, tmp_path):
    script = tmp_path / "blind.py"
    script.write_text(textwrap.dedent(BLIND))
    process = training(tiny, "run", ranks=2, script=script)
    assert process.end() == 1
    assert [line for line in process.text.splitlines() if line.startswith("gr3d: ")] == [
        "gr3d: /nowhere: no such folder; render a dataset there first (gr3d render --out /nowhere), or name another "
        "(docs/data.md)"
    ]


@pytest.mark.slow
def test_rank_that_breaks_down_leaves_nobody_waiting(tiny, training, tmp_path):
    script = tmp_path / "broken.py"
    script.write_text(textwrap.dedent(BROKEN))
    process = training(tiny, "run", ranks=2, script=script)
    assert process.end() == 1
    assert "ZeroDivisionError: broken" in process.text
    assert "gr3d: rank 0: another rank is gone" in process.text
    assert torch.load(process.out / "checkpoint.pt", weights_only=True)["step"] == 5


def test_batch_that_cannot_be_shared():
    run = RECIPES["small"]["simclr"]
    for batch, accumulate, ranks in ((10, 1, 4), (8, 3, 1), (8, 4, 2)):
        with pytest.raises(
            Exception, match=f"--batch {batch}: cannot be shared by {ranks} ranks in {accumulate} parts"
        ):
            check_shares(run.__class__(**{**vars(run), "batch": batch, "accumulate": accumulate}), ranks)
