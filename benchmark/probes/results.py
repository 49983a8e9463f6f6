"""What a regression found: a row per network, layer, target and split, and what is needed to repeat it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import TypeVar

from benchmark.errors import UserError
from benchmark.files import write_atomically
from benchmark.probes.targets import OVERALL

# What a network is in the results: trained, or a control (before training; no network, pooled pixels).
TRAINED, UNTRAINED, PIXELS = "trained", "untrained", "pixels"

# What judging on a split means, in words.
SPLIT_WORDS = {"val": "new objects", "val_views": "new views of known objects"}

FORMAT = 2
JSON_NAME = "regression.json"
CSV_NAME = "regression.csv"


@dataclass(frozen=True)
class Row:
    """One regressor judged on one split.

    mse: squared error, mean over images and components of the target. nmse: the same with each component
    divided by its variance on that split before averaging, so that targets compare (0 perfect, 1 no better
    than the mean). r2: R squared, mean over components; it equals 1 - nmse. alpha: the penalty, as in
    scikit-learn's Ridge on the features as they are. degrees: mean geodesic rotation error, for the target
    `rotation` on the splits that judge; None elsewhere. low, high: 95 % interval of nmse over objects, on the splits
    that judge and show two objects or more; None elsewhere. For seeds taken together (`averaged`) they are nmse less
    and plus its deviation over seeds.

    The target OVERALL is the mean nmse over FACTORS; it has no mse and no alpha of its own (None).
    """

    network: str
    layer: str
    target: str
    split: str
    mse: float | None
    nmse: float
    r2: float
    alpha: float | None
    degrees: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Gaps:
    """Differences between the layers of one network, judged on the same draws of objects.

    low[a][b]: lower end of the 95 % interval for nmse of layer a less that of layer b.
    """

    network: str
    target: str
    split: str
    low: tuple[tuple[float, ...], ...]


class Networks:
    """What results of any kind know of their networks, from info["networks"]: {name: {"role", "layers", ...}}."""

    info: dict

    @property
    def networks(self) -> tuple[str, ...]:
        return tuple(self.info["networks"])

    def role(self, network: str) -> str:
        return self.info["networks"][network]["role"]

    def layers(self, network: str) -> tuple[str, ...]:
        return tuple(self.info["networks"][network]["layers"])

    @property
    def trained(self) -> tuple[str, ...]:
        """The networks that are no controls."""
        return tuple(name for name in self.networks if self.role(name) == TRAINED)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The networks that are asked about: the trained ones; where there are none, all that are networks."""
        return self.trained or tuple(name for name in self.networks if self.role(name) != PIXELS)

    def seeds(self, network: str) -> int:
        """How many runs the network stands for."""
        return len(self.info["networks"][network].get("seeds", ())) or 1


AnyResults = TypeVar("AnyResults", bound=Networks)


@dataclass(frozen=True)
class Results(Networks):
    """rows, and info: {"networks": {name: {"role", "layers", "widths", "config", "weights"}}, "targets": {name: words},
    "fit_on", "judged_on", "splits", "dataset", "pool", "ridge", "intervals", "versions"}.

    A network also has "trained_on_other_data": true or "finished": false where that is so; seeds taken together have
    "seeds", a list of them, and "members", the names of the runs.
    """

    rows: tuple[Row, ...]
    info: dict
    gaps: tuple[Gaps, ...] = ()

    @cached_property
    def _by_key(self) -> dict[tuple[str, str, str, str], Row]:
        return {(row.network, row.layer, row.target, row.split): row for row in self.rows}

    def row(self, network: str, layer: str, target: str, split: str) -> Row:
        return self._by_key[network, layer, target, split]

    @cached_property
    def _gaps_by_key(self) -> dict[tuple[str, str, str], Gaps]:
        return {(gaps.network, gaps.target, gaps.split): gaps for gaps in self.gaps}

    def gap(self, network: str, layer: str, other: str, target: str, split: str) -> tuple[float, float] | None:
        """Interval for the error at `layer` less that at `other`; None where the split has none."""
        gaps = self._gaps_by_key.get((network, target, split))
        if gaps is None:
            return None
        a, b = (self.layers(network).index(name) for name in (layer, other))
        return gaps.low[a][b], -gaps.low[b][a]

    def judged(self, split: str | None) -> str:
        """`split` if it was judged on, else UserError; for None the hardest: `val`, without it `val_views`."""
        judged = self.info["judged_on"]
        if split is None:
            return "val" if "val" in judged else judged[-1]
        if split not in judged:
            raise UserError(f"these results were not judged on split {split!r} (they were on: {', '.join(judged)})", 2)
        return split

    def best_layer(self, network: str, target: str, split: str) -> str:
        """The layer with the smallest nmse; of equal ones (the trunk is block4 averaged) the earliest."""
        errors = {layer: self.row(network, layer, target, split).nmse for layer in self.layers(network)}
        smallest = min(errors.values())
        return next(layer for layer, error in errors.items() if error <= smallest * (1 + 1e-6))

    def document(self) -> dict:
        """All of it as JSON has it."""
        return {
            "format": FORMAT,
            **self.info,
            "rows": [asdict(row) for row in self.rows],
            "gaps": [asdict(gaps) for gaps in self.gaps],
        }

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write regression.json and regression.csv into `folder` (made if missing), each whole or not at
        all."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        paths = folder / JSON_NAME, folder / CSV_NAME
        write_atomically(paths[0], (json.dumps(self.document(), allow_nan=False) + "\n").encode())
        write_atomically(paths[1], text.getvalue().encode())
        return paths


