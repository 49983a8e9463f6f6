"""`gr3d pack`: any dataset as shards."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from benchmark.commands.common import Folder, with_example
from benchmark.errors import UserError


@with_example(
    "gr3d pack fashion-mnist --out data/fashion --limit 2000\n"
    "  gr3d pack imagenet:/data/imagenet --side 128 --list 1percent.txt --out data/imagenet-1"
)
@click.command()
@click.argument("data", metavar="DATASET")
@click.option("--out", type=Folder, required=True, help="Folder to make or to go on with.")
@click.option("--side", type=int, help="Scale the middle square of every image to this side [files as they are].")
@click.option("--splits", metavar="NAMES", help="Splits to pack, separated by commas [all].")
@click.option("--share", type=float, help="Share of the images of every class in `train`.")
@click.option("--per-class", type=int, help="Number of images of every class in `train`.")
@click.option(
    "--list", type=click.Path(path_type=Path), metavar="FILE", help="Names of the images in `train`, one a line."
)
@click.option(
    "--classes",
    type=int,
    metavar="K",
    help="K random classes as train and val; six times K others as ood1_train, ood1, ... (Figure 3b).",
)
@click.option("--limit", type=int, help="Images of every split, at most; the classes in equal parts.")
@click.option(
    "--corrupt",
    metavar="NAMES",
    help="Corruptions of ImageNet-C to draw on split `val`, separated by commas, or `all`; each becomes a split.",
)
@click.option("--severity", metavar="NUMBERS", help="Of the corruptions, separated by commas [1,2,3,4,5].")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option("--shard-size", type=int, default=1000, show_default=True, help="Images in a shard.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def pack(
    data: str,
    out: Path,
    splits: str | None,
    corrupt: str | None,
    severity: str | None,
    as_json: bool,
    **options: object,
) -> None:
    """Turn a dataset into shards, each image decoded once. The same command resumes.

    DATASET is a folder of images SPLIT/CLASS/*.jpg, shards of gr3d, or KIND:PATH (docs/data.md). Images that cannot be
    decoded are left out and named; the exit code is then 1.
    """
    from benchmark.data.corruptions import CORRUPTIONS
    from benchmark.data.pack import pack as pack_all

    if severity is not None:
        if corrupt is None:
            raise UserError("--severity: says how far to corrupt; give --corrupt, too", exit_code=2)
        if not all(number.isdecimal() for number in _names("--severity", severity)):
            raise UserError(f"--severity {severity}: give numbers from 1 to 5, separated by commas", exit_code=2)
        options["severities"] = tuple(map(int, severity.split(",")))
    if corrupt is not None:
        options["corrupt"] = CORRUPTIONS if corrupt == "all" else _names("--corrupt", corrupt)
    if splits is not None:
        options["splits"] = _names("--splits", splits)
    report = pack_all(data, out, **options)
    click.echo(json.dumps(asdict(report)) if as_json else "\n".join(report.lines()))
    sys.exit(1 if report.left_out else 0)


def _names(option: str, text: str) -> tuple[str, ...]:
    """What stands between the commas. UserError (wrong usage) where that is nothing."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise UserError(f"{option} {text!r}: give names separated by commas, without empty ones", exit_code=2)
    return names
