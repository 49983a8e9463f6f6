"""What a recipe becomes for the images there are."""

import pytest

from benchmark.recipes import RECIPES, suited

RUN = RECIPES["small"]["simclr"]


def flips(run) -> list[float]:
    return [view.flip for view in run.views]


def test_renders_keep_the_recipe():
    for side in (16, 28, 64):
        assert suited(RUN, (), photographs=False, side=side) == (RUN, [])


def test_photographs_are_mirrored_in_every_view():
    run, changes = suited(RUN, (), photographs=True, side=64)
    assert flips(run) == [0.5, 0.5] and run.stem == "imagenet"
    assert changes == ["mirrored at random (--no-flip)"]
    assert flips(suited(RUN, {"flip"}, photographs=True, side=64)[0]) == [0.0, 0.0]


@pytest.mark.parametrize(("side", "stem"), [(28, "small"), (32, "small"), (33, "imagenet")])
def test_small_photographs_get_the_small_stem(side, stem):
    run, changes = suited(RUN, (), photographs=True, side=side)
    assert run.stem == stem
    assert any(f"side of {side}" in change for change in changes) == (stem == "small")
    assert suited(RUN, {"stem"}, photographs=True, side=side)[0].stem == "imagenet"


def test_transformers_keep_their_only_stem():
    from dataclasses import replace

    run, _ = suited(replace(RUN, arch="vit-t7"), (), photographs=True, side=28)
    assert run.stem == "imagenet"
