"""latents.csv: the labels of every sample in one table, for those who want them without opening a shard.

Croissant readers need it too: they can take images out of tars, but no labels out of JSON files in tars.
"""

import csv
import json
import os
import sys
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from renderer.files import sync_folder
from renderer.latents import LATENTS
from renderer.plan import Plan

FILE = "latents.csv"
QUATERNION = ("qw", "qx", "qy", "qz")
COLUMNS = ("file", "shard", "split", "index", "object_id", "category", *LATENTS, *QUATERNION)


def row(shard: str, file: str, labels: dict) -> list:
    """One line of the table, in the order of COLUMNS. `labels` is what the sample's .json holds."""
    latents = [labels["latents"][name] for name in LATENTS]
    return [
        file,
        shard,
        *(labels[name] for name in ("split", "index", "object_id", "category")),
        *latents,
        *labels["quaternion"],
    ]


def write(path: Path, rows: Iterable[list]) -> None:
    """Write the table whole or not at all, a row at a time: it may have millions."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("w", encoding="utf-8", newline="") as file:
            _write_rows(file, rows)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise
    sync_folder(path.parent)


def _write_rows(file: TextIO, rows: Iterable[list]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)


def rows(folder: Path, plan: Plan, sealed: dict[str, dict]) -> Iterator[list]:
    """The rows of all sealed shards of a rendered dataset, by shard and in the order of the tars.

    The plan knows every label. Only a shard that is not full is opened, to see which samples it has.
    """
    for name, entry in sorted(sealed.items()):
        split, _, number = name.removesuffix(".tar").rpartition("-")
        members = plan.shard_members(split, int(number), n=sys.maxsize)
        if entry["samples"] != len(members):
            members = sorted(_held(folder / name))
        for index in plan.tar_order(members):
            sample = plan.sample(index)
            yield row(name, f"{sample.key}.{plan.spec.format}", sample.metadata())


def rows_of_shards(folder: Path, sealed: Iterable[str]) -> Iterator[list]:
    """The rows of the named shards, by shard and in the order of the tars, as the shards themselves tell them."""
    for name in sorted(sealed):
        with tarfile.open(folder / name) as tar:
            for member in tar:
                stem, _, ending = member.name.rpartition(".")
                if ending != "json":
                    image = member.name
                elif image.rpartition(".")[0] == stem:
                    yield row(name, image, json.load(tar.extractfile(member)))


def _held(shard: Path) -> set[int]:
    with tarfile.open(shard) as tar:
        return {int(stem) for stem in (name.partition(".")[0] for name in tar.getnames()) if stem.isdecimal()}
