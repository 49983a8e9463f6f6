"""What is wrong with a dataset folder: every fault of every shard, by name. Changes nothing, draws nothing."""

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assets.catalog import load_catalog
from assets.errors import UserError
from renderer.files import read_json
from renderer.latents import quaternion, sample_latents
from renderer.parts import homes
from renderer.passes import ENDINGS, fault
from renderer.plan import Plan
from renderer.shards import digests_path, merged, read_digests, tar_files
from renderer.spec import DatasetSpec
from renderer.threediebench.labels import SOURCE as THREEDIEBENCH
from renderer.threediebench.labels import labels_are_right as converted_labels_are_right

#: Image bytes -> (width, height); raises on a damaged image.
Decode = Callable[[bytes], tuple[int, int]]
#: Content of a sample's .json, its key, its shard's name -> whether it says what it must.
Labels = Callable[[bytes, str, str], bool]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        shard: file name of the shard, "" for the dataset as a whole.
        what: what is wrong with it.
        file: the file within the shard, "" for the shard as a whole.
        broken: whether the shard has to be made again (with what can be trusted of it).
    """

    shard: str
    what: str
    file: str = ""
    broken: bool = True

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.shard, self.file, self.what)))


@dataclass(frozen=True)
class Records:
    """What a dataset folder says of itself; `spec` is None if its images were converted, not drawn."""

    folder: Path
    record: dict  # dataset.json
    spec: DatasetSpec | None
    resolution: int
    endings: tuple[str, ...]  # of the image's file and of its passes'
    sealed: dict[str, dict]
    quarantined: dict[str, str]

    @property
    def asked(self) -> int:
        """--n of the last run that drew."""
        return self.record.get("command", {}).get("n", 0)


def read_records(folder: Path) -> Records:
    """Read dataset.json and the lists of all runs.

    Raises UserError (exit code 2 for a folder that is no dataset, 1 for damaged records).
    """
    record = read_json(folder / "dataset.json", {})
    if not record:
        raise UserError(f"{folder} holds no dataset.json, so it is not a gr3d dataset", exit_code=2)
    lists = [folder, *homes(folder)]
    quarantined: dict[str, str] = {}
    for home in lists:
        quarantined |= read_json(home / "quarantine.json", {})
    try:
        spec = None if record.get("source") == THREEDIEBENCH else DatasetSpec.from_json(record["spec"])
        passes = (ENDINGS[name] for name in record["spec"].get("passes", ()))
        shown = int(record["spec"]["resolution"]), (str(record["spec"].get("format", "jpg")), *passes)
        sealed = merged(folder, [read_json(home / "checksums.json", {}) for home in lists])
        for entry in sealed.values():
            str(entry["sha256"]), int(entry["bytes"]), int(entry["samples"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{folder}: dataset.json or checksums.json is damaged; restore it or render again") from None
    return Records(folder, record, spec, *shown, sealed, quarantined)


def load_plan(records: Records, objects: str | None, categories: Path | None, root: Path) -> Plan:
    """The plan of a dataset, from the source of objects that it was drawn from.

    Args:
        objects, categories: the source, and its csv of categories, if they are elsewhere than dataset.json says.
        root: what holds assets/models (see `load_catalog`).

    Raises UserError if the source is gone or holds other objects now, and for images that were not drawn.
    """
    if records.spec is None:
        raise UserError(f"{records.folder} was converted, not drawn; `gr3d convert` makes its shards again", 2)
    command = records.record.get("command", {})
    source, table = objects or command.get("objects"), categories or command.get("categories")
    if source is None:
        raise UserError(f"{records.folder}: dataset.json does not say where the objects are; give --objects SOURCE", 2)
    catalog = load_catalog(source, root, Path(table) if table else None)
    if catalog.content_hash != records.spec.catalog_hash:
        raise UserError(
            f"{source} does not hold the objects of {records.folder} now; give --objects SOURCE (and --categories CSV)",
            2,
        )
    return Plan(records.spec, catalog)


def verify(records: Records, plan: Plan | None, decode: Decode) -> Iterator[Fault]:
    """Check every shard: size and sha256, that every image decodes to the right size, and every label.

    Without a plan, split, latents and quaternion are derived again, and object and category are not.
    """
    if not records.sealed:
        yield Fault("", "no shard is sealed yet", broken=False)
    for path in sorted(records.folder.glob("*.tar")):
        if path.name not in records.sealed:
            yield Fault(path.name, "not listed in checksums.json")
    if plan:
        yield from _incomplete(records, plan)
    drawn = records.spec and partial(_labels_are_right, records.spec.seed, plan)
    check = partial(check_shard, records, drawn or converted_labels_are_right, decode)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ProcessPoolExecutor(max_workers=max(1, min(cores, len(records.sealed)))) as executor:
        for faults in executor.map(check, records.sealed):
            yield from faults


def _incomplete(records: Records, plan: Plan) -> Iterator[Fault]:
    """Shards of which samples were asked for and are not there."""
    for name, members in plan.shards(records.asked).items():
        held = records.sealed.get(name, {"samples": 0})["samples"]
        if held < len(members):
            wanted = sum(plan.sample(i).object.id not in records.quarantined for i in members)
            if held < wanted:
                yield Fault(name, f"{held} of {wanted} samples; the same render command draws the rest", broken=False)


def check_shard(records: Records, labels: Labels, decode: Decode, name: str) -> list[Fault]:
    """All that is wrong with the listed shard `name`."""
    path, entry = records.folder / name, records.sealed[name]
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [Fault(name, "missing")]
    faults, files = [], {}
    if len(data) != entry["bytes"]:
        faults.append(Fault(name, f"{len(data)} bytes long, checksums.json says {entry['bytes']}"))
    elif hashlib.sha256(data).hexdigest() != entry["sha256"]:
        faults.append(Fault(name, "damaged (its sha256 differs)"))
    try:
        for file, content in tar_files(data):
            files[file] = content
    except (tarfile.TarError, EOFError) as error:
        faults.append(Fault(name, f"not a whole tar ({error})"))
    faults += _damaged_files(records.folder, name, files, shard_is_right=not faults)
    named = {fault.file for fault in faults}  # once is enough
    wrong = _wrong_files(records, labels, decode, name, files)
    return faults + [fault for fault in wrong if not fault.file or fault.file not in named]


def _damaged_files(folder: Path, name: str, files: dict[str, bytes], shard_is_right: bool) -> list[Fault]:
    digests = read_digests(folder, name)
    missing = [Fault(name, "missing in the shard", file) for file in digests if file not in files]
    damaged = missing + [
        Fault(name, "damaged (its sha256 differs)", file)
        for file, data in files.items()
        if digests and digests.get(file) != hashlib.sha256(data).hexdigest()
    ]
    if damaged and shard_is_right:  # then it is the list that is wrong
        return [Fault(name, "damaged", digests_path(folder, name).relative_to(folder).as_posix())]
    return damaged


def _wrong_files(records: Records, labels: Labels, decode: Decode, name: str, files: dict[str, bytes]) -> list[Fault]:
    """Images and passes that are none, and labels that are not what the plan says."""
    faults, count = [], records.sealed[name]["samples"]
    stems = [stem for stem, _, ending in (file.partition(".") for file in files) if ending == records.endings[0]]
    if len(stems) != count:
        faults.append(Fault(name, f"holds {len(stems)} images, checksums.json says {count}"))
    for stem in stems:
        for file in (f"{stem}.{ending}" for ending in records.endings):
            if what := fault(file, files.get(file), records.resolution, decode):
                faults.append(Fault(name, what, file))
        if not labels(files.get(f"{stem}.json", b""), stem, name):
            faults.append(Fault(name, f"is missing or not what sample {stem} must have", f"{stem}.json"))
    return faults


def _labels_are_right(seed: int, plan: Plan | None, data: bytes, stem: str, shard: str) -> bool:
    try:
        labels, index = json.loads(data), int(stem)
        latents = sample_latents(seed, index)
        right = {"index": index, "latents": latents}
        if plan:
            sample = plan.sample(index)
            right |= {**sample.metadata(), "quaternion": labels["quaternion"]}
            if sample.shard != shard:
                return False
        return (
            all(labels[name] == value for name, value in right.items())
            and shard.startswith(labels["split"] + "-")
            and bool(labels["object_id"])
            # Sines may differ in the last bit between machines; the latents themselves may not.
            and all(abs(a - b) < 1e-12 for a, b in zip(labels["quaternion"], quaternion(latents), strict=True))
        )
    except (KeyError, ValueError, TypeError):
        return False
