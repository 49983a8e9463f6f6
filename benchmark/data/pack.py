"""`gr3d pack`: any dataset as shards that everything else reads fast, each image decoded once on the way.

    OUT/dataset.json       the spec (what was packed, which images, at what size); once finished, classes and sizes
    OUT/checksums.json     sha256, size and samples of every shard, and what was left out of it
    OUT/train-000000.tar   shards in WebDataset convention: {key}.jpg or .png, and {key}.json
    OUT/README.md          the card that Hugging Face reads; report.json

The same request gives the same bytes. A shard under its final name is complete; the same command goes on from there.
"""

import fcntl
import hashlib
import json
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmark.data.card import card
from benchmark.data.corruptions import ALL, SEVERITIES, SMALLEST, check_library
from benchmark.data.dataset import Dataset, common_size
from benchmark.data.datasets import open_dataset
from benchmark.data.decode import Record, cores
from benchmark.data.selection import Choice, Chosen, choose, judging_split
from benchmark.data.shard_writer import Treatment, is_entry, write_shard
from benchmark.data.shards import PACKED, Gr3dShards
from benchmark.errors import UserError, first_line
from benchmark.files import write_atomically
from benchmark.probes.progress import Progress

SHARD_SIZE = 1000

_FEW = 2000  # corrupted images that are not worth starting processes for

_LARGEST_SIDE = 4096  # a thread holds a few images of it
_NAMED = 5  # images left out that the report names


@dataclass(frozen=True)
class Report:
    """images: split -> how many were packed. left_out: what could not be, "file: reason". seconds: of this sitting."""

    out: str
    images: dict[str, int]
    classes: int
    left_out: list[str]
    bytes: int
    seconds: float

    def lines(self) -> list[str]:
        """For people."""
        counts = ", ".join(f"{split} {count}" for split, count in self.images.items())
        size = f"{self.bytes / 1e6:.1f} MB, {self.seconds:.1f} s"
        lines = [f"{self.out}: {counts} images of {self.classes} class{'' if self.classes == 1 else 'es'}, {size}"]
        if self.left_out:
            lines += [f"left out {name}" for name in self.left_out[:_NAMED]]
            lines.append(
                f"left out: {len(self.left_out)} images that cannot be decoded; {self.out}/report.json names all"
            )
        return lines


def pack(
    data: str | Path,
    out: Path,
    *,
    side: int | None = None,
    shard_size: int = SHARD_SIZE,
    corrupt: Sequence[str] = (),
    severities: Sequence[int] = SEVERITIES,
    **chosen: object,
) -> Report:
    """Write the dataset that `data` names (datasets.py) as shards into the folder `out`, or go on doing so.

    side: scale the middle square of every image to side x side pixels; None keeps the files as they are. shard_size:
    images in a shard. corrupt: names of corruptions.ALL; the images of the one split that is packed (default: `val`)
    become splits NAME_SEVERITY, for each of `severities`. chosen: the fields of Choice. Images become JPEG where all of
    them are, else PNG, which loses nothing. Images that cannot be decoded are left out and reported. Progress goes to
    stderr. Many corruptions are drawn in processes of their own: a script that calls this needs the usual
    `if __name__ == "__main__"`.
    UserError for an `out` that holds something else or cannot be written, and as `open_dataset` and `choose`.
    """
    if side is not None and side > _LARGEST_SIDE:
        raise UserError(f"--side {side}: at most {_LARGEST_SIDE}", exit_code=2)
    for option, value in (("--side", side), ("--shard-size", shard_size)):
        if value is not None and value < 1:
            raise UserError(f"{option} {value}: must be at least 1", exit_code=2)
    out, dataset = Path(out), open_dataset(data)
    plan = _plan(dataset, Choice(**chosen), side, shard_size, corrupt, severities)
    with _held(out):
        _begin(out, plan.spec)
        started = time.monotonic()
        with _workers(plan) as pool:
            entries = _write_shards(out, plan, pool)
        return _finish(out, dataset, plan, entries, time.monotonic() - started)


