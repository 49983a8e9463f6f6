"""Which object, split, latents and shard sample i has: pure functions of the spec, the catalog and i.

Samples come in blocks. Within a block every split has exactly its share of the slots, and a permutation drawn
from (seed, block) says which sample takes which slot. So the r-th sample of a split is found without listing the
samples before it, and nothing depends on how many samples are asked for.

    sample i  ->  block i // B, slot perm[i % B]  ->  split and rank r in that split  ->  shard r // shard_size

Objects are shown in visits: samples of a few neighbouring blocks, or of a part of one large block, that show one
object, so that an import pays for about `VIEWS_PER_VISIT` images. The splits other than `val` share each visit's
object, hence see the same objects in the same proportions. A cycle of visits shows every object once, in an order
drawn from (seed, pool, cycle).
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
    blocks_per_visit: int  # at least one of this and
    visits_per_block: int  # this is 1


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
        pools = []
        for number, (splits, objects) in enumerate(members):
            if splits and all(split in self.counts for split in splits):
                per_block = sum(self.counts[split] for split in splits) / VIEWS_PER_VISIT  # visits in a block
                pools.append(Pool(number, splits, objects, max(1, round(1 / per_block)), max(1, round(per_block))))
        return tuple(pools)

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

    def _visit_number(self, pool: Pool, block: int, split: str, place: int) -> int:
        """The visit that the `place`-th sample of `split` in `block` belongs to: every split is cut alike."""
        part = place * pool.visits_per_block // self.counts[split]
        return block // pool.blocks_per_visit * pool.visits_per_block + part

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
            object=self._object(
                pool, self._visit_number(pool, index // self.spec.block, split, rank % self.counts[split])
            ),
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

    def parts(self, n: int, count: int) -> list[dict[str, list[int]]]:
        """The shards of `shards(n)` in `count` parts that can be drawn at the same time; some may be empty.

        Every part has about equally many images (to within one shard), and in each split neighbouring shards of the
        same stretch of blocks, so that few visits are cut in two. Depends on `n`: see renderer/parts.py for who may
        run beside whom.
        """
        shards = self.shards(n)
        block, total, before = self.spec.block, sum(map(len, shards.values())), 0
        parts: list[dict[str, list[int]]] = [{} for _ in range(count)]
        for name, members in sorted(
            shards.items(), key=lambda item: (item[1][0] // block + item[1][-1] // block, item[0])
        ):
            parts[(2 * before + len(members)) * count // (2 * total)][name] = members
            before += len(members)
        return parts

    def tar_order(self, members: Iterable[int]) -> list[int]:
        """The order of a shard's members in its tar: shuffled by (seed, index).

        A shard that grows with `n` keeps the order of what it had.
        """
        return sorted(members, key=lambda i: (int(draws(self.spec.seed, ORDER_STREAM, i, 1)[0]), i))

    def visits(self, n: int) -> Iterator[Visit]:
        """The work for the first `n` samples as visits, earliest block first, every sample once."""
        open_visits: dict[tuple[int, int], list[int]] = {}  # (pool, visit) -> samples so far
        blocks = -(-n // self.spec.block)
        for block in range(blocks):
            positions = self._positions(block) + block * self.spec.block
            for pool in self.pools:
                for split in pool.splits:
                    for place in range(self.counts[split]):
                        visit = self._visit_number(pool, block, split, place)
                        index = int(positions[self.starts[split] + place])
                        if index < n:
                            open_visits.setdefault((pool.number, visit), []).append(index)
                if (block + 1) % pool.blocks_per_visit == 0 or block + 1 == blocks:
                    for key in [key for key in open_visits if key[0] == pool.number]:
                        yield Visit(self._object(pool, key[1]), tuple(sorted(open_visits.pop(key))))


def shard_name(split: str, number: int) -> str:
    return f"{split}-{number:06d}.tar"


@lru_cache(maxsize=64)
def _object_order(seed: int, pool: int, cycle: int, size: int) -> np.ndarray:
    # Pools take alternate cycle numbers, so that no two share an order.
    return permutation(seed, OBJECT_STREAM, 2 * cycle + pool, size)
