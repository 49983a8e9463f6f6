"""Which image becomes which sample of which shard: follows from the object and view numbers and the seed alone."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from assets.catalog import Catalog, ObjectRef, split_objects
from assets.errors import UserError
from renderer.latents import OBJECT_STREAM, ORDER_STREAM, SLOT_STREAM, draws, permutation, uniform
from renderer.plan import shard_name
from renderer.spec import parse_splits
from renderer.threediebench import files
from renderer.threediebench.files import Item
from renderer.threediebench.labels import AUTHOR, LICENCE, SOURCE, category


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        source: folder of SYNSET/OBJECT/image_{i}.jpg.
        out: dataset folder to make or to go on with.
        lists: folder of train_images.npy and val_images.npy; None: `val` objects are drawn.
        splits: as for `gr3d render`; with lists, the share of `val` is theirs.
        shard_size: samples in a full shard.
        seed: of every draw.
    """

    source: Path
    out: Path
    lists: Path | None
    splits: str
    shard_size: int
    seed: int


@dataclass(frozen=True)
class Layout:
    """Which view of which object is sample i, and in which shard it stands.

    Attributes:
        items: the objects, sorted by id. Sample numbers count their views through.
        val: ids of the objects of split `val`.
        shares: split -> share, of the other objects' views; they add up to 1.
    """

    items: tuple[Item, ...]
    val: frozenset[str]
    shares: dict[str, float]
    shard_size: int
    seed: int

    @cached_property
    def starts(self) -> np.ndarray:
        """First sample of every object, and the number of samples at the end, shape (objects + 1,)."""
        return np.concatenate([[0], np.cumsum([item.views for item in self.items])])

    def place(self, index: int) -> tuple[Item, int]:
        """Object and view of sample `index`."""
        number = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.items[number], index - int(self.starts[number])

    @cached_property
    def shards(self) -> dict[str, np.ndarray]:
        """Shard -> its samples in the order of its tar: each split's, shuffled, cut into shards."""
        splits = (*self.shares, "val")
        members = np.concatenate([self._splits_of(number, splits) for number in range(len(self.items))])
        shards = {}
        for number, split in enumerate(splits):
            samples = np.flatnonzero(members == number)
            samples = samples[permutation(self.seed, ORDER_STREAM, number, len(samples))]
            for shard in range(-(-len(samples) // self.shard_size)):
                part = samples[shard * self.shard_size : (shard + 1) * self.shard_size]
                shards[shard_name(split, shard)] = part
        return shards

    def _splits_of(self, number: int, splits: tuple[str, ...]) -> np.ndarray:
        """Split number of each view of an object, int8 (views,).

        The views, in drawn order, are laid along [0, 1) and cut at the shares; a drawn offset of less than one view
        makes the shares right on average, however few views there are.
        """
        item = self.items[number]
        if item.id in self.val:
            return np.full(item.views, splits.index("val"), np.int8)
        rank = np.argsort(permutation(self.seed, SLOT_STREAM, number, item.views))
        along = (rank + uniform(draws(self.seed, OBJECT_STREAM, number, 1))) / item.views
        return np.searchsorted(np.cumsum(list(self.shares.values()))[:-1], along, side="right").astype(np.int8)


def make_layout(request: Request, items: list[Item]) -> tuple[Layout, dict[str, str]]:
    """Where every sample goes, and which objects the official lists and the source do not share: id -> what is wrong.

    Raises UserError (exit code 2) for lists or splits that leave nothing.
    """
    shares = {name: float(share) for name, share in parse_splits(request.splits)}
    val_share = shares.pop("val", 0.0)
    if not shares:
        raise UserError(f"--splits {request.splits}: the objects outside `val` need a split too", exit_code=2)
    missing = {}
    if request.lists:
        lists = files.read_lists(request.lists)
        present = {item.id for item in items}
        missing = {
            name: f"stands in {files.LISTS[split]}, but not in {request.source}"
            for split, names in lists.items()
            for name in sorted(names - present)
        }
        missing |= dict.fromkeys(
            present.difference(*lists.values()), "left out: stands in neither of the official lists"
        )
        val, items = frozenset(lists["val"]), [item for item in items if item.id in lists["train"] | lists["val"]]
    else:
        refs = tuple(object_ref(item) for item in items)
        val = frozenset(ref.id for ref in split_objects(Catalog(str(request.source), refs), request.seed, val_share)[1])
    if not items:
        raise UserError(f"--lists {request.lists}: none of its objects is in {request.source}", exit_code=2)
    total = sum(shares.values())
    shares = {name: share / total for name, share in shares.items()}
    return Layout(tuple(items), val, shares, request.shard_size, request.seed), missing


def object_ref(item: Item) -> ObjectRef:
    return ObjectRef(
        id=item.id,
        source=SOURCE,
        category=category(item.id),
        family=category(item.id),  # ShapeNetCore is aligned: objects of one category share a pose
        licence=LICENCE,
        author=AUTHOR,
    )