@dataclass(frozen=True)
class _Plan:
    """What is to be written. images: split -> its images; groups: splits of the same classes; treatments: split -> how
    its images become files; spec: what decides the bytes of the shards."""

    images: Chosen
    groups: tuple[tuple[str, ...], ...]
    treatments: dict[str, Treatment]
    spec: dict


def _plan(
    dataset: Dataset,
    choice: Choice,
    side: int | None,
    shard_size: int,
    corrupt: Sequence[str],
    severities: Sequence[int],
) -> _Plan:
    if corrupt:
        choice = replace(choice, splits=choice.splits or (judging_split(dataset.splits),))
        _check_corruptions(corrupt, severities, choice, side)
    images, groups = choose(dataset, choice)
    for split, records in images.items():
        if not records:
            raise UserError(f"{dataset}: nothing is left of split '{split}' to pack")
    format = "jpg" if all(_ending(r) in ("jpg", "jpeg") for records in images.values() for r in records) else "png"
    treatments = dict.fromkeys(images, Treatment(format, side))
    if corrupt:
        (records,) = images.values()
        if side is None and min(common_size(records)) < SMALLEST:
            raise UserError(f"--corrupt: needs images of {SMALLEST} pixels a side; give --side {SMALLEST}", 2)
        treatments = {f"{name}_{k}": Treatment(format, side, name, k) for name in corrupt for k in severities}
        images, groups = dict.fromkeys(treatments, records), (tuple(treatments),)
    spec = {
        "layout": PACKED,
        "dataset": dataset.name,
        **({"source": dataset.spec} if isinstance(dataset, Gr3dShards) else {}),
        **({"resolution": side} if side else {}),
        "format": format,
        "images": {split: len(records) for split, records in images.items()},
        **choice.described(),
        "samples": _digest(images),
        "shard_size": shard_size,
    }
    return _Plan(images, groups, treatments, spec)


def _digest(images: Chosen) -> str:
    """sha256 of what stands for every image."""
    digest = hashlib.sha256()
    for split, records in images.items():
        for record in records:
            line = f"{split} {record.index} {record.object_id} {record.category}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _check_corruptions(corrupt: Sequence[str], severities: Sequence[int], choice: Choice, side: int | None) -> None:
    """UserError (wrong usage) for what cannot be drawn."""
    for option, values, known in (("--corrupt", corrupt, ALL), ("--severity", severities, SEVERITIES)):
        if unknown := [value for value in values if value not in known]:
            raise UserError(f"{option} {unknown[0]}: choose of {', '.join(map(str, known))}", exit_code=2)
    if len(choice.splits) > 1 or choice.classes:
        raise UserError("--corrupt: corrupts one split at a time, without --classes; name it with --splits", 2)
    if side is not None and side < SMALLEST:
        raise UserError(f"--side {side}: corruptions need at least {SMALLEST}", exit_code=2)
    check_library()


