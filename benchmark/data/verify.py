"""What is wrong with a packed dataset: every fault by name. Changes nothing (`gr3d verify`)."""

from functools import partial
from pathlib import Path

from benchmark.data.decode import Record, pixels, side_by_side
from benchmark.data.shards import Gr3dShards, checksums, sha256
from benchmark.errors import UserError


def faults(data: Path) -> list[str]:
    """One line for each shard that is missing, not listed, not as it was written or damaged, for each image that does
    not decode and each class that is none of its split's. UserError for a pack that was not finished."""
    dataset, listed = Gr3dShards(data, str(data)), checksums(data)
    found = [
        f"{path.name}: not listed in checksums.json" for path in sorted(data.glob("*.tar")) if path.name not in listed
    ]
    for name, entry in listed.items():
        path = data / name
        if not path.is_file():
            found.append(f"{name}: missing")
        elif sha256(path) != entry["sha256"]:
            found.append(f"{name}: not as checksums.json lists it")
    for split in dataset.splits:
        try:
            fault = partial(_fault, classes=frozenset(dataset.classes_of(split)))
            found += filter(None, side_by_side(fault, dataset.source(split).records()))
        except UserError as error:  # about a whole shard
            found.append(str(error))
    return found


def _fault(record: Record, classes: frozenset[str]) -> str:
    if record.category not in classes:
        return f"{record.where}: class '{record.category}' is none of its split's"
    try:
        pixels(record, None)
    except UserError as error:
        return str(error)
    return ""
