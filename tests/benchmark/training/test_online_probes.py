"""Online probes within training: on, off, in the checkpoint, on several ranks."""

import json
import math
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmark.errors import UserError
from benchmark.probes.online import ONLINE, read_records
from benchmark.probes.targets import TARGETS
from benchmark.recipes import RECIPES
from benchmark.training import TrainConfig, train
from benchmark.training.trainable import StepResult
from benchmark.training.trainer import Trainer


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_dataset) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


def settings(data: Path, out: Path, objective: str = "simclr", **changes: object) -> TrainConfig:
    run = replace(RECIPES["small"][objective], **{"epochs": 2, "batch": 8, **changes})
    return TrainConfig(run=run, data=data, out=out, device="cpu")


@pytest.fixture(scope="module")
def watched(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "watched"
    train(settings(data, out))
    return out


def learnt(run: Path) -> dict:
    checkpoint = torch.load(run / "checkpoint.pt", weights_only=True)
    return {(part, *key): value for part in ("network", "objective") for key, value in flat(checkpoint[part])}


def flat(state: dict) -> list:
    return [((name,), value) for name, value in state.items()]


def test_weights_and_losses_are_the_same_to_the_bit_without_them(watched, data, tmp_path):
    """Buffers too: BatchNorm's averages and counts see each batch once."""
    train(replace(settings(data, tmp_path / "alone"), online_probes=False))
    assert not (tmp_path / "alone" / ONLINE).exists()
    ours, alone = learnt(watched), learnt(tmp_path / "alone")
    assert any("running_var" in name for _, name in ours)
    assert ours.keys() == alone.keys() and all(torch.equal(ours[name], alone[name]) for name in ours)
    assert (watched / "log.jsonl").read_text() == (tmp_path / "alone" / "log.jsonl").read_text()


def test_one_record_an_epoch_of_every_layer_and_latent(watched):
    """Half of the four steps of 8 images are fitted on, the last one judged."""
    records = read_records(watched)
    assert [(record["epoch"], record["step"]) for record in records] == [(1, 4), (2, 8)]
    layers = ["stem", "block1", "block2", "block3", "block4", "trunk", "head1", "head2", "head3"]
    for record in records:
        assert (record["fitted_images"], record["judged_images"]) == (16, 8)
        assert list(record["error"]) == list(record["accuracy"]) == layers
        for errors in record["error"].values():
            assert list(errors) == [target.name for target in TARGETS]
            assert all(0 < error < math.inf for error in errors.values())
        assert record["error"]["trunk"] == pytest.approx(record["error"]["block4"], rel=0.1)


def test_records_are_tensorboards_scalars(watched):
    board = EventAccumulator(str(watched / "tensorboard"))
    board.Reload()
    shown = [(event.step, event.value) for event in board.Scalars("probes/rotation/head2")]
    assert shown == [(r["step"], pytest.approx(r["error"]["head2"]["rotation"])) for r in read_records(watched)]
    assert "probes/accuracy/stem" in board.Tags()["scalars"]


def stop_after(steps: int, config: TrainConfig, monkeypatch: pytest.MonkeyPatch, resume: bool = False) -> None:
    """Train, and press Ctrl-C in the last of so many steps."""
    step = Trainer.step

    def interrupted(trainer: Trainer, number: int) -> StepResult:
        if number == steps - 1:
            signal.raise_signal(signal.SIGINT)
        return step(trainer, number)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", interrupted)
        with pytest.raises(UserError, match=f"stopped by SIGINT after step {steps} "):
            train(config, resume=resume)


@pytest.mark.parametrize("stop", [3, 4, 6, 7])
def test_stopped_in_any_window_and_resumed_gives_the_same_records(watched, data, tmp_path, monkeypatch, stop):
    """After the first window, at an epoch's end, in the first window again and after it."""
    config = settings(data, tmp_path / "run")
    stop_after(stop, config, monkeypatch)
    with (config.out / ONLINE).open("a") as file:
        file.write(json.dumps({"epoch": 2, "step": 8, "error": {}}) + '\n{"epo')  # of a process that was killed later
    train(config, resume=True)
    assert (config.out / ONLINE).read_text() == (watched / ONLINE).read_text()


def test_switched_off_and_on_again(data, tmp_path, monkeypatch):
    """The second epoch's first window began unseen or went by unjudged: it has no record."""
    config = settings(data, tmp_path / "run", epochs=3, head="none")
    stop_after(6, config, monkeypatch)
    stop_after(9, replace(config, online_probes=False), monkeypatch, resume=True)
    train(config, resume=True)
    assert [record["epoch"] for record in read_records(config.out)] == [1, 3]


def test_checkpoint_with_a_foreign_state_of_them_is_refused(data, tmp_path, monkeypatch):
    config = settings(data, tmp_path / "run", head="none")
    stop_after(3, config, monkeypatch)
    path = config.out / "checkpoint.pt"
    stored = torch.load(path, weights_only=True)
    stored["online"]["moments"]["trunk"] = {"x": [torch.zeros(3)], "y": []}
    torch.save(stored, path)
    with pytest.raises(UserError, match=r"checkpoint\.pt: .*--no-online-probes"):
        train(config, resume=True)
    train(replace(config, online_probes=False), resume=True)