def load_results(path: Path) -> Results:
    """Read results from the folder that `Results.save` wrote, or from its json. UserError if it holds
    none."""
    path = path / JSON_NAME if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"{path}: no results there; make them with gr3d regress-latents")
    try:
        info = json.loads(path.read_text())
        if info.pop("format") != FORMAT:
            raise UserError(f"{path}: written by another version of gr3d; run gr3d regress-latents again")
        rows = tuple(Row(**row) for row in info.pop("rows"))
        gaps = tuple(Gaps(**{**gaps, "low": tuple(map(tuple, gaps["low"]))}) for gaps in info.pop("gaps"))
        return _checked(Results(rows, info, gaps))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not results of gr3d regress-latents ({error!r})") from error


def merge_results(parts: Sequence[Results]) -> Results:
    """Results of several runs of the same regression on the same data as one, to be plotted together.

    A control that occurs twice is taken once; another one of the same name becomes `name 2`. UserError if they
    differ in data, splits or pooling (they would not compare), or if two trained networks have the same name.
    """
    first = parts[0]
    rows, gaps, networks = list(first.rows), list(first.gaps), dict(first.info["networks"])
    for part, name, new in further_networks(parts, ("dataset", "fit_on", "judged_on", "splits", "pool")):
        networks[new] = part.info["networks"][name]
        rows += [replace(row, network=new) for row in part.rows if row.network == name]
        gaps += [replace(their, network=new) for their in part.gaps if their.network == name]
    return Results(tuple(rows), {**first.info, "networks": networks}, tuple(gaps))


def further_networks(parts: Sequence[AnyResults], compared: Sequence[str]) -> Iterator[tuple[AnyResults, str, str]]:
    """(part, its name there, its name among all) of every network that the first part does not have.

    A control that occurs twice is taken once; another one of the same name becomes `name 2`. UserError if an entry
    `compared` of `info` differs, or if two trained networks have the same name.
    """
    first, known = parts[0], dict(parts[0].info["networks"])
    for part in parts[1:]:
        for key in compared:
            if part.info[key] != first.info[key]:
                raise UserError(f"these results do not compare: their {key!r} differ; plot them apart", 2)
        for name, network in part.info["networks"].items():
            if name in known and TRAINED in (network["role"], known[name]["role"]):
                raise UserError(f"two of these results hold a network {name!r}; rename one", 2)
            new = _name_for(network, name, known)
            if new not in known:
                known[new] = network
                yield part, name, new


def _name_for(network: Mapping, name: str, networks: Mapping[str, Mapping]) -> str:
    """The first of `name`, `name 2`, `name 3`, ... that is free in `networks`, or taken by the same weights."""
    names = chain([name], (f"{name} {k}" for k in count(2)))
    return next(n for n in names if n not in networks or networks[n]["weights"] == network["weights"])


def _checked(results: Results) -> Results:
    """Raise KeyError or ValueError unless every network has a finite row for each of its layers, targets and
    splits, and gaps of the right size."""
    targets = dict.fromkeys([*(row.target for row in results.rows), OVERALL])
    splits = [results.info["fit_on"], *results.info["judged_on"]]
    for network in results.networks:
        results.role(network), results.info["networks"][network]["weights"]
        for layer in results.layers(network):
            for target in targets:
                for split in splits:
                    row = results.row(network, layer, target, split)
                    interval = (0, 0) if row.low is None and row.high is None else (row.low, row.high)
                    if not all(map(math.isfinite, (row.nmse, *interval))):
                        raise ValueError(f"{network}, {layer}, {target}, {split}: error is not finite")
    for gaps in results.gaps:
        count = len(results.layers(gaps.network))
        if [len(line) for line in gaps.low] != [count] * count or not all(map(math.isfinite, chain(*gaps.low))):
            raise ValueError(f"{gaps.network}, {gaps.target}, {gaps.split}: not the gaps of {count} layers")
    return results
