"""Weights from outside: what fits is found under any prefix, what does not is named, nothing in a file is run."""

import argparse
import pickle

import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision.models import resnet18, resnet34

from benchmark.errors import UserError
from benchmark.models.weights import classes, fit, read_state


class Small(nn.Sequential):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))
        self.fc = nn.Linear(width, 5)


@pytest.fixture
def state():
    return {name: torch.rand_like(value.float()) for name, value in Small().state_dict().items()}


def fitted(state, path="w.pt", network=None):
    return fit(network or Small(), state, ["fc"], path)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.bin"])
def test_both_formats_whatever_the_name(tmp_path, state, name):
    for save in (safetensors.torch.save_file, torch.save):
        if name.endswith(".safetensors") and save is torch.save:
            continue
        save(state, tmp_path / name)
        assert same(read_state(tmp_path / name), state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": s, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
        lambda s: {"args": argparse.Namespace(lr=1), "student": {"x": torch.ones(1)}, "teacher": s},
        lambda s: {"epoch": 1, "weights": {"deeper": s}},
    ],
)
def test_wrapped_state_dicts(tmp_path, state, wrap):
    torch.save(wrap(state), tmp_path / "w.pt")
    assert same(read_state(tmp_path / "w.pt"), state)


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "model.", "module.encoder_q.", "a.b.c."])
def test_prefixes(state, prefix):
    result = fitted({prefix + name: value for name, value in state.items()})
    assert same(result.state, state)
    assert result.notes == ()


def test_what_is_beside_the_network_is_said(state):
    both = {f"encoder_q.{name}": value for name, value in state.items()}
    both |= {f"encoder_k.{name}": value + 1 for name, value in state.items()} | {"queue": torch.rand(3)}
    result = fitted(both)
    assert same(result.state, state)
    assert result.notes == (f"{len(state) + 1} entries of it belong to no layer of this network and are not read",)


def test_no_classifier_is_said(state):
    headless = {name: value for name, value in state.items() if not name.startswith("fc.")}
    result = fitted(headless | {"fc.0.weight": torch.rand(2, 2)})
    assert result.without == {"fc.weight", "fc.bias"}
    assert "no fc.weight, fc.bias: the classifier is not read" in result.notes[0]
    assert "1 entries" in result.notes[1]


def test_batchnorms_counter_may_be_missing(state):
    state.pop("body.1.num_batches_tracked")
    assert fitted(state).state.keys() == Small().state_dict().keys()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("body.1.running_var"), "'body.1.running_var' is absent in the file and 4 in the network"),
        (lambda s: s.update({"body.2.weight": torch.rand(7)}), "'body.2.weight' is 7 in the file and absent"),
        (lambda s: s.update({"body.0.weight": torch.rand(9, 3, 3, 3)}), "'body.0.weight' is 9 x 3 x 3 x 3 in the file"),
    ],
)
def test_the_first_entry_that_does_not_fit_is_named(state, change, says):
    change(state)
    with pytest.raises(UserError, match=f"^w.pt: does not fit.*{says}"):
        fitted(state)


def test_another_architecture():
    with pytest.raises(UserError, match=r"'layer1\.2\.conv1\.weight' is absent in the file and 64 x 64 x 3 x 3"):
        fit(resnet34(), resnet18().state_dict(), ["fc"], "w.pt")
    with pytest.raises(UserError, match="is absent in the file"):
        fit(resnet18(), {"x": torch.ones(1)}, ["fc"], "w.pt")


def test_number_of_classes(state):
    assert classes(Small(), {f"module.{name}": value for name, value in state.items()}, "fc") == 5
    assert classes(Small(), {"body.0.weight": state["body.0.weight"]}, "fc") is None


def test_pickled_code_is_refused_and_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"state_dict": {"a": torch.ones(1)}, "extra": Evil()}, tmp_path / "new.pt")
    torch.save({"a": Evil()}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps(Evil()))
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(tmp_path / "script.pt"))
    for name in ("new.pt", "old.pt", "module.pt", "script.pt"):
        with pytest.raises(UserError, match=f"{name}: holds pickled code, which is not run"):
            read_state(tmp_path / name)
    with pytest.raises(UserError, match=r"bare\.pkl"):
        read_state(tmp_path / "bare.pkl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_cut_off_files(tmp_path, state, name, keep):
    path = tmp_path / name
    (safetensors.torch.save_file if name.endswith("s") else torch.save)(state, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=f"{name}: damaged"):
        read_state(path)


def test_files_that_are_none(tmp_path):
    (tmp_path / "notes.txt").write_text("not weights")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"epoch": 1}, tmp_path / "empty.pt")
    for name, says in (
        ("notes.txt", "damaged"),
        ("none.pt", "no such"),
        ("list.pt", "no state"),
        ("empty.pt", "no sta"),
    ):
        with pytest.raises(UserError, match=f"{name}: .*{says}"):
            read_state(tmp_path / name)
