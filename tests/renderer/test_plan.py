"""The plan: exact shares, disjoint objects, full coverage, and independence of the number of samples."""

import itertools
from collections import Counter

import pytest

from assets.catalog import Catalog, ObjectRef
from renderer.plan import VIEWS_PER_VISIT, Plan
from renderer.spec import DEFAULT_SPLITS, make_spec


def make_plan(objects=30, splits=DEFAULT_SPLITS, shard_size=100, seed=4) -> Plan:
    refs = tuple(ObjectRef(f"o{i:03d}", "procedural", "chair", digest=str(i)) for i in range(objects))
    catalog = Catalog("test", refs)
    spec = make_spec(
        catalog,
        seed=seed,
        resolution=64,
        preset="fast",
        splits=splits,
        shard_size=shard_size,
        image_format="jpg",
    )
    return Plan(spec, catalog)


def test_every_block_has_exact_shares():
    plan = make_plan()
    for n in (20, 60, 2000):
        counts = Counter(plan.sample(i).split for i in range(n))
        assert counts == {"train": 0.6 * n, "probe": 0.2 * n, "val_views": 0.05 * n, "val": 0.15 * n}


def test_val_objects_are_seen_by_nobody_else():
    samples = [make_plan().sample(i) for i in range(2000)]
    seen = {
        split: {s.object.id for s in samples if s.split == split} for split in ("train", "probe", "val_views", "val")
    }
    assert not seen["val"] & (seen["train"] | seen["probe"] | seen["val_views"])
    assert seen["train"] == seen["probe"] == seen["val_views"]
    assert len(seen["val"]) == round(0.15 * 30)


def test_objects_get_nearly_equal_numbers_of_views():
    plan = make_plan()
    n = 30 * 200
    views = Counter(plan.sample(i).object.id for i in range(n) if plan.sample(i).split != "val")
    assert max(views.values()) - min(views.values()) <= 2 * VIEWS_PER_VISIT


@pytest.mark.parametrize("splits", [DEFAULT_SPLITS, "train=1", "train=0.5,val=0.5", "probe=0.123,val=0.877"])
@pytest.mark.parametrize("n", [1, 19, 1000, 1234])
def test_shards_and_visits_hold_every_sample_once(splits, n):
    plan = make_plan(splits=splits)
    shards = plan.shards(n)
    assert sorted(i for members in shards.values() for i in members) == list(range(n))
    visits = list(plan.visits(n))
    assert sorted(i for visit in visits for i in visit.indices) == list(range(n))
    for name, members in shards.items():
        assert {plan.sample(i).shard for i in members} == {name}
        assert len(members) <= plan.spec.shard_size
    for visit in visits:
        assert {plan.sample(i).object for i in visit.indices} == {visit.object}


def test_more_samples_only_add():
    plan = make_plan()
    small, large = plan.shards(700), plan.shards(2100)
    for name, members in small.items():
        assert set(members) <= set(large[name])
        order = [i for i in plan.tar_order(large[name]) if i in set(members)]
        assert order == plan.tar_order(members)
    full = [name for name, members in small.items() if len(members) == plan.spec.shard_size]
    assert full and all(small[name] == large[name] for name in full)


def test_a_shard_mixes_objects_in_shuffled_order():
    plan = make_plan(objects=40, shard_size=500)
    members = plan.shards(2000)["train-000000.tar"]
    objects = [plan.sample(i).object.id for i in plan.tar_order(members)]
    assert len(set(objects)) > 20
    neighbours = sum(a == b for a, b in itertools.pairwise(objects)) / len(objects)
    assert neighbours < 0.1


def test_visits_are_worth_an_import():
    plan = make_plan()
    lengths = [len(v.indices) for v in plan.visits(4000)]
    assert sum(lengths) / len(lengths) > 0.75 * VIEWS_PER_VISIT


@pytest.mark.parametrize("splits", ["train=0.7,probe=0.13,val_views=0.02,val=0.15", "train=0.601,probe=0.199,val=0.2"])
def test_uneven_shares_have_visits_of_the_same_size(splits):
    """Shares of many decimals make large blocks, which are cut into visits."""
    plan = make_plan(objects=200, splits=splits)
    visits = list(plan.visits(2000))
    assert max(len(v.indices) for v in visits) < 2 * VIEWS_PER_VISIT
    assert len({v.object.id for v in visits}) > 80
    train = {plan.sample(i).object.id for i in range(2000) if plan.sample(i).split == "train"}
    probe = {plan.sample(i).object.id for i in range(2000) if plan.sample(i).split == "probe"}
    assert probe <= train


def test_the_plan_is_fixed_for_ever():
    """A known plan: if it changes, `--n` can no longer be raised on datasets made before."""
    samples = [make_plan().sample(i) for i in (0, 7, 1234)]
    assert [(s.object.id, s.split, s.shard) for s in samples] == [
        ("o011", "val", "val-000000.tar"),
        ("o008", "train", "train-000000.tar"),
        ("o021", "probe", "probe-000002.tar"),
    ]


def test_seeds_give_different_splits_orders_and_latents():
    one, two = make_plan(seed=1), make_plan(seed=2)
    assert [one.sample(i).object.id for i in range(200)] != [two.sample(i).object.id for i in range(200)]
    assert [one.sample(i).split for i in range(200)] != [two.sample(i).split for i in range(200)]
