import json
from dataclasses import replace

import pytest

from benchmark.errors import UserError
from benchmark.rcdm.config import DiffusionConfig, check, chosen_layers, from_dict, to_dict

FINE = DiffusionConfig(layers=("trunk", "head1"))


def test_settings_survive_json():
    assert from_dict(json.loads(json.dumps(to_dict(FINE)))) == FINE


@pytest.mark.parametrize(
    "change",
    [{"layers": []}, {"layers": "trunk"}, {"side": None, "extra": 1}, {"side": 64.0}, {"lr": "1"}, {"seed": True}],
)
def test_other_entries_are_refused(change):
    values = {**to_dict(FINE), **change}
    with pytest.raises((ValueError, TypeError)):
        from_dict(values)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"side": 48}, "--side 48: choose one of 32, 64, 128"),
        ({"patch": 3}, "--patch 3"),
        ({"width": 40}, "--width 40: must be a multiple of 32, up to 1024"),
        ({"epochs": 0}, "--epochs 0"),
        ({"batch": 3}, "--batch 3: must be a multiple of the 2 ranks"),
        ({"lr": 0.0}, "--lr"),
        ({"lr": float("nan")}, "--lr"),
        ({"withheld": 0.0}, "--withheld"),
        ({"ema": 1.0}, "--ema"),
        ({"precision": "fp8"}, "--precision fp8"),
    ],
)
def test_values_that_cannot_work_are_named(change, said):
    with pytest.raises(UserError, match=said) as caught:
        check(replace(FINE, **change), ranks=2)
    assert caught.value.exit_code == 2


def test_layers_come_in_the_networks_order_and_once():
    there = ("stem", "trunk", "head1")
    assert chosen_layers(("head1", "stem", "head1"), there) == ("stem", "head1")
    assert chosen_layers(("all",), there) == there
    with pytest.raises(UserError, match="--layer head9: the network has no such layer; choose of stem, trunk, head1"):
        chosen_layers(("head9",), there)
