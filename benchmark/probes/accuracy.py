"""What a classification found: a row per network, layer, dataset and split, and what is needed to repeat it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev

from benchmark.errors import UserError
from benchmark.files import write_atomically
from benchmark.probes.recommend import Recommendation, recommend
from benchmark.probes.results import Gaps, Networks, Results, Row, further_networks
from benchmark.probes.seeds import described, groups, name_of

FORMAT = 1
JSON_NAME = "probe.json"
CSV_NAME = "probe.csv"
CLASSES = "classes"  # the target's name where errors are made of accuracies


@dataclass(frozen=True)
class Accuracy:
    """One classifier judged on one split of one dataset.

    top1, top5: shares of its images whose class is the first answer, or among the first five. low, high: 95 % interval
    of top1, bootstrap over objects (plain images are an object each), on the splits that judge; None elsewhere, and for
    a single object. For seeds taken together: top1 less and plus its deviation over seeds. penalty: 1 / C of
    scikit-learn's LogisticRegression on the features as they are; None for seeds taken together and for SGD.
    classes: of the classifier. images: judged.
    """

    network: str
    layer: str
    dataset: str
    split: str
    top1: float
    top5: float
    low: float | None
    high: float | None
    penalty: float | None
    classes: int
    images: int


@dataclass(frozen=True)
class Margins:
    """Differences between the layers of one network, on the same draws. low[a][b]: lower end of the 95 % interval for
    the top-1 error of layer a less that of layer b."""

    network: str
    dataset: str
    split: str
    low: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Classification(Networks):
    """rows, and info: {"networks" as in Results, "classes": names, "dataset": name of the one fitted on, "fit_on": its
    split, "judged_on": [[dataset, split], ...], "splits": {dataset: {split: {"images", "objects", "commonest"}}},
    "datasets": {name: what dataset.json says}, "only", "pool", "solver", "fits", "intervals", "versions"}.

    commonest: share of the split's images that always answering the class most frequent in fitting gets right.
    """

    rows: tuple[Accuracy, ...]
    info: dict
    margins: tuple[Margins, ...] = ()

    @property
    def fitted(self) -> tuple[str, str]:
        """(dataset, split) that the classifiers were fitted on."""
        return self.info["dataset"], self.info["fit_on"]

    @property
    def judged(self) -> tuple[tuple[str, str], ...]:
        """(dataset, split) of all that judge."""
        return tuple((dataset, split) for dataset, split in self.info["judged_on"])

    @cached_property
    def _by_key(self) -> dict[tuple[str, str, str, str], Accuracy]:
        return {(row.network, row.layer, row.dataset, row.split): row for row in self.rows}

    def row(self, network: str, layer: str, dataset: str, split: str) -> Accuracy:
        return self._by_key[network, layer, dataset, split]

    def recommend(self, network: str, dataset: str, split: str) -> Recommendation:
        """Where to cut the network for this split. The Recommendation's errors are those of `errors`."""
        return recommend(self.errors(dataset, split), network, CLASSES, split)

    def errors(self, dataset: str, split: str) -> Results:
        """The same as a regression's results: (1 - top1) over that of always answering the commonest class."""
        shown = self.info["splits"][dataset][split]
        scale = max(1 - shown["commonest"], 1 / shown["images"])
        rows = [_error(row, scale) for row in self.rows if (row.dataset, row.split) == (dataset, split)]
        gaps = [
            Gaps(m.network, CLASSES, split, tuple(tuple(value / scale for value in line) for line in m.low))
            for m in self.margins
            if (m.dataset, m.split) == (dataset, split)
        ]
        return Results(tuple(rows), {**self.info, "judged_on": [split]}, tuple(gaps))

    def document(self) -> dict:
        """All of it as JSON has it."""
        rows, margins = ([asdict(one) for one in many] for many in (self.rows, self.margins))
        return {"format": FORMAT, **self.info, "rows": rows, "margins": margins}

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write probe.json and probe.csv into `folder` (made if missing), each whole or not at all."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(Accuracy)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        paths = folder / JSON_NAME, folder / CSV_NAME
        write_atomically(paths[0], (json.dumps(self.document(), allow_nan=False) + "\n").encode())
        write_atomically(paths[1], text.getvalue().encode())
        return paths


