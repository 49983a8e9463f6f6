"""Settings: what cannot work is refused with its option's name; what is stored comes back."""

import json
from dataclasses import replace

import pytest

from benchmark.errors import UserError
from benchmark.recipes import RECIPES
from benchmark.training.config import check, from_dict, to_dict, with_views

RUN = RECIPES["small"]["simclr"]


@pytest.mark.parametrize(("scale", "objective"), [(s, o) for s in RECIPES for o in RECIPES[s]])
def test_recipes_are_valid_and_survive_json(scale, objective):
    run = RECIPES[scale][objective]
    check(run)
    assert from_dict(json.loads(json.dumps(to_dict(run)))) == run


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"objective": "guess"}, "--objective guess"),
        ({"arch": "resnet19"}, "--arch resnet19"),
        ({"stem": "big"}, "--stem big"),
        ({"arch": "vit-s8", "stem": "small"}, "--stem small"),
        ({"head": "mlp9"}, "--head mlp9"),
        ({"precision": "fp8"}, "--precision fp8"),
        ({"epochs": 0}, "--epochs 0"),
        ({"batch": 1}, "--batch 1"),
        ({"lr": 0.0}, "--lr 0"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"weight_decay": -1.0}, "--weight-decay -1"),
        ({"warmup": 1.5}, "--warmup 1.5"),
        ({"temperature": 0.0}, "--temperature 0"),
        ({"redundancy": -1.0}, "--redundancy -1"),
        ({"vicreg": (1.0, -1.0, 1.0)}, r"--vicreg \(1.0, -1.0, 1.0\)"),
        ({"vicreg": (1.0, 1.0)}, r"--vicreg \(1.0, 1.0\)"),
        ({"ema": 1.5}, "--ema 1.5"),
        ({"seed": -1}, "--seed -1"),
        ({"schedule": "saw"}, "--schedule saw"),
        ({"positives": "friends"}, "--positives friends: neither augmentation nor class"),
        (
            {"positives": "class", "objective": "supervised", "views": RUN.views[:1]},
            "--positives: supervised shows one",
        ),
    ],
)
def test_bad_values_name_the_option(change, option):
    with pytest.raises(UserError, match=option) as caught:
        check(replace(RUN, **change))
    assert caught.value.exit_code == 2


def test_with_views_changes_crop_and_flip_of_every_view():
    changed = with_views(RUN, crop_scale=0.4, flip=True)
    assert [(view.crop_scale, view.flip) for view in changed.views] == [((0.4, 1.0), 0.5)] * 2
    assert with_views(changed, crop_scale=RUN.views[0].crop_scale[0], flip=False) == RUN
    with pytest.raises(UserError, match=r"--crop-scale 1\.5"):
        check(with_views(RUN, crop_scale=1.5))


def test_older_runs_have_the_defaults_of_what_they_do_not_say():
    later = ("redundancy", "vicreg", "ema", "schedule", "positives")
    older = {name: value for name, value in to_dict(RUN).items() if name not in later}
    assert from_dict(older) == RUN


@pytest.mark.parametrize("values", [{}, {**to_dict(RUN), "later": 1}, [], None])
def test_foreign_settings_are_refused(values):
    with pytest.raises((TypeError, ValueError)):
        from_dict(values)
