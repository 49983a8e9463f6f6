"""Training runs: what they leave, how they stop and resume, and what they refuse."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmark.errors import UserError
from benchmark.models import build_network
from benchmark.recipes import RECIPES
from benchmark.training import RunConfig, TrainConfig, is_finished, load_run, train
from benchmark.training.trainer import Trainer
from tests.needs import needs_mount

ROOT = Path(__file__).parents[3]

# A child process that trains as the command does: argv = data, out, and "resume" or nothing.
CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
from benchmark.errors import UserError
from benchmark.recipes import RECIPES
from benchmark.training import TrainConfig, train
run = replace(RECIPES["small"]["simclr"], epochs=3, batch=8, head="none")
try:
    train(TrainConfig(run=run, data=Path(sys.argv[1]), out=Path(sys.argv[2]), device="cpu", checkpoint_seconds=0),
          resume="resume" in sys.argv)
except UserError as error:
    sys.exit(f"error: {error}")
"""


def small(objective: str = "rotation", **changes: object) -> RunConfig:
    return replace(RECIPES["small"][objective], **{"epochs": 2, "batch": 8, "head": "none", **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_dataset) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


def settings(data: Path, out: Path, run: RunConfig | None = None) -> TrainConfig:
    return TrainConfig(run=run or small(), data=data, out=out, device="cpu", checkpoint_seconds=0)


def weights(run: Path) -> dict:
    return torch.load(run / "checkpoint.pt", weights_only=True)["network"]


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def losses(run: Path) -> list[tuple]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(line["step"], line["epoch"], line["loss"], line["lr"]) for line in lines]


@pytest.fixture
def stopped(data, tmp_path) -> TrainConfig:
    """A run of 8 steps, interrupted by Ctrl-C after a few."""
    config = settings(data, tmp_path / "stopped")
    _interrupt_when(lambda: len((config.out / "log.jsonl").read_text().splitlines()) >= 2)
    with pytest.raises(UserError, match=r"stopped by SIGINT after step [2-7] of 8, saved; add --resume") as caught:
        train(config)
    assert caught.value.exit_code == 1
    return config


def _interrupt_when(ready) -> None:
    def wait() -> None:
        while True:
            try:
                if ready():
                    break
            except FileNotFoundError:
                pass
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "deep" / "rotation"
    train(settings(data, out))
    return out


def test_finished_run_is_complete(finished, data):
    report = json.loads((finished / "report.json").read_text())
    assert (report["objective"], report["images"], report["steps"], report["device"]) == ("rotation", 32, 8, "cpu")
    assert report["images_per_s"] > 0
    log = losses(finished)
    assert [line[0] for line in log] == list(range(1, 9))
    assert [line[1] for line in log] == [1] * 4 + [2] * 4
    assert report["loss_last_epoch"] == pytest.approx(sum(line[2] for line in log[4:]) / 4)
    network, config = load_run(finished)
    assert (config.objective, config.arch, config.head, network.training) == ("rotation", "resnet18", "none", False)
    assert config.precision in ("bf16", "fp32")
    assert same(dict(network.state_dict()), weights(finished))
    untrained = build_network(config.arch, config.stem, config.head, config.seed)
    assert not torch.equal(network.stem[0].weight, untrained.stem[0].weight)
    assert [path.name for path in finished.iterdir() if path.name.startswith(".")] == [".lock"]


@pytest.mark.parametrize("resume", [False, True])
def test_finished_run_is_not_trained_again(finished, data, resume, capsys):
    before = (finished / "checkpoint.pt").stat()
    assert is_finished(finished)
    report = train(settings(data, finished), resume=resume)
    assert report == json.loads((finished / "report.json").read_text())
    assert (finished / "checkpoint.pt").stat() == before
    assert capsys.readouterr().out == f"{finished}: already finished, not trained again\n"


def test_finished_run_says_that_its_data_has_grown(finished, data, tmp_path, capsys):
    grown = shutil.copytree(data, tmp_path / "grown")
    for images in (16, 32):
        listed = {f"train-{shard:06d}.tar": {"samples": images} for shard in (0, 1)}
        (grown / "checksums.json").write_text(json.dumps(listed))
        assert train(settings(grown, finished))["images"] == 32
    same, more = capsys.readouterr().out.splitlines()
    assert same.endswith("not trained again")
    assert "not trained again (on 32 images, the dataset now has 64" in more


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_damaged_report(finished, data, tmp_path, text):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "report.json").write_text(text)
    with pytest.raises(UserError, match=r"report\.json: damaged .*delete it, then add --resume"):
        train(settings(data, run))
    (run / "report.json").unlink()
    assert train(settings(data, run), resume=True)["steps"] == 8


