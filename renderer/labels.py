"""latents.csv: the labels of every sample in one table, for those who want them without opening a shard.

Croissant readers need it too: they can take images out of tars, but no labels out of JSON files in tars.
"""

import csv
import io
import json
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from renderer.files import replacement
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
    with replacement(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
        text.detach()  # flushed, and left open for `replacement` to end


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