def _error(row: Accuracy, scale: float) -> Row:
    ends = (None, None) if row.low is None else ((1 - row.high) / scale, (1 - row.low) / scale)
    error = (1 - row.top1) / scale
    return Row(row.network, row.layer, CLASSES, row.split, None, error, 1 - error, row.penalty, None, *ends)


def is_classification(path: Path) -> bool:
    """Whether `path` is what `Classification.save` wrote, or its folder."""
    return (path / JSON_NAME).is_file() or (path.name == JSON_NAME and path.is_file())


def load_classification(path: Path) -> Classification:
    """Read what `Classification.save` wrote, from its folder or its json. UserError if it holds none."""
    path = path / JSON_NAME if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"{path}: no results there; make them with gr3d probe")
    try:
        info = json.loads(path.read_text())
        if info.pop("format") != FORMAT:
            raise UserError(f"{path}: written by another version of gr3d; run gr3d probe again")
        rows = tuple(Accuracy(**row) for row in info.pop("rows"))
        margins = tuple(Margins(**{**m, "low": tuple(map(tuple, m["low"]))}) for m in info.pop("margins"))
        found = Classification(rows, info, margins)
        _check(found)
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not results of gr3d probe ({error!r})") from error


def _check(found: Classification) -> None:
    """KeyError, TypeError or ValueError unless every network has a row of finite shares for each layer and split."""
    for network in found.networks:
        found.role(network), found.info["networks"][network]["weights"]
        for layer in found.layers(network):
            for place in (found.fitted, *found.judged):
                row = found.row(network, layer, *place)
                if not all(map(math.isfinite, (row.top1, row.top5, row.low or 0, row.high or 0))):
                    raise ValueError(f"{network}, {layer}, {', '.join(place)}: accuracy is not finite")


def merge_classifications(parts: Sequence[Classification]) -> Classification:
    """Several results on the same data as one, to be shown together. A control that occurs twice is taken once;
    UserError if they differ in data, splits, classes or pooling, or if two trained networks have the same name."""
    first = parts[0]
    rows, margins, networks, fits = list(first.rows), list(first.margins), dict(first.info["networks"]), []
    compared = ("datasets", "fit_on", "judged_on", "splits", "classes", "pool")
    for part, name, new in further_networks(parts, compared):
        networks[new] = part.info["networks"][name]
        rows += [replace(row, network=new) for row in part.rows if row.network == name]
        margins += [replace(one, network=new) for one in part.margins if one.network == name]
        fits += [{**one, "network": new} for one in part.info["fits"] if one["network"] == name]
    info = {**first.info, "networks": networks, "fits": [*first.info["fits"], *fits]}
    return Classification(tuple(rows), info, tuple(margins))


def averaged_over_seeds(found: Classification) -> Classification:
    """Runs that differ in the seed alone as one network, as `seeds.averaged` does it: mean accuracies, low and high
    that mean less and plus the standard deviation (n - 1); a layer is worse than another only if it is in each run."""
    networks: dict[str, dict] = {}
    rows: list[Accuracy] = []
    margins: list[Margins] = []
    for members in groups(found):
        name = members[0] if len(members) == 1 else name_of(members, found)
        networks[name] = described(members, found)
        first = [row for row in found.rows if row.network == members[0]]
        rows += first if len(members) == 1 else [_mean(name, row, members, found) for row in first]
        theirs = [one for one in found.margins if one.network == members[0]]
        margins += theirs if len(members) == 1 else [_least(name, one, members, found) for one in theirs]
    return Classification(tuple(rows), {**found.info, "networks": networks}, tuple(margins))


def _mean(name: str, row: Accuracy, members: Sequence[str], found: Classification) -> Accuracy:
    rows = [found.row(member, row.layer, row.dataset, row.split) for member in members]
    top1, deviation = mean(r.top1 for r in rows), stdev(r.top1 for r in rows)
    ends = {"low": top1 - deviation, "high": top1 + deviation}
    return replace(row, network=name, top1=top1, top5=mean(r.top5 for r in rows), penalty=None, **ends)


def _least(name: str, margins: Margins, members: Sequence[str], found: Classification) -> Margins:
    place = margins.dataset, margins.split
    theirs = [m.low for m in found.margins if m.network in members and (m.dataset, m.split) == place]
    return replace(margins, network=name, low=tuple(tuple(map(min, *lines)) for lines in zip(*theirs, strict=True)))
