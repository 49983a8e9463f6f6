"""The whole regression on a small dataset: numbers against scikit-learn, and what must be refused."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn

from benchmark.data.table import load_table
from benchmark.errors import UserError
from benchmark.models import build_network
from benchmark.probes.features import weights_hash
from benchmark.probes.regress import inner_objects, regress_latents
from benchmark.probes.results import PIXELS, UNTRAINED, Results, load_results, merge_results
from benchmark.probes.subjects import PooledPixels, Subject, pixels8
from benchmark.probes.summary import format_table, sentences
from benchmark.probes.targets import FACTORS, OVERALL, TARGETS, target_columns, target_slices


class Small(nn.Module):
    """Two layers with BatchNorm, so that a forward pass in training mode would change buffers."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Sequential(nn.Conv2d(3, 12, 5, stride=2), nn.BatchNorm2d(12), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(12, 30), nn.BatchNorm1d(30), nn.Tanh())

    def features(self, x: torch.Tensor, pool: int = 1) -> dict[str, torch.Tensor]:
        spatial = self.conv(x)
        pooled = nn.functional.adaptive_avg_pool2d(spatial, pool).flatten(1)
        return {"block1": pooled, "head1": self.head(spatial.mean(dim=(2, 3)))}


class Restless(Small):
    def features(self, x, pool=1):
        self.conv[1].running_mean += 1e-6
        return super().features(x, pool)


class Diverged(Small):
    def features(self, x, pool=1):
        features = super().features(x, pool)
        features["head1"][-1, 0] = float("nan")
        return features


@pytest.fixture(scope="module")
def results(dataset) -> Results:
    subjects = {
        "SimCLR": Subject(Small(0), config={"objective": "simclr"}),
        "untrained": Subject(Small(1), UNTRAINED),
        "pixels": pixels8(),
    }
    return regress_latents(subjects, dataset, device="cpu", batch_size=50)


def test_every_network_layer_target_and_split_is_there(results):
    layers = {"SimCLR": ("block1", "head1"), "untrained": ("block1", "head1"), "pixels": ("pixels",)}
    assert {name: results.layers(name) for name in results.networks} == layers
    assert len(results.rows) == 5 * (len(TARGETS) + 1) * 3
    assert results.trained == ("SimCLR",)
    assert results.role("pixels") == PIXELS
    assert results.info["networks"]["pixels"]["widths"] == [192]
    assert results.info["judged_on"] == ["val_views", "val"]
    assert results.info["targets"]["yaw"] == "object yaw in radians"
    assert results.info["splits"]["probe"] == {"images": 240, "objects": 10}
    for row in results.rows:
        assert row.r2 == pytest.approx(1 - row.nmse)
        assert (row.degrees is not None) == (row.target == "rotation" and row.split != "probe")
        assert (row.mse is None) == (row.alpha is None) == (row.target == OVERALL)
        if row.split == "probe":
            assert row.low is row.high is None
        else:
            assert row.low <= row.nmse * 1.05 and row.nmse * 0.95 <= row.high
        if row.target == OVERALL:
            factors = [results.row(row.network, row.layer, factor, row.split).nmse for factor in FACTORS]
            assert row.nmse == pytest.approx(sum(factors) / len(factors))


def test_what_the_image_shows_is_read_on_new_objects(results):
    """The pictures show floor hue, yaw and spot theta, and nothing else."""
    for target in ("floor_hue_cos_sin", "yaw", "spot_theta"):
        assert results.row("pixels", "pixels", target, "val").nmse < 0.01
    for target in ("spot_hue_cos_sin", "spot_phi_cos_sin", "pitch"):
        assert 0.9 < results.row("pixels", "pixels", target, "val").nmse < 1.3
    # A raw hue is not linear in its circle: 1 - 6 / pi^2 of its variance stays.
    assert 0.3 < results.row("pixels", "pixels", "floor_hue", "val").nmse < 0.6


