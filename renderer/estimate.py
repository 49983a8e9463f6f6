"""What a run would make and what it would cost: measured by drawing a little of it, as `gr3d render --dry-run` does.

The probe draws the first visits of the real plan, cut to a few images each so that it sees many objects, with all
workers of the run. What an object costs once (its import, and what its first frame takes longer than the others) and
what an image costs are kept apart, since a whole visit has more images than one of the probe.
"""

import tarfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from statistics import fmean

from renderer import labels
from renderer.plan import Plan, Visit, shard_name
from renderer.pool import Counts
from renderer.progress import Standing, duration, speed
from renderer.shards import Dataset, digests_path

#: How long the probe draws, once Blender has started.
PROBE_SECONDS = 8.0
#: Images that the probe draws of an object, and most objects that it draws.
VIEWS, MOST_OBJECTS = 5, 200
#: The probe draws at most this share of a small run's images.
LARGEST_SHARE = 0.2
#: Two empty blocks, and on average half a record of padding.
TAR_END = 1024 + 10240 // 2
TIME_IS_UP = 0  # beside the numbers of signals, which are above


@dataclass(frozen=True)
class Extent:
    """What a run is to make: split -> images, and split -> shards."""

    images: dict[str, int]
    shards: dict[str, int]


@dataclass(frozen=True)
class Probe:
    """What the probe measured.

    Attributes:
        images, objects: how many it drew.
        quarantined: objects that cannot be used, with the reason.
        seconds: how long the probe took, all together.
        start_seconds: of these, until Blender had started.
        object_seconds: what a worker spends on an object, whatever the number of its images.
        image_seconds: what a worker spends on an image.
        images_per_object: in a visit of the real run.
        bytes_per_image: image, passes and labels as they stand in a shard, and in the tables beside it.
        memory_mb: the most that a worker took; None where that cannot be told.
    """

    images: int
    objects: int
    quarantined: dict[str, str]
    seconds: float
    start_seconds: float
    object_seconds: float
    image_seconds: float
    images_per_object: float
    bytes_per_image: float
    memory_mb: float | None