def test_same_settings_give_the_same_weights(finished, data, tmp_path):
    train(settings(data, tmp_path / "again"))
    assert same(weights(finished), weights(tmp_path / "again"))
    assert losses(finished) == losses(tmp_path / "again")


def test_stopped_and_resumed_equals_never_stopped(stopped, finished):
    assert not is_finished(stopped.out)
    train(stopped, resume=True)
    assert same(weights(stopped.out), weights(finished))
    assert losses(stopped.out) == losses(finished)


def start(data: Path, out: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD, str(data), str(out), *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def started(data: Path, out: Path) -> subprocess.Popen:
    """A process that has done a few steps of its run."""
    child, log = start(data, out), out / "log.jsonl"
    while child.poll() is None and not (log.is_file() and log.read_text().count("\n") >= 5):
        time.sleep(0.01)
    return child


def test_killed_and_resumed_equals_never_killed(data, tmp_path):
    """And one process at a time: this one meets the lock, which dies with its holder."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    child = started(data, killed)
    child.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(UserError, match="another gr3d training is writing there"):
            train(settings(data, killed), resume=True)
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    assert not (killed / "report.json").exists()
    for child in (start(data, killed, "resume"), start(data, whole)):
        _, errors = child.communicate()
        assert child.returncode == 0, errors
    assert same(weights(killed), weights(whole))
    assert losses(killed) == losses(whole)
    assert (killed / "online.jsonl").read_text() == (whole / "online.jsonl").read_text()


def test_batch_too_large_for_the_gpu(data, tmp_path, monkeypatch):
    """Without a GPU, torch's error has to be made up."""

    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nmore")

    monkeypatch.setattr(Trainer, "step", fail)
    with pytest.raises(UserError, match=r"--batch 8: too large for the memory of cpu; .*--out .*smaller.*--accumulate"):
        train(settings(data, tmp_path / "run"))


def test_stopped_before_the_first_step(data, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "__init__", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    with pytest.raises(UserError, match="stopped; add --resume"):
        train(settings(data, tmp_path / "run"))


def test_log_cut_short_by_a_kill_is_mended(stopped, finished):
    with (stopped.out / "log.jsonl").open("a") as log:
        log.write('{"step": 8, "epoch": 2, "loss": 9.0, "lr": 0.1, "images_per_s": 1}\n{"step": 9, "ep')
    train(stopped, resume=True)
    assert losses(stopped.out) == losses(finished)


def test_unfinished_run_needs_resume(stopped):
    with pytest.raises(UserError, match="holds an unfinished run; add --resume"):
        train(stopped)


def test_resume_without_a_run_starts_one(data, tmp_path):
    train(settings(data, tmp_path / "new", small(epochs=1)), resume=True)
    assert is_finished(tmp_path / "new")


def test_simclr_with_head_and_both_views(data, tmp_path):
    out = tmp_path / "simclr"
    report = train(settings(data, out, small("simclr", epochs=1, batch=16, head="mlp3")))
    assert report["views_per_s"] == pytest.approx(2 * report["images_per_s"], rel=1e-2)
    assert load_run(out)[0].layers[-1] == "head3"


def test_rotation_is_learnt(data, tmp_path):
    """32 images by heart, without augmentation: the error falls far below the target's variance."""
    still = replace(small().views[0], crop_scale=(1.0, 1.0), jitter_p=0.0, grey_p=0.0)
    out = tmp_path / "run"
    train(settings(data, out, small(epochs=25, batch=16, lr=2e-3, views=(still,))))
    log = losses(out)
    assert sum(line[2] for line in log[-4:]) / 4 < 0.05


@pytest.fixture
def small_disk(tmp_path):
    """A disk with room for one checkpoint of 134 MB, not for two."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@needs_mount
def test_disk_full_while_saving_keeps_the_last_checkpoint(data, small_disk, finished):
    config = settings(data, small_disk / "run")
    with pytest.raises(UserError, match=r"checkpoint\.pt: cannot be written \(.*\); make room, then add --resume"):
        train(config)
    assert torch.load(config.out / "checkpoint.pt", weights_only=True)["step"] == 1
    assert not list(config.out.glob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=400m", str(small_disk)], check=True)
    train(config, resume=True)
    assert same(weights(config.out), weights(finished))
    assert losses(config.out) == losses(finished)


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows."""
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    names = ("loss", "lr", "gradient")
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in names}


def test_tensorboard_shows_what_the_log_says(stopped, finished):
    train(stopped, resume=True)
    for run in (finished, stopped.out):
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        for name, shown in scalars(run).items():
            assert [step for step, _ in shown] == list(range(1, 9))
            assert [value for _, value in shown] == pytest.approx([line[name] for line in lines])


def test_loss_that_is_not_finite_stops_with_the_step(data, tmp_path):
    config = settings(data, tmp_path / "run", small(lr=1e30, warmup=0.0))
    with pytest.raises(
        UserError,
        match=r"the (loss|gradient) became (nan|inf) at step 2, batch seed \(0, 2, 1\); "
        r"last good checkpoint: .*run/checkpoint\.pt of step 1 \(finite, but the weights that gave this\); .*--lr",
    ):
        train(config)
    assert torch.load(config.out / "checkpoint.pt", weights_only=True)["step"] == 1
    assert [line[0] for line in losses(config.out)] == [1]
    assert not is_finished(config.out)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"lr": 0.5}, "another lr"), ({"seed": 3}, "another seed"), ({"arch": "resnet34"}, "another arch")],
)
def test_folder_of_another_run_is_refused(finished, data, change, message):
    with pytest.raises(UserError, match=message):
        train(settings(data, finished, small(**change)), resume=True)