def test_numbers_are_those_of_sklearn(results, dataset):
    """With the reported penalty, scikit-learn fitted on features taken by hand gives the reported errors."""
    network = Small(0).eval()
    tables = {split: load_table(dataset, split) for split in ("probe", "val_views", "val")}
    with torch.no_grad():
        features = {split: network.features(table.images.float() / 255) for split, table in tables.items()}
    for layer in ("block1", "head1"):
        for target, columns in target_slices().items():
            x, y = (
                value.double().numpy()
                for value in (features["probe"][layer], target_columns(tables["probe"])[:, columns])
            )
            alpha = results.row("SimCLR", layer, target, "probe").alpha
            ridge = Ridge(alpha=alpha, solver="svd").fit(x, y)
            for split, table in tables.items():
                row = results.row("SimCLR", layer, target, split)
                truth = target_columns(table)[:, columns].numpy()
                errors = (
                    (ridge.predict(features[split][layer].double().numpy()).reshape(truth.shape) - truth) ** 2
                ).mean(0)
                assert row.alpha == alpha
                assert row.mse == pytest.approx(errors.mean(), rel=1e-4)
                assert row.nmse == pytest.approx((errors / truth.var(axis=0)).mean(), rel=1e-4)


def test_penalty_is_the_best_on_held_out_objects(results, dataset):
    """Repeats the choice by hand for one layer and target."""
    table = load_table(dataset, "probe")
    held = inner_objects(table.object_ids).numpy()
    with torch.no_grad():
        x = Small(0).eval().features(table.images.float() / 255)["head1"].double().numpy()
    y = target_columns(table)[:, target_slices()["rotation"]].numpy()
    chosen = results.row("SimCLR", "head1", "rotation", "val").alpha

    def error(alpha: float) -> float:
        predicted = Ridge(alpha=alpha, solver="svd").fit(x[~held], y[~held]).predict(x[held])
        return (((predicted - y[held]) ** 2).mean(axis=0) / y.var(axis=0)).mean()

    assert all(error(chosen) <= error(chosen * 10 ** (step / 2)) * (1 + 1e-9) for step in (-3, -2, -1, 1, 2, 3))


def test_objects_never_stand_on_both_sides():
    objects = [f"object-{k % 23}" for k in range(1000)]
    inner = inner_objects(objects)
    sides = {
        side: {name for name, held in zip(objects, inner.tolist(), strict=True) if held == side} for side in (0, 1)
    }
    assert not sides[0] & sides[1]
    assert len(sides[1]) == 5
    shuffled = np.random.default_rng(0).permutation(1000)
    assert torch.equal(inner_objects([objects[k] for k in shuffled]), inner[torch.from_numpy(shuffled)])
    assert inner_objects(["a", "b", "b"]).sum() in (1, 2)
    with pytest.raises(UserError, match="at least 2"):
        inner_objects(["a", "a"])


def test_network_is_left_as_it_was(dataset):
    network = Small(0).train()
    network.head.eval()
    before = weights_hash(network)
    regress_latents({"net": Subject(network)}, dataset, judge_on=("val",), device="cpu")
    assert weights_hash(network) == before
    assert network.training
    assert network.conv[1].training
    assert not network.head[1].training


def test_a_network_that_changes_is_noticed(dataset):
    with pytest.raises(RuntimeError, match=r"net, probe: .*changed"):
        regress_latents({"net": Subject(Restless(0))}, dataset, device="cpu")


def test_weights_hash_sees_every_parameter_and_buffer():
    hashes = {weights_hash(Small(0))}
    for change in ("conv.0.weight", "conv.1.running_var", "conv.1.num_batches_tracked", "head.0.bias"):
        network = Small(0)
        value = {**dict(network.named_parameters()), **dict(network.named_buffers())}[change]
        with torch.no_grad():
            value.view(-1)[-1] += 1
        hashes.add(weights_hash(network))
    assert len(hashes) == 5


def test_features_that_are_not_finite_name_network_and_layer(dataset):
    with pytest.raises(UserError, match=r"net, probe: layer head1 .* not finite"):
        regress_latents({"net": Subject(Diverged(0))}, dataset, device="cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fit_on": "val_views", "judge_on": ("val_views",)}, "judged on the split"),
        ({"fit_on": "val"}, "--fit-on val: "),
        ({"judge_on": ("nowhere",)}, "nowhere"),
        ({"judge_on": ()}, "left to judge on"),
        ({"pool": 3}, "--pool 3: choose one of 1, 2, 4"),
        ({"fit_on": "lone"}, "at least 2"),
        ({"fit_on": "nowhere"}, "nowhere"),
        ({"device": "abacus"}, "--device abacus"),
    ],
)
def test_bad_input_is_one_clear_line(dataset, arguments, message):
    with pytest.raises(UserError, match=message) as error:
        regress_latents({"pixels": pixels8()}, dataset, **arguments)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="no network"):
        regress_latents({}, dataset)