def extent(plan: Plan, n: int) -> Extent:
    """What the first `n` samples are, without listing those before the last block."""
    blocks, rest = divmod(n, plan.spec.block)
    images = {split: blocks * count for split, count in plan.counts.items()}
    shards = {
        shard_name(split, number)
        for split, count in images.items()
        for number in range(-(-count // plan.spec.shard_size))
    }
    for sample in (plan.sample(n - 1 - back) for back in range(rest)):
        images[sample.split] += 1
        shards.add(sample.shard)
    names = [name.rpartition("-")[0] for name in shards]
    return Extent({k: v for k, v in images.items() if v}, {k: names.count(k) for k, v in images.items() if v})


def extent_of(shards: dict[str, list[int]]) -> Extent:
    """The same for shards by name, as of a part."""
    names = [name.rpartition("-")[0] for name in shards]
    images = dict.fromkeys(names, 0)
    for name, members in shards.items():
        images[name.rpartition("-")[0]] += len(members)
    return Extent(images, {split: names.count(split) for split in images})


@dataclass(frozen=True)
class Sampled:
    """The visits that a probe draws, cut short, and how many images such a visit has in the real run."""

    visits: list[Visit]
    images_per_object: float

    def shards(self, plan: Plan) -> dict[str, list[int]]:
        """The probe's samples by the shard that they belong to."""
        shards: dict[str, list[int]] = {}
        for index in sorted(index for visit in self.visits for index in visit.indices):
            shards.setdefault(plan.sample(index).shard, []).append(index)
        return shards


def choose(visits: Iterable[Visit], total: int, workers: int) -> Sampled:
    """The first visits of a run of `total` images, cut to VIEWS images, and no more of them than is worth while."""
    whole = list(islice(visits, MOST_OBJECTS))
    room = max(1, int(total * LARGEST_SHARE))
    views = max(1, min(VIEWS, room // workers))
    cut = []
    for visit in whole:
        indices = visit.indices[: min(views, room)]
        if indices:
            cut.append(Visit(visit.object, indices))
        room -= len(indices)
    return Sampled(cut, fmean(len(visit.indices) for visit in whole))


@dataclass
class Stopwatch:
    """Stands where a run has its `Progress`: times what the probe draws, and stops it when its time is up.

    Attributes:
        firsts: the first sample of every visit.
        stops: what ends the run once there is something in it.
        counts: the run's.
    """

    firsts: set[int]
    stops: list[int]
    counts: Counts = field(default_factory=Counts)
    began: float = field(default_factory=time.monotonic)
    drawing_since: float | None = None
    memory_mb: float | None = None
    first_frames: list[float] = field(default_factory=list)
    other_frames: list[float] = field(default_factory=list)
    _seen_seconds: float = 0.0

    def ready(self) -> None:
        self.drawing_since = self.drawing_since or time.monotonic()

    def image(self, index: int) -> None:
        seconds = self.counts.frame_seconds - self._seen_seconds
        self._seen_seconds = self.counts.frame_seconds
        (self.first_frames if index in self.firsts else self.other_frames).append(seconds)

    def show(self, standing: Standing, last: bool = False) -> None:
        self.memory_mb = max(filter(None, (self.memory_mb, _largest_worker_mb())), default=None)
        enough = self.drawing_since is not None and time.monotonic() - self.drawing_since > PROBE_SECONDS
        if enough and standing.done and not self.stops:
            self.stops.append(TIME_IS_UP)

    def say(self, text: str) -> None:
        """Nothing: what is quarantined stands at the end of what the dry run prints."""

    def probe(self, sampled: Sampled, dataset: Dataset) -> Probe:
        """What was measured. `dataset` is what the probe drew, at least one image."""
        first = fmean(self.first_frames or self.other_frames)
        image = fmean(self.other_frames or self.first_frames)
        objects = max(1, len(self.first_frames))
        return Probe(
            images=len(self.first_frames) + len(self.other_frames),
            objects=objects,
            quarantined=dataset.quarantined,
            seconds=time.monotonic() - self.began,
            start_seconds=self.drawing_since - self.began,
            object_seconds=self.counts.import_seconds / objects + max(0.0, first - image),
            image_seconds=image,
            images_per_object=sampled.images_per_object,
            bytes_per_image=_bytes_per_image(dataset),
            memory_mb=self.memory_mb,
        )


def estimate(plan: Plan, asked: Extent, probe: Probe, workers: int) -> dict:
    """Everything a dry run says, as it says it in JSON."""
    total = sum(asked.images.values())
    a_visit = probe.object_seconds / probe.images_per_object + probe.image_seconds  # worker's seconds per image
    rate = workers / a_visit
    objects = {split: len(pool.objects) for pool in plan.pools for split in pool.splits}
    return {
        "images": total,
        "resolution": plan.spec.resolution,
        "passes": list(plan.spec.passes),
        "objects": len(plan.catalog.objects),
        "splits": {
            split: {"images": count, "shards": asked.shards[split], "objects": objects[split]}
            for split, count in asked.images.items()
        },
        "bytes": round(total * probe.bytes_per_image + sum(asked.shards.values()) * TAR_END),
        "bytes_per_image": round(probe.bytes_per_image),
        "workers": workers,
        "images_per_second": float(f"{rate:.3g}"),
        "seconds": round(probe.start_seconds + total / rate, 1),
        "start_seconds": round(probe.start_seconds, 1),
        "import_share": round(1 - probe.image_seconds / a_visit, 3),
        "memory_mb_per_worker": probe.memory_mb and round(probe.memory_mb),
        "probe": {name: asdict(probe)[name] for name in ("images", "objects", "quarantined")}
        | {"seconds": round(probe.seconds, 1)},
    }


def text(told: dict) -> str:
    """The same for people."""
    side, probe = told["resolution"], told["probe"]
    lines = [
        f"{split}: {part['images']:,} images of {part['objects']:,} objects, shards: {part['shards']:,}"
        for split, part in told["splits"].items()
    ]
    passes = f", with {', '.join(told['passes'])}" if told["passes"] else ""
    lines += [
        f"images: {told['images']:,} of {side} x {side}{passes}",
        f"disk: {size(told['bytes'])} ({size(told['bytes_per_image'])} an image)",
        f"time: {duration(told['seconds'])} with {told['workers']} worker{'s' * (told['workers'] > 1)} "
        f"({speed(told['images_per_second'])}, after {told['start_seconds']} s in which Blender starts; "
        f"{told['import_share']:.0%} of the time goes into changing objects)",
    ]
    if told["memory_mb_per_worker"]:
        lines.append(f"memory: {told['memory_mb_per_worker']:,} MB a worker, the largest of the probe's objects")
    quarantined = probe["quarantined"]
    lines.append(
        f"measured in {probe['seconds']} s on {probe['images']} images of {probe['objects']} objects"
        + (f"; {len(quarantined)} more could not be used:" if quarantined else "")
    )
    return "\n".join([*lines, *(f"  {name}: {reason}" for name, reason in quarantined.items())])


def size(count: float) -> str:
    """A number of bytes for people: "5.2 GB"."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}" if count < 999.5 * scale else f"{count / scale:.0f} {unit}"
    return f"{count:.0f} bytes"


def _bytes_per_image(dataset: Dataset) -> float:
    """What a sample takes in a shard, with its files' headers and padding, in latents.csv and among the checksums."""
    folder, block = dataset.folder, 512
    labels.write(folder / labels.FILE, labels.rows(folder, dataset.plan, dataset.sealed))
    tables = [folder / labels.FILE, *(digests_path(folder, name) for name in dataset.sealed)]
    total = sum(path.stat().st_size for path in tables)
    for name in dataset.sealed:
        with tarfile.open(folder / name) as tar:
            total += sum(block + -(-member.size // block) * block for member in tar)
    return total / sum(entry["samples"] for entry in dataset.sealed.values())


def _largest_worker_mb() -> float | None:
    """The most memory that any living worker of this process ever took, in MB. Only Linux tells."""
    peaks = []
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            with suppress(OSError):  # it has just ended
                status = Path(f"/proc/{pid}/status").read_text()
                peaks += [int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmHWM")]
    return max(peaks, default=None)