def test_folder_of_a_run_on_another_dataset_is_refused(finished, write_dataset, tmp_path):
    other = write_dataset(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match=r"another dataset seed \(0, now 1\)"):
        train(settings(other, finished), resume=True)


def test_dataset_that_grew_is_refused_on_resume(stopped, write_dataset, tmp_path):
    grown = write_dataset(tmp_path / "grown", count=40)
    with pytest.raises(UserError, match="began with 32 training images, the dataset now has 40"):
        train(replace(stopped, data=grown), resume=True)


def test_folder_with_other_files_is_refused(data, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="holds other files and no run"):
        train(settings(data, tmp_path))


def test_out_that_is_a_file(data, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match=r"--out .*out: cannot be made"):
        train(settings(data, tmp_path / "out"))


def test_data_that_cannot_be_read_leaves_the_folder_free(write_dataset, tmp_path):
    broken = write_dataset(tmp_path / "broken")
    (broken / "train-000000.tar").write_bytes(b"")
    with pytest.raises(UserError, match="truncated shard"):
        train(settings(broken, tmp_path / "run"))
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_batch_larger_than_the_split(data, tmp_path):
    with pytest.raises(UserError, match=r"--batch 64: split 'train' .* has 32 images") as caught:
        train(settings(data, tmp_path / "run", small(batch=64)))
    assert caught.value.exit_code == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there(data, tmp_path):
    with pytest.raises(UserError, match="--device cuda: torch sees no CUDA device"):
        train(replace(settings(data, tmp_path / "run"), device="cuda"))


def test_a_transformer_trains_and_comes_back(data, tmp_path):
    run = small(arch="vit-s16", epochs=1)
    train(settings(data, tmp_path / "run", run))
    network, stored = load_run(tmp_path / "run")
    assert stored.arch == "vit-s16" and network.layers[-1] == "trunk"
    begun = build_network(run.arch, run.stem, run.head, run.seed).state_dict()
    assert not torch.equal(network.state_dict()["patches.weight"], begun["patches.weight"])


def test_a_patch_that_does_not_divide_the_images_is_refused_first(write_dataset, tmp_path):
    data = write_dataset(tmp_path / "data", side=24)
    with pytest.raises(UserError, match=r"--arch vit-s16: .* 16 x 16, and these are 24 x 24") as caught:
        train(settings(data, tmp_path / "run", small(arch="vit-s16")))
    assert caught.value.exit_code == 2
    assert not (tmp_path / "run" / "config.json").exists()