def test_a_real_network(dataset):
    network = build_network("resnet18", "small", "none", seed=0)
    results = regress_latents({"net": Subject(network)}, dataset, judge_on=("val",), device="cpu")
    assert results.layers("net") == network.layers
    assert results.info["networks"]["net"]["widths"] == [64, 64, 128, 256, 512, 512]


def test_saved_results_load_again_and_the_csv_equals_them(results, tmp_path):
    json_path, csv_path = results.save(tmp_path / "new" / "folder")
    loaded = load_results(json_path.parent)
    assert loaded == load_results(json_path) == results
    with csv_path.open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(results.rows)
    for line, row in zip(lines, results.rows, strict=True):
        assert (line["network"], line["layer"], line["target"], line["split"]) == (
            row.network,
            row.layer,
            row.target,
            row.split,
        )
        for name in ("mse", "nmse", "r2", "alpha", "degrees", "low", "high"):
            value = getattr(row, name)
            assert line[name] == ("" if value is None else str(value))
    assert [path.name for path in sorted(json_path.parent.iterdir())] == ["regression.csv", "regression.json"]


def test_damaged_results_are_refused(results, tmp_path):
    path = results.save(tmp_path)[0]
    text = path.read_text()
    document = json.loads(text)
    half = {**document["rows"][-1], "high": None}
    short = [{**document["gaps"][0], "low": [[0.0]]}]
    for damaged in (
        text[:100],
        "[]",
        "{}",
        json.dumps({**document, "rows": document["rows"][1:]}),
        json.dumps({**document, "rows": [*document["rows"][:-1], half]}),
        json.dumps({**document, "gaps": short}),
        text.replace('"gaps"', '"gasp"'),
    ):
        path.write_text(damaged)
        with pytest.raises(UserError, match=r"regression\.json"):
            load_results(tmp_path)
    path.write_text(json.dumps({**document, "format": 1}))
    with pytest.raises(UserError, match="another version of gr3d; run gr3d regress-latents again"):
        load_results(tmp_path)
    with pytest.raises(UserError, match="no results"):
        load_results(tmp_path / "nowhere")


