"""Which object, split, latents and shard sample i has: pure functions of the spec, the catalog and i.

Samples come in blocks. Within a block every split has exactly its share of the slots, and a permutation drawn
from (seed, block) says which sample takes which slot. So the r-th sample of a split is found without listing the
samples before it, and nothing depends on how many samples are asked for.

    sample i  ->  block i // B, slot perm[i % B]  ->  split and rank r in that split  ->  shard r // shard_size

Objects are shown in visits: the samples of a few neighbouring blocks that show one object, so that an import pays
for about `VIEWS_PER_VISIT` images. The splits other than `val` share each visit's object, hence see the same objects
in the same proportions. A cycle of visits shows every object once, in an order drawn from (seed, pool, cycle).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

from assets.catalog import Catalog, ObjectRef, split_objects
from renderer.latents import (
    OBJECT_STREAM,
    ORDER_STREAM,
    SLOT_STREAM,
    draws,
    permutation,
    quaternion,
    sample_latents,
)
from renderer.spec import DatasetSpec

#: Images per import that a visit aims at: at 64 x 64 an import then costs a few percent of its visit.
VIEWS_PER_VISIT = 20


@dataclass(frozen=True)
class Sample:
    """One image to be: its place in the dataset and everything that its picture shows."""

    index: int
    split: str
    shard: str
    object: ObjectRef
    latents: dict[str, float]

    @property
    def key(self) -> str:
        """Name of the sample's files, without extension."""
        return f"{self.index:09d}"

    def metadata(self) -> dict:
        """What the sample's .json file holds."""
        return {
            "index": self.index,
            "object_id": self.object.id,
            "category": self.object.category,
            "family": self.object.family,
            "split": self.split,
            "latents": self.latents,
            "quaternion": list(quaternion(self.latents)),
        }


@dataclass(frozen=True)
class Visit:
    """One object and the samples (by index) that one import of it serves."""

    object: ObjectRef
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Pool:
    """The splits that show the same objects: `val` on its own, all others together."""

    number: int
    splits: tuple[str, ...]
    objects: tuple[ObjectRef, ...]
    blocks_per_visit: int


@dataclass(frozen=True)
class Plan:
    """The whole dataset of `spec` over `catalog`, unlimited in length; every method is a pure function."""

    spec: DatasetSpec
    catalog: Catalog
    counts: dict[str, int] = field(init=False)  # slots per block of each split
    starts: dict[str, int] = field(init=False)  # first slot of each split

    def __post_init__(self) -> None:
        counts = {name: int(share * self.spec.block) for name, share in self.spec.shares.items()}
        starts, start = {}, 0
        for name, count in counts.items():
            starts[name] = start
            start += count
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "starts", starts)

    @cached_property
    def pools(self) -> tuple[Pool, ...]:
        fit, val = split_objects(self.catalog, self.spec.seed, self.spec.val_share)
        members = [(tuple(s for s in self.counts if s != "val"), fit), (("val",), val)]
        return tuple(
            Pool(number, splits, objects, max(1, round(VIEWS_PER_VISIT / sum(self.counts[s] for s in splits))))
            for number, (splits, objects) in enumerate(members)
            if splits and all(s in self.counts for s in splits)
        )

    @cached_property
    def _pool_of(self) -> dict[str, Pool]:
        return {split: pool for pool in self.pools for split in pool.splits}

    def _slots(self, block: int) -> np.ndarray:
        """Slot of each sample of the block, shape (B,)."""
        return permutation(self.spec.seed, SLOT_STREAM, block, self.spec.block)

    def _positions(self, block: int) -> np.ndarray:
        """Position within the block of the sample that has each slot, shape (B,): the inverse of `_slots`."""
        return np.argsort(self._slots(block))

    def _place(self, index: int) -> tuple[str, int]:
        """Split of sample `index` and its rank within that split."""
        block, position = divmod(index, self.spec.block)
        slot = int(self._slots(block)[position])
        split = next(name for name in reversed(self.starts) if slot >= self.starts[name])
        return split, block * self.counts[split] + slot - self.starts[split]

    def _visit_number(self, pool: Pool, block: int) -> int:
        return block // pool.blocks_per_visit

    def _object(self, pool: Pool, visit: int) -> ObjectRef:
        cycle, place = divmod(visit, len(pool.objects))
        return pool.objects[_object_order(self.spec.seed, pool.number, cycle, len(pool.objects))[place]]

    def sample(self, index: int) -> Sample:
        """Sample `index` >= 0, which never depends on any other."""
        split, rank = self._place(index)
        pool = self._pool_of[split]
        return Sample(
            index=index,
            split=split,
            shard=shard_name(split, rank // self.spec.shard_size),
            object=self._object(pool, self._visit_number(pool, index // self.spec.block)),
            latents=sample_latents(self.spec.seed, index),
        )

    def shard_members(self, split: str, number: int, n: int) -> list[int]:
        """Indices below `n` of the samples in shard `number` of `split`, in rising order."""
        count, start, block_size = self.counts[split], self.starts[split], self.spec.block
        first, last = number * self.spec.shard_size, (number + 1) * self.spec.shard_size
        members: list[int] = []
        for block in range(first // count, -(-last // count)):
            if block * block_size >= n:
                break
            ranks = block * count + np.arange(count)
            positions = self._positions(block)[start : start + count][(ranks >= first) & (ranks < last)]
            members += [i for i in (positions + block * block_size).tolist() if i < n]
        return sorted(members)

    def shards(self, n: int) -> dict[str, list[int]]:
        """Every shard that the first `n` samples fill or begin: name -> its members in rising order."""
        blocks = -(-n // self.spec.block)
        shards = {}
        for split, count in self.counts.items():
            for number in range(-(-blocks * count // self.spec.shard_size)):
                if members := self.shard_members(split, number, n):
                    shards[shard_name(split, number)] = members
        return shards

    def tar_order(self, members: Iterable[int]) -> list[int]:
        """The order of a shard's members in its tar: shuffled by (seed, index).

        A shard that grows with `n` keeps the order of what it had.
        """
        return sorted(members, key=lambda i: (int(draws(self.spec.seed, ORDER_STREAM, i, 1)[0]), i))

    def visits(self, n: int) -> Iterator[Visit]:
        """The work for the first `n` samples as visits, earliest sample first, every sample once."""
        for block in range(-(-n // self.spec.block)):
            for pool in self.pools:
                if block % pool.blocks_per_visit == 0:
                    indices = [
                        i
                        for b in range(block, block + pool.blocks_per_visit)
                        for i in self._pool_indices(pool, b)
                        if i < n
                    ]
                    if indices:
                        yield Visit(self._object(pool, self._visit_number(pool, block)), tuple(sorted(indices)))

    def _pool_indices(self, pool: Pool, block: int) -> list[int]:
        positions = self._positions(block)
        slots = [self.starts[split] + k for split in pool.splits for k in range(self.counts[split])]
        return [block * self.spec.block + int(positions[s]) for s in slots]


def shard_name(split: str, number: int) -> str:
    return f"{split}-{number:06d}.tar"


@lru_cache(maxsize=64)
def _object_order(seed: int, pool: int, cycle: int, size: int) -> np.ndarray:
    # Pools take alternate cycle numbers, so that no two share an order.
    return permutation(seed, OBJECT_STREAM, 2 * cycle + pool, size)