def _ending(record: Record) -> str:
    if isinstance(record.image, np.ndarray):
        return "png"
    return record.image.name.rpartition(".")[2].lower()


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Make the folder and hold it for this process; the lock goes with the process, however that ends."""
    with ExitStack() as held:
        try:
            out.mkdir(parents=True, exist_ok=True)
            file = held.enter_context((out / ".lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in out.glob(".*.tmp"):  # by a process that was killed
                left.unlink()
        except BlockingIOError:
            raise UserError(f"--out {out}: another gr3d pack is writing there; wait for it") from None
        except OSError as error:
            raise UserError(f"--out {out}: cannot be made or written ({error.strerror or error})") from error
        yield


def _begin(out: Path, spec: dict) -> None:
    """Write dataset.json, or compare it. UserError when the folder holds anything else."""
    path = out / "dataset.json"
    if not path.is_file():
        if foreign := sorted(file.name for file in out.iterdir() if not file.name.startswith(".")):
            raise UserError(f"--out {out}: holds other files ({foreign[0]}) and no dataset; choose another folder", 2)
        write_atomically(path, _json({"spec": spec}))
        return
    known = _read(path).get("spec")
    if not isinstance(known, dict) or known.get("layout") != PACKED:
        raise UserError(f"--out {out}: holds a dataset that gr3d pack did not make; choose another folder", 2)
    for name in {**spec, **known}:
        if known.get(name) != spec.get(name):
            was, now = (json.dumps(value.get(name)) for value in (known, spec))
            raise UserError(f"--out {out}: was packed with another {name} ({was}, now {now}); choose another folder", 2)


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError("no object")
        return content
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({first_line(error)}); delete the folder and pack again") from error


def _json(content: dict) -> bytes:
    return json.dumps(content, indent=1).encode()


def _workers(plan: _Plan) -> AbstractContextManager[Executor | None]:
    """Who encodes: threads (None). Corruptions use a generator that all threads of a process share, so one thread, or
    where there is much to do, a process on each core."""
    if not any(treatment.corruption for treatment in plan.treatments.values()):
        return nullcontext()
    if sum(map(len, plan.images.values())) < _FEW:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(cores(), mp_context=get_context("spawn"))


def _write_shards(out: Path, plan: _Plan, pool: Executor | None) -> dict[str, dict]:
    """Write every shard that is not there; return what checksums.json says of all."""
    listed = _read(out / "checksums.json") if (out / "checksums.json").is_file() else {}
    entries: dict[str, dict] = {}
    progress = Progress(f"{out}: packing", sum(map(len, plan.images.values())))
    for name, split, records in _shards(plan):
        path, entry = out / name, listed.get(name)
        # Images that could not be decoded may have been mended since.
        is_whole = is_entry(entry) and not entry.get("left_out")
        if not is_whole or not path.is_file() or path.stat().st_size != entry["bytes"]:
            entry = write_shard(path, split, records, plan.treatments[split], pool)
            listed[name] = entry
            write_atomically(out / "checksums.json", _json(listed))
        entries[name] = entry
        progress.update(len(records))
    progress.finish()
    return entries


def _shards(plan: _Plan) -> Iterator[tuple[str, str, list[Record]]]:
    """(name, split, records) of every shard. The order is shuffled, so that a shard mixes the classes."""
    size = plan.spec["shard_size"]
    for split, records in plan.images.items():
        order = np.random.default_rng(
            [plan.spec["seed"], zlib.crc32(split.encode(errors="surrogateescape"))]
        ).permutation(len(records))
        for number, start in enumerate(range(0, len(order), size)):
            yield f"{split}-{number:06d}.tar", split, [records[row] for row in order[start : start + size]]


def _finish(out: Path, dataset: Dataset, plan: _Plan, entries: dict[str, dict], seconds: float) -> Report:
    """Write what is known only in the end: classes, sizes, the card, the report."""
    lost: dict[str, set[int]] = {split: set() for split in plan.images}
    for name, entry in entries.items():
        lost[name.rpartition("-")[0]] |= set(map(int, entry.get("left_out", ())))
    kept = {s: [record for record in records if record.index not in lost[s]] for s, records in plan.images.items()}
    left_out = [reason for entry in entries.values() for reason in entry.get("left_out", {}).values()]
    if empty := [split for split, records in kept.items() if not records]:
        raise UserError(f"{dataset}: no image of split '{empty[0]}' can be decoded; the first: {left_out[0]}")
    classes = {split: sorted({record.category for record in records}) for split, records in kept.items()}
    full = [entry for entry in entries.values() if entry["samples"]]
    sizes = {tuple(entry["size"] or ()) for entry in full}  # () of a shard whose images have several
    report = Report(
        out=str(out),
        images={split: len(records) for split, records in kept.items()},
        classes=len(set().union(*classes.values())),
        left_out=left_out,
        bytes=sum(entry["bytes"] for entry in entries.values()),
        seconds=round(seconds, 1),
    )
    finished = {
        "spec": plan.spec,
        "classes": classes,
        "groups": plan.groups,
        "images": {
            "size": (sizes.pop() or None) if len(sizes) == 1 else None,
            "shortest": min(entry["shortest"] for entry in full),
        },
        "has_latents": all(record.latents is not None for records in kept.values() for record in records),
    }
    write_atomically(
        out / "README.md", card(dataset, plan.spec, report.images, report.classes).encode(errors="replace")
    )
    write_atomically(out / "report.json", _json(asdict(report)))
    write_atomically(out / "dataset.json", _json(finished))
    return report
