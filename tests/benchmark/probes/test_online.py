"""Online probes: what they fit and judge on, their records, and their state."""

import copy
import functools
import io
import json
import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from benchmark.data.table import ImageTable
from benchmark.errors import UserError
from benchmark.probes.online import (
    FIT_IMAGES,
    JUDGE_IMAGES,
    ONLINE,
    OnlineProbes,
    Schedule,
    append_record,
    keep_records,
    read_records,
)
from benchmark.probes.targets import TARGETS, target_columns, target_slices
from benchmark.probes.windows import PENALTIES

CPU = torch.device("cpu")
STEPS, BATCH = 8, 50  # an epoch: fitted on steps 2 to 5, judged on 6 and 7
WIDTHS = {"stem": 30, "trunk": 60, "head": 250}  # the last one wider than the window has images


def make_table(categories: int = 3) -> ImageTable:
    count, generator = STEPS * BATCH, torch.Generator().manual_seed(0)
    quaternion = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return ImageTable(
        images=torch.zeros(count, 3, 1, 1, dtype=torch.uint8),
        index=torch.arange(count),
        latents=torch.rand(count, 7, generator=generator, dtype=torch.float64),
        quaternion=quaternion / quaternion.norm(dim=1, keepdim=True),
        object_ids=[f"object-{row}" for row in range(count)],
        categories=[f"category-{row % categories}" for row in range(count)],
    )


@functools.cache
def features_of(step: int) -> dict[str, Tensor]:
    """Linear in the latents and classes, with noise; the map drifts from step to step. The second view is useless."""
    table, rows = make_table(), order(step)
    classes = torch.nn.functional.one_hot(torch.tensor([int(name[-1]) for name in table.categories]))
    truth = torch.cat([target_columns(table), classes], dim=1)[rows].float()
    features = {}
    for seed, (layer, width) in enumerate(WIDTHS.items()):
        generator = torch.Generator().manual_seed(seed)
        weight, drift = torch.randn(2, truth.shape[1], width, generator=generator)
        noise = torch.randn(2 * BATCH, width, generator=torch.Generator().manual_seed(1000 + step))
        features[layer] = 3 + 0.3 * noise
        features[layer][:BATCH] += truth @ (weight + 0.01 * step * drift)
    return features


def order(step: int) -> Tensor:
    epoch, place = divmod(step, STEPS)
    return torch.randperm(STEPS * BATCH, generator=torch.Generator().manual_seed(epoch))[place * BATCH :][:BATCH]


def new_probes(table: ImageTable | None = None) -> OnlineProbes:
    return OnlineProbes(table or make_table(), STEPS, BATCH, CPU)


def observe(probes: OnlineProbes, steps: range) -> None:
    for step in steps:
        if probes.wants(step):
            probes.observe(step, features_of(step), order(step))


