"""`gr3d regress-latents`, `gr3d probe` and `gr3d neighbours`: what layers know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmark.commands.common import DATA, PROBE, REGRESSION, RUNS, Folder, with_example
from benchmark.commands.networks import all_subjects, foreign_subjects, network_options
from benchmark.errors import UserError

if TYPE_CHECKING:
    from benchmark.probes.accuracy import Classification
    from benchmark.probes.results import Results


@with_example(
    "gr3d neighbours --data data/photos --run runs/simclr --k 10 --out neighbours.npz\n"
    "  gr3d train --data data/photos --positives neighbours.npz --out runs/neighbours"
)
@click.command()
@click.option("--data", type=Folder, default=DATA, show_default=True, help="Dataset folder; its split `train` is read.")
@click.option("--run", type=Folder, help="Run of gr3d train whose network finds them.")
@click.option("--model", metavar="NAME[=FILE]", help="Or a network of others, as for gr3d regress-latents.")
@click.option("--layer", default="trunk", show_default=True, help="Whose features are compared.")
@click.option("--k", type=int, default=10, show_default=True, help="Neighbours of an image.")
@click.option("--side", type=click.IntRange(min=1), help="Side that images are resized to for --model.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=RUNS / "neighbours.npz",
    show_default=True,
    help="File.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def neighbours(
    data: Path,
    run: Path | None,
    model: str | None,
    layer: str,
    k: int,
    side: int | None,
    out: Path,
    device: str,
    as_json: bool,
) -> None:
    """Find the nearest images of each image of a dataset's split `train`, for gr3d train --positives.

    Nearest is what has the highest cosine between features of the whole images; no image is its own neighbour. The
    search is exhaustive, and exact where cosines lie further apart than float32 tells (1e-6).
    """
    from benchmark.probes.neighbours import neighbours_file, sentence
    from benchmark.probes.subjects import trained

    if (run is None) == (model is None):
        raise UserError("give --run RUN or --model NAME=FILE: the network that finds the neighbours", exit_code=2)
    if side and run:
        raise UserError("--side: only with --model", exit_code=2)
    if run:
        name, subject = run.resolve().name, trained(run)
    else:  # the first of them: the untrained control of the one asked for comes after it
        found = foreign_subjects(data, "stage", [model], weights=None, random=False, seed=0, side=side)
        name, subject = next(iter(found.items()))
    report = neighbours_file(name, subject, data, k, out, layer=layer, device=device)
    click.echo(json.dumps(report) if as_json else sentence(report))


@with_example(
    "gr3d regress-latents runs/simclr runs/rotation --data data/gr3d --out runs/regression\n"
    "  gr3d regress-latents runs/simclr --model timm:resnet50=resnet50.safetensors --model torchvision:vit_b_16=random"
)
@click.command("regress-latents")
@click.argument("runs", nargs=-1, type=Folder)
@click.option("--data", type=Folder, default=DATA, show_default=True, help="Dataset folder.")
@click.option("--out", type=Folder, default=REGRESSION, show_default=True, help="Folder for the results.")
@network_options
@click.option("--fit-on", default="probe", show_default=True, help="Split that fits the regressors.")
@click.option("--pool", type=int, default=1, show_default=True, help="Side of the averaging grid: 1, 2 or 4.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--each-seed", is_flag=True, help="Show runs that differ in the seed alone one by one, not their mean.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def regress_latents(
    runs: Sequence[Path],
    data: Path,
    out: Path,
    fit_on: str,
    pool: int,
    device: str,
    each_seed: bool,
    as_json: bool,
    granularity: str,
    **foreign: object,
) -> None:
    """Fit a linear regressor from every layer of RUNS and foreign networks to every latent; say where to cut.

    With neither, all runs in runs/ are read. Beside them stand controls: the same networks untrained, and pooled
    pixels. Nothing in a FILE is executed. Stopped, it goes on after the last network and split that it finished.
    """
    from benchmark.probes.parts import Parts
    from benchmark.probes.regress import regress_latents as regress

    subjects = all_subjects(runs, data, granularity, **foreign)
    with Parts(out) as parts:
        results = regress(subjects, data, fit_on=fit_on, pool=pool, device=device, parts=parts)
        paths = results.save(out)
    click.echo(regression_report(results, each_seed, as_json, paths))


def regression_report(results: Results, each_seed: bool, as_json: bool, paths: Sequence[Path]) -> str:
    """What `gr3d regress-latents` prints."""
    from benchmark.probes.recommend import recommendations
    from benchmark.probes.seeds import averaged
    from benchmark.probes.summary import as_json as found_as_json
    from benchmark.probes.summary import conclusions, format_recommendations, format_table

    shown = results if each_seed else averaged(results)
    if as_json:
        found = [found_as_json(found) for found in recommendations(shown, shown.judged(None))]
        means = [asdict(row) for row in shown.rows if shown.seeds(row.network) > 1]
        report = {"recommendations": found, "means_over_seeds": means, "files": list(map(str, paths))}
        return json.dumps({**results.document(), **report})
    parts = [format_table(shown), "", format_recommendations(shown), "", *conclusions(shown), "", *map(str, paths)]
    return "\n".join(parts)


@with_example(
    "gr3d probe runs/simclr runs/supervised --data fashion-mnist --out runs/probe\n"
    "  gr3d probe runs/supervised --data data/imagenet --judge fog=data/imagenet-c@fog_3\n"
    "  gr3d plot runs/probe"
)
@click.command()
@click.argument("runs", nargs=-1, type=Folder)
@click.option("--data", metavar="DATASET", default=str(DATA), show_default=True, help="Folder, or KIND:PATH.")
@click.option("--out", type=Folder, default=PROBE, show_default=True, help="Folder for the results.")
@network_options
@click.option("--fit-on", metavar="SPLIT", help="Split that fits the classifiers [probe, without one train].")
@click.option(
    "--judge",
    "judge_on",
    multiple=True,
    metavar="NAME=DATASET[@SPLIT]",
    help="Judge the same classifiers on another dataset of the same classes, too; may be repeated "
    "[its split val, without one all].",
)
@click.option("--pool", type=int, default=1, show_default=True, help="Side of the averaging grid: 1, 2 or 4.")
@click.option(
    "--solver",
    default="exact",
    show_default=True,
    help="exact, or sgd: a grid of learning rates in a few passes, for sets whose features fit nowhere.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Passes of --solver sgd [10].")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--each-seed", is_flag=True, help="Show runs that differ in the seed alone one by one, not their mean.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def probe(
    runs: Sequence[Path],
    data: str,
    out: Path,
    fit_on: str | None,
    judge_on: Sequence[str],
    pool: int,
    solver: str,
    epochs: int | None,
    device: str,
    each_seed: bool,
    as_json: bool,
    granularity: str,
    **foreign: object,
) -> None:
    """Classify from every layer of RUNS and foreign networks by exact logistic regression; say where to cut.

    With neither, all runs in runs/ are read. Beside them stand controls: the same networks untrained, and pooled
    pixels. Nothing in a FILE is executed. Stopped, it goes on after the last network and split that it finished.
    """
    from benchmark.probes import classify
    from benchmark.probes.parts import Parts

    if epochs and solver != "sgd":
        raise UserError("--epochs: only with --solver sgd", exit_code=2)
    how = {"fit_on": fit_on, "judge_on": judged_sets(judge_on), "solver": solver, "pool": pool, "device": device}
    if epochs:
        how["epochs"] = epochs
    subjects = all_subjects(runs, data, granularity, **foreign)
    with Parts(out) as parts:
        found = classify.probe(subjects, data, **how, parts=parts)
        paths = found.save(out)
    click.echo(probe_report(found, each_seed, as_json, paths))


def judged_sets(texts: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """{NAME: (DATASET, SPLIT or None)} of NAME=DATASET[@SPLIT] each."""
    sets = {}
    for text in texts:
        name, _, rest = text.partition("=")
        dataset, at, split = rest.rpartition("@")
        if not at or "/" in split:  # a folder may have an @ in its name
            dataset, split = rest, ""
        if not name or not dataset or name in sets:
            raise UserError(f"--judge {text}: say NAME=DATASET or NAME=DATASET@SPLIT, each NAME once", exit_code=2)
        sets[name] = dataset, split or None
    return sets


def probe_report(found: Classification, each_seed: bool, as_json: bool, paths: Sequence[Path]) -> str:
    """What `gr3d probe` prints."""
    from benchmark.probes.accuracy import averaged_over_seeds
    from benchmark.probes.accuracy_table import as_json as cut_as_json
    from benchmark.probes.accuracy_table import cuts_in_words, format_accuracies

    shown = found if each_seed else averaged_over_seeds(found)
    if as_json:
        cuts = [cut_as_json(shown, name, *place) for place in shown.judged for name in shown.subjects]
        means = [asdict(row) for row in shown.rows if shown.seeds(row.network) > 1]
        report = {"recommendations": cuts, "means_over_seeds": means, "files": list(map(str, paths))}
        return json.dumps({**found.document(), **report})
    return "\n".join([format_accuracies(shown), "", *cuts_in_words(shown), "", *map(str, paths)])
