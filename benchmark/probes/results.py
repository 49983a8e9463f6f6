"""What a regression found: a row per network, layer, target and split, and what is needed to repeat it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from itertools import chain, count
from pathlib import Path

from benchmark.errors import UserError
from benchmark.files import write_atomically

# What a network is in the results: trained, or a control (before training; no network, pooled pixels).
TRAINED, UNTRAINED, PIXELS = "trained", "untrained", "pixels"

# What judging on a split means, in words.
SPLIT_WORDS = {"val": "new objects", "val_views": "new views of known objects"}

FORMAT = 1
JSON_NAME = "regression.json"
CSV_NAME = "regression.csv"


@dataclass(frozen=True)
class Row:
    """One regressor judged on one split.

    mse: squared error, mean over images and components of the target. nmse: the same with each component
    divided by its variance on that split before averaging, so that targets compare (0 perfect, 1 no better
    than the mean). r2: R squared, mean over components; it equals 1 - nmse. alpha: the penalty, as in
    scikit-learn's Ridge on the features as they are. degrees: mean geodesic rotation error, for the target
    `rotation` on the splits that judge; None elsewhere.
    """

    network: str
    layer: str
    target: str
    split: str
    mse: float
    nmse: float
    r2: float
    alpha: float
    degrees: float | None = None


@dataclass(frozen=True)
class Results:
    """rows, and info: {"networks": {name: {"role", "layers", "widths", "config", "weights"}}, "targets": {name: words},
    "fit_on", "judged_on", "splits", "dataset", "pool", "ridge", "versions"}.

    A network also has "trained_on_other_data": true or "finished": false where that is so.
    """

    rows: tuple[Row, ...]
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

    @cached_property
    def _by_key(self) -> dict[tuple[str, str, str, str], Row]:
        return {(row.network, row.layer, row.target, row.split): row for row in self.rows}

    def row(self, network: str, layer: str, target: str, split: str) -> Row:
        return self._by_key[network, layer, target, split]

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

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write regression.json and regression.csv into `folder` (made if missing), each whole or not at
        all."""
        document = {"format": FORMAT, **self.info, "rows": [asdict(row) for row in self.rows]}
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        paths = folder / JSON_NAME, folder / CSV_NAME
        write_atomically(paths[0], (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
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
        return _checked(Results(rows, info))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not results of gr3d regress-latents ({error!r})") from error


def merge_results(parts: Sequence[Results]) -> Results:
    """Results of several runs of the same regression on the same data as one, to be plotted together.

    A control that occurs twice is taken once; another one of the same name becomes `name 2`. UserError if they
    differ in data, splits or pooling (they would not compare), or if two trained networks have the same name.
    """
    first = parts[0]
    rows, networks = list(first.rows), dict(first.info["networks"])
    for part in parts[1:]:
        for key in ("dataset", "fit_on", "judged_on", "splits", "pool"):
            if part.info[key] != first.info[key]:
                raise UserError(f"these results do not compare: their {key!r} differ; plot them apart", 2)
        for name, network in part.info["networks"].items():
            if name in networks and TRAINED in (network["role"], networks[name]["role"]):
                raise UserError(f"two of these results hold a network {name!r}; rename one", 2)
            new = _name_for(network, name, networks)
            if new not in networks:
                networks[new] = network
                rows += [replace(row, network=new) for row in part.rows if row.network == name]
    return Results(tuple(rows), {**first.info, "networks": networks})


def _name_for(network: Mapping, name: str, networks: Mapping[str, Mapping]) -> str:
    """The first of `name`, `name 2`, `name 3`, ... that is free in `networks`, or taken by the same weights."""
    names = chain([name], (f"{name} {k}" for k in count(2)))
    return next(n for n in names if n not in networks or networks[n]["weights"] == network["weights"])


def _checked(results: Results) -> Results:
    """Raise KeyError or ValueError unless every network has a finite row for each of its layers, targets and
    splits."""
    targets = dict.fromkeys(row.target for row in results.rows)
    splits = [results.info["fit_on"], *results.info["judged_on"]]
    for network in results.networks:
        results.role(network), results.info["networks"][network]["weights"]
        for layer in results.layers(network):
            for target in targets:
                for split in splits:
                    if not math.isfinite(results.row(network, layer, target, split).nmse):
                        raise ValueError(f"{network}, {layer}, {target}, {split}: error is not finite")
    return results
