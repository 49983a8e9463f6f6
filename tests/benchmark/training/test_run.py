"""Run directories from outside: whatever is wrong with one is said in a line, and nothing in it is executed."""

import json
import os
import resource
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from benchmark.models import build_network
from benchmark.recipes import RECIPES
from benchmark.training import load_run
from benchmark.training.run import Checkpoint, locked, save_checkpoint, write_config, write_json

RUN = replace(RECIPES["small"]["simclr"], head="none", precision="fp32")


def checkpoint(arch: str = "resnet18") -> Checkpoint:
    network = build_network(arch, RUN.stem, RUN.head, seed=3).state_dict()
    return Checkpoint(1, 32, 0.5, network, {}, None)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("good")
    write_config(run, RUN, {"seed": 0})
    save_checkpoint(run, checkpoint())
    return run


@pytest.fixture
def run(good, tmp_path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(good, tmp_path / "run"))


def test_load_run_returns_network_and_settings(good):
    network, config = load_run(good)
    assert config == RUN
    assert not network.training
    expected = build_network("resnet18", RUN.stem, RUN.head, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), expected.parameters(), strict=True))


def test_folder_that_is_no_run(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match="not a run of gr3d train"):
            load_run(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "other"}', '{"format": "gr3d-run-1", "run": {}}'])
def test_damaged_config(run, text):
    (run / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json: damaged, or not written by this version"):
        load_run(run)


def test_config_of_an_unknown_architecture(run):
    stored = json.loads((run / "config.json").read_text())
    stored["run"]["arch"] = "resnet9"
    (run / "config.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match=r"config\.json: .*resnet9: unknown"):
        load_run(run)


def test_run_without_a_checkpoint(run):
    (run / "checkpoint.pt").unlink()
    with pytest.raises(UserError, match=r"has no checkpoint\.pt yet; .*--resume"):
        load_run(run)


@pytest.mark.parametrize("arch", ["resnet34", "resnet50"])
def test_checkpoint_from_another_architecture(run, arch):
    save_checkpoint(run, checkpoint(arch))
    with pytest.raises(UserError, match=r"from another architecture than .*config\.json says: 'block"):
        load_run(run)


@pytest.mark.parametrize("keep", [0, 10, 1000, 1_000_000])
def test_truncated_checkpoint(run, keep):
    os.truncate(run / "checkpoint.pt", keep)
    with pytest.raises(UserError, match=r"checkpoint\.pt: damaged, or not a checkpoint of gr3d train") as caught:
        load_run(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{"model": {}}, [1, 2], {"format": "gr3d-run-1"}, {"format": "gr3d-run-1", "x": 1}])
def test_foreign_checkpoint(run, content):
    torch.save(content, run / "checkpoint.pt")
    with pytest.raises(UserError, match="damaged, or not a checkpoint of gr3d train"):
        load_run(run)


@pytest.mark.parametrize("change", [{"step": -1}, {"step": "9"}, {"step": True}, {"seconds": None}])
def test_checkpoint_with_impossible_entries(run, change):
    torch.save({"format": "gr3d-run-1", **vars(checkpoint()), **change}, run / "checkpoint.pt")
    with pytest.raises(UserError, match=r"damaged, or not a checkpoint of gr3d train \("):
        load_run(run)


def test_garbled_checkpoint(run):
    """Bytes changed anywhere: a line, or, where they were a weight's, nothing to notice."""
    path = run / "checkpoint.pt"
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(40):
        spoilt = bytearray(whole)
        ends = (random.integers(0, 4000, 20), len(whole) - 1 - random.integers(0, 20_000, 20))
        for place in np.concatenate(ends):  # where the pickle and the archive's directory are
            spoilt[place] = random.integers(256)
        path.write_bytes(spoilt)
        with suppress(UserError):
            load_run(run)


def test_checkpoint_of_before_the_teacher_loads(run):
    """As gr3d wrote it until every step had a seed of its own."""
    older = {name: value for name, value in vars(checkpoint()).items() if name not in ("teacher", "ranks", "online")}
    torch.save({"format": "gr3d-run-1", **older, "rng": torch.get_rng_state()}, run / "checkpoint.pt")
    load_run(run)


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_nothing_in_a_checkpoint_is_executed(run, tmp_path):
    torch.save({"format": "gr3d-run-1", "network": _Bomb(tmp_path / "executed")}, run / "checkpoint.pt")
    with pytest.raises(UserError, match="damaged, or not a checkpoint"):
        load_run(run)
    assert not (tmp_path / "executed").exists()


def test_full_disk_keeps_the_previous_checkpoint(run):
    """A limit on file sizes stands in for the full disk: writing fails midway."""
    before = (run / "checkpoint.pt").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(UserError, match=r"checkpoint\.pt: cannot be written .*--resume"):
            save_checkpoint(run, checkpoint())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (run / "checkpoint.pt").read_bytes() == before
    assert sorted(path.name for path in run.iterdir()) == ["checkpoint.pt", "config.json"]


def test_unwritable_json(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_json(tmp_path / "file" / "report.json", {})


def test_what_a_killed_writer_left_is_cleared_away(run):
    (run / ".checkpoint.pt.123.tmp").write_bytes(bytes(10))
    (run / ".notes.tmp").write_text("the user's")
    with locked(run):
        assert not (run / ".checkpoint.pt.123.tmp").exists()
    assert (run / ".notes.tmp").exists()
