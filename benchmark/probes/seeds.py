"""Runs that differ in the seed alone, taken together: the mean over seeds and its deviation."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, stdev

from benchmark.probes.results import Gaps, Networks, Results, Row

_NOT_COMPARED = ("config", "weights")  # what may differ between seeds; of the config, the seed alone


def averaged(results: Results) -> Results:
    """Each group of networks that differ in the seed alone as one network, in the place of its first; the others as
    they are.

    Its errors are means over the seeds, and low and high that mean less and plus the standard deviation (n - 1) over
    the seeds: how far another seed may lie. It says of a layer that it is worse than another only if each of its runs
    does: the lower end of a gap is the smallest of the runs'.
    """
    networks: dict[str, dict] = {}
    rows: list[Row] = []
    gaps: list[Gaps] = []
    for members in groups(results):
        name = members[0] if len(members) == 1 else name_of(members, results)
        networks[name] = described(members, results)
        first = [row for row in results.rows if row.network == members[0]]
        rows += first if len(members) == 1 else [_mean_row(name, row, members, results) for row in first]
        theirs = [their for their in results.gaps if their.network == members[0]]
        gaps += theirs if len(members) == 1 else [_least(name, their, members, results) for their in theirs]
    return Results(tuple(rows), {**results.info, "networks": networks}, tuple(gaps))


def groups(results: Networks) -> list[list[str]]:
    """The networks, those that differ in the seed alone together."""
    found: dict[str, list[str]] = {}
    for name, network in results.info["networks"].items():
        config = dict(network.get("config") or {})
        seed = config.pop("seed", None)
        same = {key: value for key, value in network.items() if key not in _NOT_COMPARED}
        key = json.dumps([same, config], sort_keys=True, default=str) if seed is not None else f"alone {name}"
        # A second run of the same seed is no further seed: it stands alone.
        if seed in [_seed(results, other) for other in found.get(key, ())]:
            key = f"alone {name}"
        found.setdefault(key, []).append(name)
    return list(found.values())


def _seed(results: Networks, name: str) -> object:
    return results.info["networks"][name]["config"].get("seed")


def name_of(members: Sequence[str], results: Networks) -> str:
    """`simclr` for simclr-0 and simclr-1, or for simclr-seed0 and simclr-seed1; else the first one's."""
    stems = {re.sub(r"[-_. ]*(seed|s)?[-_. ]*\d+$", "", name) for name in members}
    stem = stems.pop() if len(stems) == 1 else ""
    return stem if stem and stem not in set(results.networks) - set(members) else members[0]


def described(members: Sequence[str], results: Networks) -> dict:
    """What `info["networks"]` says of them as one."""
    network = results.info["networks"][members[0]]
    if len(members) == 1:
        return network
    config = {key: value for key, value in network["config"].items() if key != "seed"}
    seeds = [_seed(results, name) for name in members]
    return {**network, "config": config, "seeds": seeds, "members": list(members)}


def _mean_row(name: str, row: Row, members: Sequence[str], results: Results) -> Row:
    rows = [results.row(member, row.layer, row.target, row.split) for member in members]
    error, deviation = mean(r.nmse for r in rows), stdev(r.nmse for r in rows)
    return replace(
        row,
        network=name,
        mse=None if row.mse is None else mean(r.mse for r in rows),
        nmse=error,
        r2=1 - error,
        alpha=None,
        degrees=None if row.degrees is None else mean(r.degrees for r in rows),
        low=error - deviation,
        high=error + deviation,
    )


def _least(name: str, gaps: Gaps, members: Sequence[str], results: Results) -> Gaps:
    theirs = [g.low for g in results.gaps if g.network in members and (g.target, g.split) == (gaps.target, gaps.split)]
    low = tuple(tuple(map(min, *lines)) for lines in zip(*theirs, strict=True))
    return replace(gaps, network=name, low=low)
