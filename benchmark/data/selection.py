"""Which images of a dataset are packed, and under which splits: shares, numbers per class, lists, random classes."""

import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from benchmark.data.dataset import Dataset
from benchmark.data.decode import IMAGE_FORMATS, Record
from benchmark.data.published.text import read_lines
from benchmark.data.shards import FITTING
from benchmark.errors import UserError

OOD_SPLITS = 6  # of other classes: Figure 3b of the paper

Chosen = dict[str, list[Record]]  # split -> its images, in the order of their index


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What to take. All draws follow from `seed`; within a class smaller draws are part of larger ones.

    splits: names; None for all. list: a file that names images of split `train`, one a line, as the published 1 % and
    10 % of ImageNet do. share, per_class: of every class, this share (at least one image) or number of the images of
    `train`. classes: this many random classes as `train` and `val`, and OOD_SPLITS times as many of the others as
    `ood1_train` and `ood1`, and so on. limit: at most so many images of every split, the classes in equal parts.
    """

    splits: tuple[str, ...] | None = None
    list: Path | None = None
    share: float | None = None
    per_class: int | None = None
    classes: int | None = None
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """UserError (wrong usage) for values that cannot work."""
        for option, value, fine, rule in (
            ("--share", self.share, self.share is None or 0 < self.share <= 1, "above 0 and at most 1"),
            ("--per-class", self.per_class, self.per_class is None or self.per_class >= 1, "at least 1"),
            ("--classes", self.classes, self.classes is None or self.classes >= 2, "at least 2"),
            ("--limit", self.limit, self.limit is None or self.limit >= 1, "at least 1"),
            ("--seed", self.seed, 0 <= self.seed < 2**63, "0 or above"),
        ):
            if not fine:
                raise UserError(f"{option} {value}: must be {rule}", exit_code=2)
        given = [f"--{name.replace('_', '-')}" for name in ("list", "share", "per_class") if getattr(self, name)]
        if len(given) > 1:
            raise UserError(f"{' and '.join(given)}: give one of them", exit_code=2)

    def described(self) -> dict:
        """As JSON values, without what was not chosen; a list by its file's name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {"splits": self.splits and list(self.splits), "list": self.list and self.list.name}
        return {name: value for name, value in values.items() if value is not None}


def choose(dataset: Dataset, choice: Choice) -> tuple[Chosen, tuple[tuple[str, ...], ...]]:
    """The images of every split to make, and which of these splits show the same classes.

    UserError for splits or images that the dataset does not have, and for classes that are missing from a split.
    """
    splits = choice.splits or dataset.splits
    for split in splits:
        if split not in dataset.splits:
            raise UserError(f"--splits: {dataset.no_such_split(split)}", exit_code=2)
    dataset.check_classes(splits)
    chosen = {split: sorted(dataset.source(split).records(), key=lambda record: record.index) for split in splits}
    if "train" in chosen:
        known = {record.category for record in chosen["train"]}
        chosen["train"] = _thinned(chosen["train"], dataset, choice)
        if (lost := known - {record.category for record in chosen["train"]}) and len(splits) > 1:
            raise UserError(
                f"--list {choice.list}: names no image of class '{min(lost)}', which other splits show; name one, or "
                "pack `train` alone (--splits train)"
            )
    elif choice.list or choice.share or choice.per_class:
        raise UserError("--list, --share and --per-class choose from split `train`, which is not packed", exit_code=2)
    groups = tuple(group for known in dataset.groups if (group := tuple(s for s in known if s in chosen)))
    if choice.classes:
        chosen, groups = _by_classes(chosen, dataset, choice)
    if choice.limit:
        chosen = {split: _first(records, choice.limit, split, choice.seed) for split, records in chosen.items()}
    return chosen, groups


def _thinned(records: list[Record], dataset: Dataset, choice: Choice) -> list[Record]:
    """Those of `train` that its list, share or number leaves."""
    if choice.list:
        return _listed(records, dataset, choice.list)
    if choice.share is None and choice.per_class is None:
        return records
    counts = defaultdict(int)
    for record in records:
        counts[record.category] += 1
    if choice.per_class:
        for name, count in counts.items():
            if count < choice.per_class:
                raise UserError(
                    f"--per-class {choice.per_class}: class '{name}' of {dataset} has {count} images in `train`", 2
                )
    ranks = _ranks(records, "train", choice.seed)
    most = {name: choice.per_class or max(1, round(choice.share * count)) for name, count in counts.items()}
    return [record for record, rank in zip(records, ranks, strict=True) if rank < most[record.category]]