def test_unwritable_folder_is_a_clear_line(results, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out"):
        results.save(tmp_path / "file")


def test_merging_keeps_controls_once_and_refuses_what_does_not_compare(results, dataset):
    other = regress_latents({"rotation": Subject(Small(2)), "pixels": pixels8()}, dataset, device="cpu")
    merged = merge_results([results, other])
    assert merged.networks == ("SimCLR", "untrained", "pixels", "rotation")
    assert len(merged.rows) == 7 * (len(TARGETS) + 1) * 3
    assert merged.gap("rotation", "head1", "block1", "yaw", "val") == other.gap(
        "rotation", "head1", "block1", "yaw", "val"
    )
    assert merged.row("rotation", "head1", "yaw", "val") == other.row("rotation", "head1", "yaw", "val")
    with pytest.raises(UserError, match="'rotation'"):
        merge_results([merged, other])
    pooled = regress_latents({"pooled": Subject(Small(2))}, dataset, pool=2, device="cpu")
    assert pooled.info["networks"]["pooled"]["widths"] == [48, 30]
    with pytest.raises(UserError, match="'pool'"):
        merge_results([results, pooled])


def test_another_control_of_the_same_name_is_kept_beside_the_first(results):
    other = results.info["networks"]["untrained"] | {"weights": "another"}
    rows = tuple(replace(row, nmse=0.7) for row in results.rows if row.network == "untrained")
    part = Results(rows, {**results.info, "networks": {"untrained": other}})
    merged = merge_results([results, part, part])
    assert merged.networks == (*results.networks, "untrained 2")
    assert merged.row("untrained", "head1", "yaw", "val") == results.row("untrained", "head1", "yaw", "val")
    assert merged.row("untrained 2", "head1", "yaw", "val").nmse == 0.7
    assert len(merged.rows) == len(results.rows) + len(rows)


def test_splits_to_judge_on_are_those_of_the_dataset(dataset, tmp_path):
    """Found before anything is fitted: the network would fail at its first image."""
    views = shutil.copytree(dataset, tmp_path / "views", ignore=shutil.ignore_patterns("val-*"))
    results = regress_latents({"pixels": pixels8()}, views, device="cpu")
    assert results.info["judged_on"] == ["val_views"]
    assert "new views of known objects" in format_table(results)
    assert sentences(results) == []
    diverged = {"net": Subject(Diverged(0))}
    with pytest.raises(UserError, match="left to judge on") as error:
        regress_latents(diverged, views, fit_on="val_views", device="cpu")
    assert error.value.exit_code == 2
    listed = {"val-000000.tar": {"samples": 60}}
    (views / "checksums.json").write_text(json.dumps(listed))
    with pytest.raises(UserError, match=r"val-000000\.tar: missing"):
        regress_latents(diverged, views, device="cpu")


def test_caveats_are_said_and_stored(dataset, capsys):
    subjects = {
        "same": Subject(PooledPixels(2), data_spec={"seed": 0}),
        "other": Subject(PooledPixels(2), data_spec={"seed": 1, "catalog": {}}),
        "begun": Subject(PooledPixels(2), data_spec={"seed": 0}, unfinished_step=7),
        "pixels": pixels8(),
    }
    networks = regress_latents(subjects, dataset, judge_on=("val",), device="cpu").info["networks"]
    assert {name for name in networks if networks[name].get("trained_on_other_data")} == {"other"}
    assert {name for name in networks if networks[name].get("finished") is False} == {"begun"}
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2
    assert "other was trained on another dataset (seed, catalog differ)" in warnings[0]
    assert "begun" in warnings[1] and "after step 7" in warnings[1]


def test_errors_of_fitting_are_never_shown_as_judged(results):
    for show in (format_table, sentences):
        with pytest.raises(UserError, match=r"not judged on split 'probe' .*val_views, val") as error:
            show(results, "probe")
        assert error.value.exit_code == 2


def test_best_layer_of_equal_ones_is_the_earliest(results):
    rows = tuple(replace(row, nmse=0.5) for row in results.rows)
    assert Results(rows, results.info).best_layer("SimCLR", "yaw", "val") == "block1"


def test_a_split_of_a_single_object_has_errors_without_intervals(dataset, capsys):
    results = regress_latents({"pixels": pixels8()}, dataset, judge_on=("lone", "val"), device="cpu")
    assert "split 'lone' shows a single object" in capsys.readouterr().err
    assert all(row.low is None and row.nmse > 0 for row in results.rows if row.split == "lone")
    assert results.gap("pixels", "pixels", "pixels", "yaw", "lone") is None
    assert results.gap("pixels", "pixels", "pixels", "yaw", "val") == (0, 0)
    assert "±" not in format_table(results, "lone").split("\n", 2)[2]


class Widthless(Small):
    def features(self, x, pool=1):
        return {**super().features(x, pool), "empty": torch.zeros(len(x), 0)}


def test_a_layer_without_features_is_a_clear_line(dataset):
    with pytest.raises(UserError, match="net, probe: layer empty has no features"):
        regress_latents({"net": Subject(Widthless(0))}, dataset, device="cpu")


class Halved(Small):
    def features(self, x, pool=1):
        return {layer: value.bfloat16() for layer, value in super().features(x, pool).items()}


def test_half_precision_features_are_read_as_they_are(dataset):
    """Rounded to bfloat16 they are other features, but read as exactly."""
    results = regress_latents({"net": Subject(Halved(0))}, dataset, judge_on=("val",), device="cpu")
    tables = {split: load_table(dataset, split) for split in ("probe", "val")}
    with torch.no_grad():
        x, new = (
            Halved(0).eval().features(tables[split].images.float() / 255)["head1"].double().numpy() for split in tables
        )
    column = target_slices()["yaw"]
    y, truth = (target_columns(tables[split])[:, column].numpy() for split in tables)
    row = results.row("net", "head1", "yaw", "val")
    expected = Ridge(alpha=row.alpha, solver="svd").fit(x, y).predict(new).reshape(truth.shape)
    assert row.mse == pytest.approx(((expected - truth) ** 2).mean(), rel=1e-4)
