"""Draws again what is broken in a dataset, or a few samples of it to prove that they come out the same."""

import hashlib
import random
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from assets.errors import UserError
from renderer import devices, parts
from renderer.command import find_blender
from renderer.files import read_json
from renderer.plan import Plan
from renderer.render import give_devices
from renderer.run import Run, cpu_name, stop_on_signals
from renderer.shards import DIGESTS, Dataset, open_dataset, read_digests, tar_files, write_digests
from renderer.verify import Fault, Records


@dataclass(frozen=True)
class Means:
    """With what to draw: the command of a worker, and how many of them (`--workers`)."""

    command: list[str]
    workers: str


def means(records: Records, blender: str | None, workers: str) -> Means:
    """The Blender that `blender` (--blender) names, else the one that the dataset was drawn with."""
    devices.check("cycles", "auto", workers, None)
    return Means(find_blender(blender or records.record.get("command", {}).get("blender")), workers)


def repair(records: Records, plan: Plan, faults: Iterable[Fault], drawn_with: Means) -> tuple[list[str], int]:
    """Make every broken shard again: files that still have their own checksum are kept, all others drawn.

    Returns one line for each shard that could not be brought back to its recorded bytes, and how many images were
    drawn. Raises UserError if it is stopped by a signal, or if another Blender drew the dataset.
    """
    broken: dict[str, list[Fault]] = {}
    for fault in faults:
        if fault.broken:
            broken.setdefault(fault.shard, []).append(fault)
    held = {name: _held(records, name) for name in records.sealed}
    n = max(
        [records.record.get("command", {}).get("n", 0), *(1 + max(members, default=-1) for members in held.values())]
    )
    planned = plan.shards(n)
    failures = [f"{name}: no shard of this dataset; move it elsewhere" for name in broken if name not in planned]
    shards = {name: held.get(name) or planned[name] for name in broken if name in planned}
    with parts.held(records.folder, None, n), stop_on_signals() as stops:
        dataset = open_dataset(records.folder, plan)
        dataset.take_over_parts()
        intact = {name for name in shards if _is_intact(records, name)}
        for name in shards:
            _prepare(dataset, name, broken[name], name in intact)
        drawn = _draw(Run(dataset, shards), records, drawn_with, stops)
    for name in shards:
        entry, before = dataset.sealed.get(name), records.sealed.get(name)
        if entry is None:
            failures.append(f"{name}: all its objects are quarantined")
        elif before and name not in intact and entry["sha256"] != before["sha256"]:
            failures.append(f"{name}: made again, but not to its recorded bytes{_other_machine(records)}")
    return failures, drawn


def _held(records: Records, name: str) -> list[int]:
    """The samples that a listed shard held when it was sealed; empty if that is not known."""
    stems = {file.partition(".")[0] for file in read_digests(records.folder, name)}
    known = sorted(int(stem) for stem in stems if stem.isdecimal())
    return known if len(known) == records.sealed[name]["samples"] else []


def _is_intact(records: Records, name: str) -> bool:
    """Whether a shard has its recorded sha256: what is wrong with it was so from the beginning, or is not in it."""
    path = records.folder / name
    recorded = records.sealed.get(name, {}).get("sha256")
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == recorded


def _prepare(dataset: Dataset, name: str, faults: list[Fault], intact: bool) -> None:
    """Put into the spool what can be kept of a broken shard, and have the rest drawn."""
    if name not in dataset.sealed:
        return  # whole, but not listed: any run takes it apart and lists it
    if intact and all(fault.file.startswith(DIGESTS) for fault in faults):
        write_digests(dataset.folder, name, (dataset.folder / name).read_bytes())
        return
    if not intact and read_digests(dataset.folder, name) and (dataset.folder / name).exists():
        dataset.unseal(name)
    dataset.broken.add(name)


def rerender(records: Records, plan: Plan, count: int, seed: int, drawn_with: Means) -> list[str]:
    """Draw `count` samples from scratch and compare every file's bytes with the shard's.

    Args:
        seed: decides which samples; they are spread evenly over the shards.

    Returns one line for each file that differs. Raises UserError if it is stopped by a signal.
    """
    chosen, there = choose(records, count, seed)
    with tempfile.TemporaryDirectory(prefix="gr3d-again-") as name, stop_on_signals() as stops:
        dataset = open_dataset(Path(name), plan)
        _draw(Run(dataset, chosen), records, drawn_with, stops)
        again = dict(file for shard in dataset.sealed for file in tar_files((dataset.folder / shard).read_bytes()))
        now = read_json(dataset.folder / "dataset.json", {})
    why = _other_machine(records, now.get("blender"))
    return [
        f"{shard}: {file}: drawn again, {'its bytes differ' + why if file in again else 'it could not be drawn'}"
        for (shard, file), data in there.items()
        if again.get(file) != data
    ]


def choose(records: Records, count: int, seed: int) -> tuple[dict[str, list[int]], dict[tuple[str, str], bytes]]:
    """Pick samples evenly over the shards: shard -> indices, and (shard, file) -> content of all their files."""
    names, chance = sorted(records.sealed), random.Random(seed)
    wanted = Counter(names[i * len(names) // count] for i in range(count if names else 0))
    chosen: dict[str, list[int]] = {}
    there: dict[tuple[str, str], bytes] = {}
    for name, number in wanted.items():
        try:
            files = dict(tar_files((records.folder / name).read_bytes()))
        except (OSError, tarfile.TarError, EOFError):
            raise UserError(f"{records.folder / name}: cannot be read; gr3d verify --repair makes it whole") from None
        held = sorted({int(stem) for stem in (file.partition(".")[0] for file in files) if stem.isdecimal()})
        chosen[name] = sorted(chance.sample(held, min(number, len(held))))
        for file, data in files.items():
            if file.partition(".")[0].isdecimal() and int(file.partition(".")[0]) in chosen[name]:
                there[name, file] = data
    return chosen, there


def _draw(run: Run, records: Records, drawn_with: Means, stops: list[int]) -> int:
    """Returns how many images were drawn."""
    device = records.record.get("engine", {}).get("device", "auto")
    engine = run.dataset.plan.spec.engine
    choice, seats = give_devices(drawn_with.command, engine, device, drawn_with.workers, None)
    if run.draw(drawn_with.command, choice.device, seats, stops):
        raise UserError("stopped; the same command starts again with what is still wrong")
    return run.counts.rendered


def _other_machine(records: Records, blender: str | None = None) -> str:
    """What about this machine may explain other bytes, as the end of a sentence."""
    record, cpu = records.record, cpu_name()
    reasons = []
    if blender and blender != record.get("blender"):
        reasons.append(f"drawn by Blender {record.get('blender')}, this is {blender}")
    if cpu not in record.get("cpus", [cpu]):
        reasons.append(f"drawn on {' and '.join(record['cpus'])}, this is {cpu}")
    return f" ({'; '.join(reasons)})" if reasons else ""
