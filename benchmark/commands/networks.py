"""The networks that probes read: runs of ours, networks of others, and the controls beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from benchmark.commands.common import RUNS
from benchmark.errors import UserError


def network_options(command: Callable) -> Callable:
    """The options of commands that read runs and networks of others: which, and at which layers."""
    options = [
        click.option(
            "--model",
            "models",
            multiple=True,
            metavar="NAME[=FILE]",
            help="timm:NAME or torchvision:NAME; may be repeated. FILE: its weights (safetensors, or a state dict "
            "saved by torch, also in a checkpoint); `random` for none. Without: --weights, --random, or the library's "
            "pretrained ones.",
        ),
        click.option(
            "--weights", type=click.Path(path_type=Path, dir_okay=False), help="FILE of the one --model without."
        ),
        click.option("--random", is_flag=True, help="Each --model without FILE is read untrained."),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of untrained --models."),
        click.option(
            "--side",
            type=click.IntRange(min=1),
            help="Side that images are resized to for each --model [the dataset's; its own if it cannot take that].",
        ),
        click.option(
            "--granularity",
            type=click.Choice(["stage", "block"]),
            default="stage",
            show_default=True,
            help="Layers between stem and trunk: stages, or every block.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def all_subjects(runs: Sequence[Path], data: str | Path, granularity: str, **foreign: object) -> dict:
    """What a probe reads: the networks of `runs` (without any, of all in runs/) and of --model, and the controls."""
    from benchmark.probes.subjects import pixels8

    if not foreign["models"] and (given := [name for name in ("weights", "random", "side") if foreign[name]]):
        raise UserError(f"--{given[0]}: only with --model", exit_code=2)
    if not runs and not foreign["models"]:
        runs = sorted(path.parent for path in RUNS.glob("*/config.json"))
        click.echo(f"runs: {', '.join(map(str, runs)) or 'none'}; data: {data}", err=True)
        if not runs:
            raise UserError(f"no runs named, and none in {RUNS}/: train one first (gr3d train)", exit_code=2)
    return {
        **run_subjects(runs, granularity),
        **foreign_subjects(data, granularity, **foreign),
        "pixels 8x8": pixels8(),
    }


def run_subjects(runs: Sequence[Path], granularity: str) -> dict:
    """The networks of `runs` as benchmark.probes reads them, and the same untrained."""
    from benchmark.probes.subjects import trained, untrained

    names = {run.resolve().name: run for run in runs}
    if len(names) < len(runs):
        raise UserError("two of the runs have the same folder name; rename one", exit_code=2)
    subjects = {name: trained(run, granularity) for name, run in names.items()}
    # Runs that began alike share their untrained network.
    for name, run in names.items():
        begun = untrained(run, granularity)
        if not any(
            is_same_network(begun.config, subjects[other].config) for other in list(names)[: list(names).index(name)]
        ):
            subjects["untrained" if "untrained" not in subjects else f"untrained {name}"] = begun
    return subjects


def foreign_subjects(data: str | Path, granularity: str, models: Sequence[str], **options: object) -> dict:
    """The networks that --model names, and the same untrained."""
    if not models:
        return {}
    from benchmark.data.table import read_dataset_info
    from benchmark.probes.subjects import foreign, foreign_requests

    resolution = read_dataset_info(data)["spec"].get("resolution")
    requests = foreign_requests(models, granularity=granularity, **options)
    return {name: foreign(name, request, resolution) for name, request in requests.items()}


def is_same_network(one: dict, other: dict) -> bool:
    """Whether two runs' networks had the same weights before training."""
    return all(one.get(name) == other.get(name) for name in ("arch", "stem", "head", "seed"))