@pytest.mark.parametrize("steps", [2, 3, 4, 7, 52, 1250])
@pytest.mark.parametrize("batch", [2, 256, 1024])
def test_windows_end_with_the_epoch_and_share_no_step(steps, batch):
    schedule = Schedule.of(steps, batch)
    for first in (0, 5 * steps):
        fits = [step - first for step in range(first, first + steps) if schedule.fits(step)]
        judges = [step - first for step in range(first, first + steps) if schedule.judges(step)]
        assert fits and judges
        assert fits + judges == list(range(fits[0], steps))
        assert len(fits) <= steps / 2 and len(judges) <= max(1, steps / 4)
        short = len(fits) == max(1, steps // (3 if 1024 < steps * batch / 2 < 4096 else 2))
        assert short or FIT_IMAGES <= len(fits) * batch < FIT_IMAGES + batch
        assert len(judges) <= 1 + JUDGE_IMAGES // batch


def test_epoch_of_one_step_is_not_judged():
    probes = OnlineProbes(make_table(), 1, STEPS * BATCH, CPU)
    assert not any(probes.wants(step) for step in range(5))
    assert probes.record(1) is None


def test_record_is_what_scikit_learn_finds_on_the_same_windows():
    """The first epoch, hence one penalty for all; of the first views only."""
    table, probes = make_table(), new_probes()
    assert probes.schedule == Schedule(STEPS, fit=4, judge=2)
    observe(probes, range(STEPS))
    record = probes.record(1)
    rows = [order(step) for step in range(STEPS)]
    seen = {layer: [] for layer in WIDTHS}
    for step in range(STEPS):
        for layer, x in features_of(step).items():
            seen[layer].append(x[:BATCH].double().numpy())
    fit, judge = torch.cat(rows[2:6]), torch.cat(rows[6:])
    classes = torch.tensor([int(name[-1]) for name in table.categories])
    truth = torch.cat([target_columns(table), torch.nn.functional.one_hot(classes)], dim=1).double().numpy()
    for layer, batches in seen.items():
        x, new = np.concatenate(batches[2:6]), np.concatenate(batches[6:])
        alpha = 0.1 * ((x - x.mean(axis=0)) ** 2).sum() / x.shape[1]
        predicted = Ridge(alpha=alpha, solver="svd").fit(x, truth[fit]).predict(new)
        nmse = ((predicted - truth[judge]) ** 2).mean(axis=0) / truth[judge].var(axis=0)
        expected = {name: nmse[columns].mean() for name, columns in target_slices().items()}
        assert record["error"][layer] == pytest.approx(expected, rel=1e-4)
        right = predicted[:, -3:].argmax(axis=1) == classes[judge].numpy()
        assert record["accuracy"][layer] == pytest.approx(right.mean())
    assert (record["epoch"], record["step"], record["fitted_images"], record["judged_images"]) == (1, 8, 200, 100)
    assert record["commonest"] == pytest.approx(classes[judge].bincount().max().item() / 100)
    assert list(record["error"]) == list(WIDTHS) and list(record["error"]["stem"]) == [t.name for t in TARGETS]
    assert record["error"]["trunk"]["rotation"] < 0.3 < record["accuracy"]["trunk"]


def test_what_was_fitted_on_is_not_judged_on():
    """Noise alone, as wide as the window: by heart it would be perfect, on other images it is worse than the mean."""
    probes = new_probes()
    for step in range(STEPS):
        if probes.wants(step):
            noise = torch.randn(BATCH, 250, generator=torch.Generator().manual_seed(step))
            probes.observe(step, {"layer": noise}, order(step))
    record = probes.record(1)
    assert all(error > 1 for error in record["error"]["layer"].values())
    assert record["accuracy"]["layer"] < 0.6


def test_penalty_is_the_best_one_of_the_epoch_before():
    """Whatever the present epoch would have preferred: its own images choose nothing."""
    probes = new_probes()
    observe(probes, range(8))
    first = copy.deepcopy(probes.judged)
    probes.record(1)
    errors = first.errors("trunk", target_slices())
    best = {name: PENALTIES[int(error.argmin())] for name, error in errors.items()}
    assert {name: probes.best["trunk"][name] for name in best} == best
    observe(probes, range(8, 16))
    second = copy.deepcopy(probes.judged)
    record = probes.record(2)
    for name, error in second.errors("trunk", target_slices()).items():
        assert record["error"]["trunk"][name] == error[PENALTIES.index(best[name])].item()


def test_step_observed_in_parts_is_the_whole_step():
    whole, parts = new_probes(), new_probes()
    for step in range(2, STEPS):
        rows, features = order(step), features_of(step)
        whole.observe(step, features, rows)
        for part in (slice(0, 20), slice(20, 50)):
            parts.observe(step, {layer: x[:50][part] for layer, x in features.items()}, rows[part])
    one, other = whole.record(1), parts.record(1)
    assert one["error"]["head"] == pytest.approx(other["error"]["head"], rel=1e-5)
    assert (one["fitted_images"], one["judged_images"]) == (other["fitted_images"], other["judged_images"])


def saved(state: dict) -> dict:
    """Through a checkpoint file, read without running anything in it."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_stopped_anywhere_and_resumed_gives_the_same_records():
    whole = new_probes()
    observe(whole, range(STEPS))
    expected = [whole.record(1)]
    observe(whole, range(STEPS, 2 * STEPS))
    expected.append(whole.record(2))
    for stop in range(2 * STEPS):
        first, second, records = new_probes(), new_probes(), []
        for probes, part in ((first, range(stop)), (second, range(stop, 2 * STEPS))):
            if probes is second:
                second.load_state_dict(saved(first.state_dict()))
            for step in part:
                observe(probes, range(step, step + 1))
                if (step + 1) % STEPS == 0:
                    records.append(probes.record((step + 1) // STEPS))
        assert records == expected


def test_switched_on_between_the_windows_waits_for_the_next_epoch():
    probes = new_probes()
    assert not probes.wants(6)
    observe(probes, range(6, 8))
    assert probes.record(1) is None
    observe(probes, range(8, 16))
    assert probes.record(2)["epoch"] == 2


@pytest.mark.parametrize("stage", [4, 7])
@pytest.mark.parametrize("change", ["empty", "text", "shape", "kind", "targets"])
def test_state_that_is_not_ours_is_refused(stage, change):
    probes = new_probes()
    observe(probes, range(stage))
    state = saved(probes.state_dict())
    part = state["moments"].get("trunk") or state["readouts"]["trunk"]
    if change == "empty":
        state = {}
    elif change == "text":
        part[next(reversed(part))] = "text"
    elif change == "shape":
        part[next(reversed(part))] = torch.zeros(3)
    elif change == "kind":
        part[next(reversed(part))] = part[next(reversed(part))].long()
    other = new_probes(make_table(categories=4 if change == "targets" else 3))
    with pytest.raises(ValueError, match=r"no state of online probes|expected numbers of shape"):
        other.load_state_dict(state)


def test_state_of_another_network_is_refused():
    probes = new_probes()
    observe(probes, range(4))
    with pytest.raises(UserError, match=r"another layer 'trunk'.*--no-online-probes"):
        probes.observe(4, {"stem": torch.zeros(50, 30), "trunk": torch.zeros(50, 61)}, torch.arange(50))


def test_what_cannot_be_judged_is_null():
    table = make_table(categories=1)
    table.latents[:, 3] = 0.5
    probes = new_probes(table)
    observe(probes, range(8))
    record = json.loads(json.dumps(probes.record(1), allow_nan=False))
    assert "accuracy" not in record
    assert record["error"]["stem"]["floor_hue"] is None and record["error"]["stem"]["yaw"] > 0
    for step in range(8, 16):
        if probes.wants(step):
            probes.observe(step, {"stem": torch.full((50, 30), math.nan)}, order(step))
    assert set(probes.record(2)["error"]["stem"].values()) == {None}


def test_records_in_a_run_directory(tmp_path):
    records = [{"epoch": epoch, "error": {"stem": {"yaw": 0.5, "roll": None}}} for epoch in (1, 2, 3)]
    with pytest.raises(UserError, match=r"has no online\.jsonl.*--no-online-probes"):
        read_records(tmp_path)
    keep_records(tmp_path, 2)
    for record in records:
        append_record(tmp_path, record)
    with (tmp_path / ONLINE).open("a") as file:
        file.write('{"epoch": 4, "err')
    assert read_records(tmp_path) == records
    keep_records(tmp_path, 2)
    assert read_records(tmp_path) == records[:2]
    keep_records(tmp_path, 0)
    with pytest.raises(UserError, match="empty"):
        read_records(tmp_path)


@pytest.mark.parametrize("line", ["[]", "{}", '{"epoch": 1, "error": 3}', '{"epoch": 1, "error": {"a": {"b": "c"}}}'])
def test_records_that_are_not_ours(tmp_path, line):
    (tmp_path / ONLINE).write_text(line + "\n")
    with pytest.raises(UserError, match="not the records of"):
        read_records(tmp_path)
