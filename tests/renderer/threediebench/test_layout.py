"""Which image becomes which sample: right shares however few the views, everything once, and the same for ever."""

import numpy as np
import pytest

from renderer.threediebench.files import Item
from renderer.threediebench.layout import Layout

SHARES = {"train": 12 / 17, "probe": 4 / 17, "val_views": 1 / 17}


def layout(objects: int, views: int, seed: int = 0) -> Layout:
    items = tuple(Item(f"03001627/{number:04}", views) for number in range(objects))
    val = frozenset(item.id for item in items[::7])
    return Layout(items, val, SHARES, shard_size=100, seed=seed)


@pytest.mark.parametrize(("objects", "views"), [(70, 50), (700, 3)])
def test_every_sample_once_in_right_shares(objects, views):
    made = layout(objects, views)
    assert sorted(np.concatenate(list(made.shards.values())).tolist()) == list(range(objects * views))
    counts = {}
    for name, members in made.shards.items():
        split = name.rpartition("-")[0]
        counts[split] = counts.get(split, 0) + len(members)
        assert all((made.place(i)[0].id in made.val) == (split == "val") for i in members.tolist())
    assert counts["val"] == objects // 7 * views
    fit = sum(counts.values()) - counts["val"]
    for split, share in SHARES.items():
        assert counts[split] / fit == pytest.approx(share, abs=0.02)


def test_a_shard_mixes_objects_and_the_seed_decides():
    one, again, other = layout(70, 50), layout(70, 50), layout(70, 50, seed=1)
    first = one.shards["train-000000.tar"]
    assert len({one.place(i)[0].id for i in first.tolist()}) > 40
    assert np.array_equal(first, again.shards["train-000000.tar"])
    assert not np.array_equal(first, other.shards["train-000000.tar"])


def test_objects_may_have_different_numbers_of_views():
    made = Layout((Item("a/a", 3), Item("a/b", 1), Item("a/c", 2)), frozenset(), SHARES, 10, 0)
    assert [made.place(i) for i in range(6)] == [
        (made.items[0], 0),
        (made.items[0], 1),
        (made.items[0], 2),
        (made.items[1], 0),
        (made.items[2], 0),
        (made.items[2], 1),
    ]
