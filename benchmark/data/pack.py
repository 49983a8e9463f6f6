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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmark.data.card import card
from benchmark.data.dataset import Dataset
from benchmark.data.datasets import open_dataset
from benchmark.data.decode import Record, first_line
from benchmark.data.selection import Choice, Chosen, choose
from benchmark.data.shard_writer import write_shard
from benchmark.data.shards import PACKED
from benchmark.errors import UserError
from benchmark.files import write_atomically
from benchmark.probes.progress import Progress

SHARD_SIZE = 1000

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
        lines = [f"{self.out}: {counts} images of {self.classes} classes, {size}"]
        if self.left_out:
            lines += [f"left out {name}" for name in self.left_out[:_NAMED]]
            lines.append(
                f"left out: {len(self.left_out)} images that cannot be decoded; {self.out}/report.json names all"
            )
        return lines


def pack(
    data: str | Path, out: Path, *, side: int | None = None, shard_size: int = SHARD_SIZE, **chosen: object
) -> Report:
    """Write the dataset that `data` names (datasets.py) as shards into the folder `out`, or go on doing so.

    side: scale the middle square of every image to side x side pixels; None keeps the files as they are. shard_size:
    images in a shard. chosen: the fields of Choice. Images become JPEG where all of them are, else PNG, which loses
    nothing. Images that cannot be decoded are left out and reported. Progress goes to stderr.
    UserError for an `out` that holds something else or cannot be written, and as `open_dataset` and `choose`.
    """
    for option, value in (("--side", side), ("--shard-size", shard_size)):
        if value is not None and value < 1:
            raise UserError(f"{option} {value}: must be at least 1", exit_code=2)
    out, dataset, choice = Path(out), open_dataset(data), Choice(**chosen)
    images, groups = choose(dataset, choice)
    for split, records in images.items():
        if not records:
            raise UserError(f"{dataset}: nothing is left of split '{split}' to pack")
    spec = _spec(dataset, images, choice, side, shard_size)
    with _held(out):
        _begin(out, spec)
        started = time.monotonic()
        entries = _write_shards(out, images, spec)
        report = _finish(out, dataset, images, groups, spec, entries, time.monotonic() - started)
    return report


def _spec(dataset: Dataset, images: Chosen, choice: Choice, side: int | None, shard_size: int) -> dict:
    """What decides the bytes of the shards."""
    records = [record for chosen in images.values() for record in chosen]
    named = "\n".join(
        f"{split} {record.index} {record.object_id} {record.category}"
        for split, chosen in images.items()
        for record in chosen
    )
    options = {name: value for name, value in asdict(choice).items() if value is not None and name != "list"}
    return {
        "layout": PACKED,
        "dataset": dataset.name,
        "source": dataset.spec,
        **({"resolution": side} if side else {}),
        "format": "jpg" if all(_ending(record) in ("jpg", "jpeg") for record in records) else "png",
        "images": {split: len(chosen) for split, chosen in images.items()},
        **({"list": choice.list.name} if choice.list else {}),
        **{name: list(value) if isinstance(value, tuple) else value for name, value in options.items()},
        "samples": hashlib.sha256(named.encode(errors="surrogateescape")).hexdigest(),
        "shard_size": shard_size,
    }


def _ending(record: Record) -> str:
    if isinstance(record.image, np.ndarray):
        return "png"
    return record.format or record.image.suffix[1:].lower()


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Make the folder and hold it for this process."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with (out / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in out.glob(".*.tmp"):  # by a process that was killed
                left.unlink()
            yield
    except BlockingIOError:
        raise UserError(f"--out {out}: another gr3d pack is writing there; wait for it") from None
    except OSError as error:
        raise UserError(f"--out {out}: cannot be made or written ({error.strerror or error})") from error


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


def _write_shards(out: Path, images: Chosen, spec: dict) -> dict[str, dict]:
    """Write every shard that is not there; return what checksums.json says of all."""
    listed = _read(out / "checksums.json") if (out / "checksums.json").is_file() else {}
    entries: dict[str, dict] = {}
    progress = Progress(f"{out}: packing", sum(map(len, images.values())))
    for name, split, records in _shards(images, spec):
        path, entry = out / name, listed.get(name)
        if entry is None or not path.is_file() or path.stat().st_size != entry["bytes"]:
            entry = write_shard(path, split, records, spec["format"], spec.get("resolution"))
            listed[name] = entry
            write_atomically(out / "checksums.json", _json(listed))
        entries[name] = entry
        progress.update(len(records))
    progress.finish()
    return entries


def _shards(images: Chosen, spec: dict) -> Iterator[tuple[str, str, list[Record]]]:
    """(name, split, records) of every shard. The order is shuffled, so that a shard mixes the classes."""
    for split, records in images.items():
        order = np.random.default_rng([spec["seed"], zlib.crc32(split.encode())]).permutation(len(records))
        for number, start in enumerate(range(0, len(order), spec["shard_size"])):
            rows = order[start : start + spec["shard_size"]]
            yield f"{split}-{number:06d}.tar", split, [records[row] for row in rows]


def _finish(
    out: Path,
    dataset: Dataset,
    images: Chosen,
    groups: tuple[tuple[str, ...], ...],
    spec: dict,
    entries: dict[str, dict],
    seconds: float,
) -> Report:
    """Write what is known only in the end: classes, sizes, the card, the report."""
    lost: dict[str, set[int]] = {split: set() for split in images}
    for name, entry in entries.items():
        lost[name.rpartition("-")[0]] |= set(map(int, entry.get("left_out", ())))
    kept = {s: [record for record in records if record.index not in lost[s]] for s, records in images.items()}
    left_out = [reason for entry in entries.values() for reason in entry.get("left_out", {}).values()]
    if empty := [split for split, records in kept.items() if not records]:
        raise UserError(f"{dataset}: no image of split '{empty[0]}' can be decoded; the first: {left_out[0]}")
    full = [entry for entry in entries.values() if entry["samples"]]
    sizes = {tuple(entry["size"] or ()) for entry in full}
    classes = {split: sorted({record.category for record in records}) for split, records in kept.items()}
    finished = {
        "spec": spec,
        "classes": classes,
        "groups": groups,
        "images": {
            "size": sizes.pop() or None if len(sizes) == 1 else None,
            "shortest": min(e["shortest"] for e in full),
        },
        "has_latents": all(record.latents is not None for records in images.values() for record in records),
    }
    report = Report(
        out=str(out),
        images={split: len(records) for split, records in kept.items()},
        classes=len(set().union(*classes.values())),
        left_out=left_out,
        bytes=sum(entry["bytes"] for entry in entries.values()),
        seconds=round(seconds, 1),
    )
    write_atomically(out / "README.md", card(dataset, spec, report.images, report.classes).encode())
    write_atomically(out / "report.json", _json(asdict(report)))
    write_atomically(out / "dataset.json", _json(finished))
    return report


def entries_fault(entries: dict[str, dict]) -> str:
    """The first thing that was left out."""
    return next(reason for entry in entries.values() for reason in entry.get("left_out", {}).values())