def _first(records: list[Record], limit: int, split: str, seed: int) -> list[Record]:
    """`limit` of them, from every class in equal parts as far as it has any."""
    ranks = _ranks(records, split, seed)
    order = sorted(range(len(records)), key=lambda row: (ranks[row], records[row].category))
    return [records[row] for row in sorted(order[:limit])]


def _ranks(records: list[Record], split: str, seed: int) -> list[int]:
    """The place of each record in a random order of its class, which follows from the seed, split and class alone."""
    rows = defaultdict(list)
    for row, record in enumerate(records):
        rows[record.category].append(row)
    ranks = [0] * len(records)
    for name, members in rows.items():
        for rank, member in enumerate(_rng(seed, split, name).permutation(len(members)).tolist()):
            ranks[members[member]] = rank
    return ranks


def _rng(seed: int, *names: str) -> np.random.Generator:
    return np.random.default_rng([seed, *(zlib.crc32(name.encode(errors="surrogateescape")) for name in names)])


def _listed(records: list[Record], dataset: Dataset, path: Path) -> list[Record]:
    """The records that the file names, by object id or as much of it as is clear: the folders that both a line and an
    id have must be the same. Endings of image files may lack, as in the ids of WebDataset's members."""
    names = [name for line in read_lines(path) if (name := line.strip())]
    if not names:
        raise UserError(f"--list {path}: names no image")
    by_stem = defaultdict(list)
    for record in records:
        by_stem[_stem(record.object_id)].append(record)
    found = {name: _named(name, by_stem[_stem(name)]) for name in names}
    if unclear := [name for name in names if len(found[name]) != 1]:
        why = "stands for several images" if found[unclear[0]] else f"is no image of split 'train' of {dataset}"
        raise UserError(f"--list {path}: {unclear[0]} {why} ({len(unclear)} of its {len(names)} lines fit none)")
    wanted = {id(records[0]) for records in found.values()}
    return [record for record in records if id(record) in wanted]


def _named(name: str, alike: list[Record]) -> list[Record]:
    """Those of some records with its stem that a line of a list may mean."""
    *folders, file = name.split("/")
    fitting = []
    for record in alike:
        *its, _ = record.object_id.split("/")
        both = min(len(folders), len(its))
        if folders[len(folders) - both :] == its[len(its) - both :]:
            fitting.append(record)
    same_file = [record for record in fitting if record.object_id.rpartition("/")[2] == file]
    whole = [record for record in same_file if record.object_id == name]
    return whole or same_file or fitting


def _stem(name: str) -> str:
    """The last part of a path, without the ending of an image file."""
    file = name.rpartition("/")[2]
    stem, _, ending = file.rpartition(".")
    return stem if stem and ending.lower() in IMAGE_FORMATS else file


def judging_split(splits: Iterable[str]) -> str:
    """`val`, or the only split there is beside those that are fitted on; else `val`, though it is not there."""
    others = [split for split in splits if split not in FITTING]
    return others[0] if len(others) == 1 else "val"


def _by_classes(chosen: Chosen, dataset: Dataset, choice: Choice) -> tuple[Chosen, tuple[tuple[str, ...], ...]]:
    """Random classes as `train` and `val`, others as splits of their own (Choice.classes)."""
    sources = ("train", judging_split(chosen))
    if missing := set(sources) - set(chosen):
        raise UserError(f"--classes: needs split '{min(missing)}', which {dataset} has not, or --splits leaves out", 2)
    names = dataset.classes
    if len(names) < choice.classes + 2:
        raise UserError(f"--classes {choice.classes}: {dataset} has {len(names)} classes, at least two must be left", 2)
    taken: Chosen = {}
    groups = []
    for number, members in enumerate(class_groups(names, choice.classes, choice.seed)):
        group = (f"ood{number}_train", f"ood{number}") if number else ("train", "val")
        for split, source in zip(group, sources, strict=True):
            taken[split] = [record for record in chosen[source] if record.category in members]
        groups.append(group)
    return taken, tuple(groups)


def class_groups(names: Iterable[str], size: int, seed: int) -> list[frozenset[str]]:
    """`size` random classes, and OOD_SPLITS times as many of the others (all of them where there are fewer).

    The others are shuffled and cut into as many whole groups as they give, then shuffled again, until there are enough:
    250 of 1000 leave 750, so that every other class is in two of the six (caption of Figure 3b).
    """
    rng, names = _rng(seed, "classes"), sorted(names)
    order = [names[place] for place in rng.permutation(len(names))]
    groups, others = [frozenset(order[:size])], order[size:]
    size = min(size, len(others))
    while len(groups) <= OOD_SPLITS:
        order = [others[place] for place in rng.permutation(len(others))]
        groups += [frozenset(order[start : start + size]) for start in range(0, len(order) - size + 1, size)]
    return groups[: 1 + OOD_SPLITS]
