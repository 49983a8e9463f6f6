"""Training of diffusion models: what a folder holds, what is refused, and killed and resumed = never killed."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.data import load_table
from benchmark.errors import UserError
from benchmark.probes.features import weights_hash
from benchmark.rcdm.model import Diffusion
from benchmark.rcdm.train import read_config, read_features, train
from benchmark.rcdm.trainer import DiffusionTrainer, as_seen
from benchmark.training import load_run
from benchmark.training.schedule import EpochOrder, learning_rate, torch_seed

ROOT = Path(__file__).parents[3]


def test_a_model_leaves_what_every_run_leaves(model, network):
    report = json.loads((model / "report.json").read_text())
    assert report["layers"] == ["stem", "trunk"] and report["steps"] == 8 and report["images"] == 32
    assert [json.loads(line)["step"] for line in (model / "log.jsonl").read_text().splitlines()] == list(range(1, 9))
    assert list((model / "tensorboard").iterdir())
    known = read_config(model)
    assert known["network"]["weights"] == weights_hash(load_run(network)[0])


def test_the_network_stays_as_it_is(network, model):
    before = torch.load(network / "checkpoint.pt", weights_only=True)["network"]
    after = load_run(network)[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_finished_model_is_not_trained_again(model, training, capsys):
    report = train(training(model))
    assert report["steps"] == 8 and "already finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lr": 1e-5}, "another lr"),
        ({"layers": ("trunk",)}, "another layers"),
        ({"layers": ("head1",)}, "--layer head1: the network has no such layer"),
        ({"side": 64}, "another side"),
    ],
)
def test_a_folder_of_another_model_is_left_alone(model, training, change, said):
    before = (model / "checkpoint.pt").read_bytes()
    with pytest.raises(UserError, match=said):
        train(training(model, **change))
    assert (model / "checkpoint.pt").read_bytes() == before


def test_bf16_learns_the_same(tmp_path, model, training):
    train(training(tmp_path, precision="bf16"))
    exact, rounded = (
        torch.tensor([json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()])
        for out in (model, tmp_path)
    )
    assert not torch.equal(exact, rounded)
    assert torch.allclose(exact, rounded, rtol=0.03)


def test_images_too_small_or_too_few_are_refused_and_nothing_is_claimed(tmp_path, training):
    with pytest.raises(UserError, match=r"--side 64: the images of .* are 32 x 32"):
        train(training(tmp_path / "out", side=64))
    with pytest.raises(UserError, match=r"--batch 64: split 'train' of .* has 32 images"):
        train(training(tmp_path / "out", batch=64))
    train(training(tmp_path / "out", epochs=1, batch=32))


def test_a_run_of_gr3d_train_is_no_model(network, training):
    with pytest.raises(UserError, match=r"config\.json: damaged, or not written by this version of gr3d rcdm train"):
        train(training(network))


def test_a_loss_that_is_not_finite_ends_it(tmp_path, training):
    with pytest.raises(UserError, match=r"became nan at step .*last good checkpoint: none"):
        train(training(tmp_path / "out", lr=1e30, epochs=20))


def start(network: Path, data: Path, out: Path, *more: str) -> subprocess.Popen:
    words = "--layer trunk --layer stem --side 32 --patch 4 --width 32 --epochs 4 --batch 8 --precision fp32 "
    words += "--device cpu --deterministic --checkpoint-minutes 0"
    command = [sys.executable, "-m", "benchmark.cli", "rcdm", "train", str(network), "--data", str(data)]
    return subprocess.Popen(
        [*command, "--out", str(out), *words.split(), *more],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def await_step(process: subprocess.Popen, out: Path, step: int) -> None:
    log, end = out / "log.jsonl", time.monotonic() + 240
    while process.poll() is None and not (log.is_file() and log.read_bytes().count(b"\n") >= step):
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_and_resumed_equals_never_killed(tmp_path, network, photos):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(network, photos, whole).wait() == 0
    for number, step in ((signal.SIGKILL, 3), (signal.SIGTERM, 9)):
        process = start(network, photos, killed, "--resume")
        await_step(process, killed, step)
        process.send_signal(number)
        assert process.wait() != 0
    last = start(network, photos, killed, "--resume")
    said = last.communicate()[0]
    assert last.returncode == 0 and "goes on after step" in said, said
    one, other = (torch.load(out / "checkpoint.pt", weights_only=True) for out in (whole, killed))
    assert one["step"] == other["step"] == 16
    assert all(torch.equal(one["network"][name], other["network"][name]) for name in one["network"])
    averages = zip(one["teacher"]["shadow_params"], other["teacher"]["shadow_params"], strict=True)
    assert all(torch.equal(a, b) for a, b in averages)
    assert (whole / "log.jsonl").read_bytes() == (killed / "log.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_ranks_take_the_step_of_both_halves_together(tmp_path, network, photos, training):
    """One step, against the same by hand: each half of the batch with its rank's draws, and the mean of the losses."""
    words = "--layer trunk --side 32 --patch 4 --width 32 --epochs 1 --batch 32 --precision fp32 --device cpu"
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "benchmark.cli", "rcdm"]
    command += ["train", str(network), "--data", str(photos), "--out", str(tmp_path / "out"), *words.split()]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "report.json").read_text())["ranks"] == 2
    run = replace(training(tmp_path).run, layers=("trunk",), epochs=1, batch=32)
    images = load_table(photos, "train").images
    features = read_features(load_run(network)[0], images, run.layers, "network", torch.device("cpu"))
    trainer = DiffusionTrainer(run, images, features, torch.device("cpu"))
    rows, losses = torch.from_numpy(EpochOrder(run.seed, 32, 32).rows(0)), []
    for rank in range(2):
        half = rows[16 * rank : 16 * (rank + 1)]
        torch.manual_seed(torch_seed(run.seed, 0, rank))
        shown = as_seen(images[half], run.side), [features["trunk"][half]]
        losses.append(Diffusion(trainer.denoiser)(*shown, nullcontext()) / 2)
    sum(losses).backward()
    gradient = torch.nn.utils.clip_grad_norm_(trainer.denoiser.parameters(), 1.0)
    for group in trainer.optimizer.param_groups:
        group["lr"] = learning_rate(0, 1, run.lr, run.warmup)
    trainer.optimizer.step()
    (logged,) = map(json.loads, (tmp_path / "out" / "log.jsonl").read_text().splitlines())
    assert logged["loss"] == pytest.approx(sum(losses).item(), rel=1e-5)
    assert logged["gradient"] == pytest.approx(gradient.item(), rel=1e-4)
    found = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["network"]
    for name, weights in trainer.denoiser.state_dict().items():
        assert torch.allclose(found[name], weights, rtol=1e-3, atol=1e-6), name
