"""`gr3d plot`: results as figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from benchmark.commands.common import REGRESSION, with_example
from benchmark.errors import UserError


@with_example("gr3d plot runs/regression --out figures/figure2\n  gr3d plot runs/probe\n  gr3d plot runs/simclr")
@click.command()
@click.argument("results", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Figure, without ending [RESULTS/figure2 or accuracy, RUN/online]."
)
@click.option("--split", help="Of regressions: val (new objects) or val_views [val, if the results have it].")
@click.option("--each-seed", is_flag=True, help="Draw runs that differ in the seed alone one by one, not their mean.")
def plot(results: Sequence[Path], out: Path | None, split: str | None, each_seed: bool) -> None:
    """Draw error per layer, one panel per latent (Figure 2), as png and svg, with the numbers as csv.

    Of results of gr3d probe: accuracy per layer, one panel per split that judged (Figures 1 and 9). Of a run of gr3d
    train: what its online probes read from every layer, epoch by epoch (Figure 11).
    """
    from benchmark.figures.accuracy import plot_accuracy
    from benchmark.figures.epochs import plot_epochs
    from benchmark.figures.layers import plot_layers
    from benchmark.probes.accuracy import (
        averaged_over_seeds,
        is_classification,
        load_classification,
        merge_classifications,
    )
    from benchmark.probes.results import load_results, merge_results
    from benchmark.probes.seeds import averaged

    if not results:
        results = [REGRESSION]
        click.echo(f"results: {REGRESSION}", err=True)
    if runs := [path for path in results if (path / "config.json").is_file()]:
        if len(results) > 1 or split:
            raise UserError(
                f"{runs[0]}: a run's epochs are drawn alone, one run at a time, without --split", exit_code=2
            )
        written = plot_epochs(runs[0], out or runs[0] / "online")
        click.echo("\n".join(map(str, (written.png, written.svg, written.csv))))
        return
    folder = results[0] if results[0].is_dir() else results[0].parent
    if any(map(is_classification, results)):
        if split:
            raise UserError("--split: results of gr3d probe are drawn for all their splits", exit_code=2)
        found = merge_classifications([load_classification(path) for path in results])
        written = plot_accuracy(found if each_seed else averaged_over_seeds(found), out or folder / "accuracy")
        click.echo("\n".join(map(str, (written.png, written.svg, written.csv))))
        return
    merged = merge_results([load_results(path) for path in results])
    written = plot_layers(merged if each_seed else averaged(merged), out or folder / "figure2", split=split)
    click.echo("\n".join(map(str, (written.png, written.svg, written.csv))))
