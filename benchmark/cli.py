"""The `gr3d` command. The only module that knows both halves: it hands the figures the function that renders."""

from __future__ import annotations

import functools
import io
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

import assets.errors
import renderer.render
import renderer.run
from assets.catalog import Catalog, load_catalog
from benchmark.console import Folder, with_example
from benchmark.errors import UserError
from benchmark.rcdm.commands import rcdm
from renderer.spec import DEFAULT_SPLITS

if TYPE_CHECKING:
    from benchmark.probes.accuracy import Classification
    from benchmark.probes.results import Results

DATA, RUNS = Path("data/gr3d"), Path("runs")
REGRESSION, PROBE = RUNS / "regression", RUNS / "probe"
MOST_PIXELS = 4096  # along a side of an image from outside

#: Commands that go on where they were stopped.
RESUMING = ("render", "convert", "pack", "regress-latents", "probe", "figure", "demo")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="gr3d")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Where to cut a network: render, train, regress every latent from every layer, plot."""


cli.add_command(rcdm)


@cli.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def render(arguments: Sequence[str]) -> None:
    """Render objects under the seven controlled latents into shards."""
    # The renderer has its own parser: the same one that runs inside a bare Blender, where click is not installed.
    sys.exit(renderer.render.main(arguments))


@with_example("gr3d verify data/gr3d --rerender 20")
@cli.command()
@click.argument("data", type=Folder, default=DATA)
@click.option("--repair", is_flag=True, help="Make every broken shard again, drawing only what of it is lost.")
@click.option("--rerender", type=click.IntRange(min=1), metavar="K", help="Draw K images again, compare their bytes.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides which K.")
@click.option("--objects", metavar="SOURCE", help="Where the objects are [where dataset.json says].")
@click.option("--categories", type=click.Path(path_type=Path), metavar="CSV", help="Their categories [likewise].")
@click.option("--blender", metavar="PATH", help="Blender to draw with [the one that dataset.json names].")
@click.option("--workers", default="auto", show_default=True, help="Processes that draw.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def verify(
    data: Path,
    repair: bool,
    rerender: int | None,
    seed: int,
    objects: str | None,
    categories: Path | None,
    blender: str | None,
    workers: str,
    as_json: bool,
) -> None:
    """Check every shard: checksum, every image decoded, every label derived again. Exit code 1 if any is wrong.

    --repair brings broken shards back to their recorded bytes. --rerender K proves K images by drawing them from
    scratch. Both need the objects, and the Blender, that the dataset was drawn with.
    """
    if is_packed(data):
        verify_packed(data, as_json, repair or rerender)
    from renderer import repair as again
    from renderer import verify as check

    records, notes = check.read_records(data), []
    try:
        plan = check.load_plan(records, objects, categories, renderer.render.models_root())
    except assets.errors.UserError as error:
        if repair or rerender or objects or categories:
            raise
        plan = None
        if records.spec:
            notes.append(f"object and category of the samples were not checked: {error}")
    faults = list(check.verify(records, plan, image_size))
    left, differing, mended = [str(fault) for fault in faults], [], []
    if repair and faults:
        click.echo("\n".join(left), err=True)
        means = again.means(records, blender, workers)
        failures, drawn = again.repair(records, plan, faults, means)
        notes.append(f"{drawn} image{'' if drawn == 1 else 's'} drawn to mend it")
        left = [str(fault) for fault in faults if not fault.broken] + failures
        mended = sorted(
            {fault.shard for fault in faults if fault.broken} - {line.partition(":")[0] for line in failures}
        )
        records = check.read_records(data)
    if rerender:
        means = again.means(records, blender, workers)
        differing = again.rerender(records, plan, rerender, seed, means)
    if as_json:
        listed = [asdict(fault) for fault in faults]
        found = {"faults": listed, "repaired": mended, "left": left, "rerendered": rerender or 0, "differ": differing}
        click.echo(json.dumps({"data": str(data), **found, "notes": notes}))
    else:
        click.echo("\n".join(verify_lines(data, left, mended, rerender, differing, notes)))
    sys.exit(1 if left or differing else 0)


def is_packed(data: Path) -> bool:
    """Whether gr3d pack made it. Read here, so that renders are verified without loading torch."""
    try:
        return json.loads((data / "dataset.json").read_text())["spec"]["layout"] == "packed"
    except (OSError, ValueError, TypeError, KeyError):
        return False


def verify_packed(data: Path, as_json: bool, mend: object) -> None:
    """Check a packed dataset, say what is wrong, and end."""
    from benchmark.data.verify import faults

    if mend:
        raise UserError(
            f"{data}: was packed, not rendered; delete a broken shard and run the same gr3d pack command again", 2
        )
    found = faults(data)
    if as_json:
        click.echo(json.dumps({"data": str(data), "faults": found}))
    else:
        click.echo("\n".join(found or [f"{data}: every shard is whole and right"]))
    sys.exit(1 if found else 0)


def verify_lines(
    data: Path, left: list[str], mended: list[str], rerender: int | None, differing: list[str], notes: list[str]
) -> list[str]:
    """What `gr3d verify` found, in words."""
    lines = [f"{data}/{name}: made whole again" for name in mended]
    lines += [f"{data}/{line}" for line in left] or [f"{data}: every shard is whole and right"]
    if rerender:
        lines += [f"{data}/{line}" for line in differing] or [f"{rerender} images drawn again: the same bytes"]
    return lines + notes


def image_size(image: bytes) -> tuple[int, int]:
    """(width, height) of an image that decodes whole."""
    from PIL import Image

    with Image.open(io.BytesIO(image), formats=["JPEG", "PNG", "WEBP"]) as picture:
        picture.load()
        return picture.size


@with_example("gr3d convert 3diebench downloads/3DIEBench --lists SIE/data --out data/3diebench")
@cli.command()
@click.argument("layout", type=click.Choice(["3diebench"]))
@click.argument("source", type=Folder)
@click.option("--out", type=Folder, required=True, help="Dataset folder to make or to go on with.")
@click.option("--lists", type=Folder, help="Folder of the official train_images.npy and val_images.npy [SOURCE's own].")
@click.option("--splits", default=DEFAULT_SPLITS, show_default=True, help="Shares; with lists, `val` is theirs.")
@click.option("--shard-size", type=int, default=1000, show_default=True, help="Samples per shard.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the splits and the order.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def convert(layout: str, source: Path, out: Path, lists: Path | None, as_json: bool, **options: object) -> None:
    """Turn a published dataset into shards: 3DIEBench, with its hue labels corrected. The same command resumes."""
    from renderer.threediebench.convert import convert as convert_all
    from renderer.threediebench.convert import summary
    from renderer.threediebench.layout import Request

    if lists is None and (source / "train_images.npy").exists():
        lists = source
    report, stopped = convert_all(Request(source, out, lists, **options), decode_jpeg, renderer.run.say)
    click.echo(json.dumps(report) if as_json else summary(out, report))
    if stopped:
        renderer.run.say("stopped; the same command resumes")
    sys.exit(1 if stopped or report["left_out"] or report["problems"] else 0)


def decode_jpeg(image: bytes) -> tuple[int, int]:
    """Width and height of a JPEG of which every pixel decodes. The size is judged before a pixel is."""
    from PIL import Image

    with Image.open(io.BytesIO(image), formats=["JPEG"]) as picture:
        if max(picture.size) > MOST_PIXELS:
            raise ValueError(f"{picture.width} x {picture.height} pixels, the limit is {MOST_PIXELS}")
        picture.load()
        return picture.size


@with_example(
    "gr3d pack fashion-mnist --out data/fashion --limit 2000\n"
    "  gr3d pack imagenet:/data/imagenet --side 128 --list 1percent.txt --out data/imagenet-1"
)
@cli.command()
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
@click.option("--severity", default="1,2,3,4,5", show_default=True, metavar="NUMBERS", help="Of the corruptions.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option("--shard-size", type=int, default=1000, show_default=True, help="Images in a shard.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def pack(
    data: str, out: Path, splits: str | None, corrupt: str | None, severity: str, as_json: bool, **options: object
) -> None:
    """Turn a dataset into shards, each image decoded once. The same command resumes.

    DATASET is a folder of images SPLIT/CLASS/*.jpg, shards of gr3d, or KIND:PATH (docs/data.md). Images that cannot be
    decoded are left out and named; the exit code is then 1.
    """
    from benchmark.data.corruptions import CORRUPTIONS
    from benchmark.data.pack import pack as pack_all

    if not all(number.isdecimal() for number in severity.split(",")):
        raise UserError(f"--severity {severity}: give numbers from 1 to 5, separated by commas", exit_code=2)
    options["severities"] = tuple(map(int, severity.split(",")))
    options["corrupt"] = CORRUPTIONS if corrupt == "all" else tuple(corrupt.split(",")) if corrupt else ()
    report = pack_all(data, out, splits=tuple(splits.split(",")) if splits else None, **options)
    click.echo(json.dumps(asdict(report)) if as_json else "\n".join(report.lines()))
    sys.exit(1 if report.left_out else 0)


@with_example("gr3d samples data/gr3d --out sheet.png\n  gr3d samples --objects sweethome3d:chair")
@cli.command()
@click.argument("data", type=Folder, required=False)
@click.option("--split", help="Split of DATA to show [train].")
@click.option(
    "--objects", help="SOURCE of objects, as in `gr3d render`: render one of them, one latent a row (Figure 8)."
)
@click.option("--object", "object_id", help="Id of that object [the first].")
@click.option("--columns", type=int, help="Images per row [12 of DATA, 8 rendered].")
@click.option("--resolution", type=int, help="Side of a rendered image [128].")
@click.option("--out", type=click.Path(path_type=Path), help="Picture [DATA/contact-sheet.png, samples.png].")
def samples(data: Path | None, split: str | None, columns: int | None, out: Path | None, **sweep: object) -> None:
    """Show a dataset on a contact sheet, one object per row, or what each latent does to one object."""
    if any(value is not None for value in sweep.values()):
        if data or split:
            raise UserError("give DATA (with --split), or --objects, --object and --resolution, not both", exit_code=2)
        out = out or Path("samples")
        draw_sweep(out.with_suffix("") if out.suffix in (".png", ".svg") else out, columns=columns, **sweep)
        return
    from benchmark.figures.contact import contact_sheet

    data = data or DATA
    out = out or (data if data.is_dir() else Path()) / "contact-sheet.png"  # KIND:PATH is no folder
    click.echo(contact_sheet(data, out, split or "train", columns=columns or 12))


def draw_sweep(
    out: Path, objects: str | None, object_id: str | None, columns: int | None = None, resolution: int | None = None
) -> None:
    """Render and draw Figure 8 as out.png, out.svg and out.csv."""
    from benchmark.figures.sweep import plot_sweep
    from renderer.sweep import choose, draw

    catalog, columns = choose(objects, object_id), columns or 8
    written = plot_sweep(
        out, catalog.objects[0].id, columns, lambda folder: draw(catalog, columns, resolution or 128, folder)
    )
    click.echo("\n".join(map(str, (written.png, written.svg, written.csv))))


@with_example("gr3d objects downloads/ --check --sheet downloads.png")
@cli.command()
@click.argument("source", required=False)
@click.option("--categories", type=click.Path(path_type=Path), help="csv with categories of a folder's models.")
@click.option("--check", is_flag=True, help="Import and draw each object; exit code 1 if any would be quarantined.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Picture of the check to write [SOURCE-check.png].")
@click.option("--workers", default="auto", show_default=True, help="Processes for the check (auto: one per core).")
@click.option("--blender", metavar="PATH", help="Blender, or a Python that has bpy, for the check.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def objects(
    source: str | None,
    categories: Path | None,
    check: bool,
    sheet: Path | None,
    workers: str,
    blender: str | None,
    as_json: bool,
) -> None:
    """Say what a source of objects holds, and what its rules leave out; with --check, which of them can be drawn."""
    from collections import Counter

    if sheet and not check:
        raise UserError("--sheet: only with --check", exit_code=2)
    if sheet and sheet.suffix.lower() != ".png":
        raise UserError(f"--sheet {sheet}: name a picture that ends in .png", exit_code=2)
    catalog = load_catalog(source, renderer.render.models_root(), categories)
    if check:
        sys.exit(_check(catalog, sheet, workers, blender, as_json))
    if as_json:
        refs = [asdict(ref) for ref in catalog.objects]
        click.echo(json.dumps({"source": catalog.source, "objects": refs, "left_out": dict(catalog.left_out)}))
        return
    click.echo(f"{catalog.source}: {len(catalog.objects)} objects, {len(catalog.left_out)} left out")
    for title, counts in (
        ("category", Counter(ref.category for ref in catalog.objects)),
        ("family", Counter(ref.family for ref in catalog.objects if ref.family)),
        ("licence", Counter(ref.licence or "unknown" for ref in catalog.objects)),
    ):
        click.echo(f"by {title}: " + ", ".join(f"{name} {count}" for name, count in counts.most_common()))
    for name, reason in catalog.left_out:
        click.echo(f"left out {name}: {reason}")


def _check(catalog: Catalog, sheet: Path | None, workers: str, blender: str | None, as_json: bool) -> int:
    """Check every object, draw the sheet and print the verdicts. Returns the exit code."""
    from assets.names import slug
    from benchmark.figures.check_sheet import Cell, check_sheet
    from renderer.check import check_objects
    from renderer.command import find_blender
    from renderer.spec import catalog_id

    sheet = sheet or Path(f"{slug(catalog_id(catalog)) or 'objects'}-check.png")
    command = find_blender(blender)
    _, seats = renderer.render.give_devices(command, "cycles", "cpu", workers, None)
    with tempfile.TemporaryDirectory(prefix="gr3d-") as scratch:
        verdicts = check_objects(catalog.objects, command, seats, Path(scratch))
        check_sheet([Cell(v.object.id, v.thumbnail, v.reason) for v in verdicts], sheet)
    quarantined = {v.object.id: v.reason for v in verdicts if v.reason}
    if as_json:
        rows = [
            {"id": v.object.id, "path": v.object.path, "ok": not v.reason, "reason": v.reason, "notes": v.notes}
            for v in verdicts
        ]
        report = {"source": catalog.source, "objects": rows, "left_out": dict(catalog.left_out), "sheet": str(sheet)}
        click.echo(json.dumps(report))
        return 1 if quarantined else 0
    for verdict in verdicts:
        word, why = ("quarantined", verdict.reason) if verdict.reason else ("ok", "; ".join(verdict.notes))
        click.echo(f"{word} {verdict.object.id}" + (f": {why}" if why else ""))
    for name, reason in catalog.left_out:
        click.echo(f"left out {name}: {reason}")
    click.echo(
        f"{catalog.source}: {len(verdicts) - len(quarantined)} ok, {len(quarantined)} quarantined, "
        f"{len(catalog.left_out)} left out; {sheet}"
    )
    return 1 if quarantined else 0


@with_example("gr3d train --objective rotation --data data/gr3d --out runs/rotation --epochs 20")
@cli.command()
@click.option("--data", type=Folder, default=DATA, show_default=True, help="Dataset folder; its split `train` is used.")
@click.option(
    "--objective",
    default="simclr",
    show_default=True,
    help="simclr, rotation, barlow-twins, vicreg, byol, supervised (classifies the categories) or latents (regresses "
    "them all, and classifies).",
)
@click.option("--recipe", type=click.Choice(["small", "paper"]), default="small", show_default=True, help="Settings.")
@click.option("--out", type=Folder, help="Run folder [runs/OBJECTIVE].")
@click.option(
    "--arch", help="resnet18, resnet34, resnet50, or vit-s4, s8, s16, b4, b8, b16; for demos t4, t7, t8, t16."
)
@click.option("--stem", help="Of ResNets: imagenet (7x7, stride 2, max-pool) or small (3x3).")
@click.option("--head", help="mlp3 (3 layers of width 2048) or none.")
@click.option("--epochs", type=int, help="Passes over the training split.")
@click.option("--batch", type=int, help="Images per step, over all ranks and parts.")
@click.option("--accumulate", type=int, help="Parts to run a batch in, one after the other, to save memory.")
@click.option("--optimizer", help="adamw, sgd or lars.")
@click.option("--momentum", type=float, help="Of sgd and lars.")
@click.option("--lr", type=float, help="Peak learning rate.")
@click.option(
    "--schedule", help="What it does after the warm-up: cosine, constant, step (a tenth every third) or cyclic."
)
@click.option("--weight-decay", type=float, help="Not of biases, norms and position embeddings.")
@click.option("--warmup", type=float, help="Share of the steps with rising learning rate; of cyclic, up to the peak.")
@click.option(
    "--positives",
    metavar="KIND|FILE",
    help="What the second view shows: the same image (augmentation), another of its class (class), or one of its "
    "neighbours (a FILE of gr3d neighbours) [augmentation].",
)
@click.option("--temperature", type=float, help="SimCLR's.")
@click.option("--redundancy", type=float, help="Barlow Twins' lambda.")
@click.option("--vicreg", type=float, nargs=3, help="VICReg's weights of invariance, variance, covariance.")
@click.option("--ema", type=float, help="BYOL: momentum of the teacher at the beginning; it rises to 1.")
@click.option("--crop-scale", type=float, help="Smallest crop, as a share of the area.")
@click.option(
    "--flip/--no-flip",
    default=None,
    help="Mirror images [photographs: yes; renders: no, as it falsifies the rotation].",
)
@click.option("--seed", type=int, help="Of weights, order and augmentations.")
@click.option("--precision", help="auto, bf16 or fp32.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--table", default="auto", show_default=True, help="Where decoded images are: ram, mmap, device or auto, by size."
)
@click.option("--compile", default="auto", show_default=True, help="on, off, or auto: on a single CUDA device.")
@click.option("--deterministic", is_flag=True, help="The same bits every time, also on CUDA; slower there.")
@click.option("--online-probes/--no-online-probes", default=True, help="Read every layer during training [on].")
@click.option("--checkpoint-minutes", type=float, default=2, show_default=True, help="Between checkpoints.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint, if there is one.")
def train(
    data: Path,
    objective: str,
    recipe: str,
    out: Path | None,
    device: str,
    table: str,
    compile: str,
    deterministic: bool,
    online_probes: bool,
    checkpoint_minutes: float,
    resume: bool,
    crop_scale: float | None,
    flip: bool | None,
    positives: str | None,
    **options: object,
) -> None:
    """Train a network on a dataset's split `train`. What is not given comes from the objective's recipe.

    On several GPUs or nodes: torchrun --nproc-per-node N -m benchmark.cli train ... (docs/training.md).
    """
    from dataclasses import replace

    from benchmark import distributed
    from benchmark.data.table import count_images, glance
    from benchmark.objectives import OBJECTIVES
    from benchmark.recipes import RECIPES, batch_for, suited
    from benchmark.training import TrainConfig
    from benchmark.training import train as run_training
    from benchmark.training.config import with_views
    from benchmark.training.positives import AUGMENTATION, CLASS

    if objective not in OBJECTIVES:
        raise UserError(f"--objective {objective}: choose one of {', '.join(OBJECTIVES)}", exit_code=2)
    given = {name: value for name, value in options.items() if value is not None}
    neighbours = None
    if positives in (AUGMENTATION, CLASS):
        given["positives"] = positives
    elif positives is not None:
        neighbours = Path(positives)
        if not neighbours.is_file():
            raise UserError(
                f"--positives {positives}: neither {AUGMENTATION} nor {CLASS}, nor a file; make one with gr3d "
                "neighbours",
                exit_code=2,
            )
    run = with_views(replace(RECIPES[recipe][objective], **given), crop_scale, flip)
    if run.optimizer != RECIPES[recipe][objective].optimizer and "lr" not in given:
        raise UserError(f"--optimizer {run.optimizer}: give its --lr, too; the recipe's suits another", exit_code=2)
    if run.optimizer == "adamw" and "momentum" in given:
        raise UserError("--momentum: only with --optimizer sgd or lars", exit_code=2)
    changes = []
    if (seen := glance(data, "train")) is not None:
        decided = {*given, *(["flip"] if flip is not None else [])}
        run, changes = suited(run, decided, photographs=not seen[0], side=min(seen[1]))
    if "batch" not in given:
        run = replace(run, batch=batch_for(count_images(data, "train"), run.batch))
    out = out or RUNS / objective
    if distributed.is_main():
        click.echo(
            f"{objective} on {data} into {out}: {run.arch}, stem {run.stem}, head {run.head}, {run.epochs} epochs, "
            f"batch {run.batch}, {run.optimizer}, lr {run.lr:g} ({run.schedule}), weight decay {run.weight_decay:g}, "
            f"positives {positives or run.positives} (recipe {recipe})",
            err=True,
        )
        if changes:
            click.echo(f"{data}: photographs (no latents), so: {', '.join(changes)}", err=True)
    how = {"device": device, "table": table, "compile": compile, "deterministic": deterministic}
    how["online_probes"] = online_probes
    config = TrainConfig(
        run=run, data=data, out=out, neighbours=neighbours, checkpoint_seconds=60 * checkpoint_minutes, **how
    )
    run_training(config, resume=resume)


@with_example(
    "gr3d neighbours --data data/photos --run runs/simclr --k 10 --out neighbours.npz\n"
    "  gr3d train --data data/photos --positives neighbours.npz --out runs/neighbours"
)
@cli.command()
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
    search is exhaustive and exact.
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


@with_example(
    "gr3d regress-latents runs/simclr runs/rotation --data data/gr3d --out runs/regression\n"
    "  gr3d regress-latents runs/simclr --model timm:resnet50=resnet50.safetensors --model torchvision:vit_b_16=random"
)
@cli.command("regress-latents")
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


@with_example(
    "gr3d probe runs/simclr runs/supervised --data fashion-mnist --out runs/probe\n"
    "  gr3d probe runs/supervised --data data/imagenet --judge fog=data/imagenet-c@fog_3\n"
    "  gr3d plot runs/probe"
)
@cli.command()
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


@with_example("gr3d plot runs/regression --out figures/figure2\n  gr3d plot runs/probe\n  gr3d plot runs/simclr")
@cli.command()
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


@with_example(
    "gr3d figure 1 --scale small --data cifar10:downloads\n  gr3d figure 2 --scale small --objects sweethome3d"
)
@cli.command()
@click.argument("name", required=False)
@click.option("--list", "as_list", is_flag=True, help="List the figures and their scales.")
@click.option("--scale", default="demo", show_default=True, help="How large a run: demo, small or paper.")
@click.option("--data", metavar="DATASET", help="Images to train on, a folder or KIND:PATH [the scale's own].")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="DATASET",
    help="Figures 3c, 4, 6, 12, table1: a further dataset to judge on; may be repeated [the scale's own].",
)
@click.option("--seeds", type=click.IntRange(min=1), help="How many runs of each network [the scale's own].")
@click.option("--dry-run", is_flag=True, help="Say what it would cost: steps, images, estimated hours.")
@click.option("--out", type=Folder, help="Folder for everything [runs/figureNAME-SCALE].")
@click.option("--objects", help="Figures 2, 7, 8: SOURCE of objects, as in `gr3d render` [the scale's own].")
@click.option("--object", "object_id", help="Figure 8: the object to show [the first].")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
def figure(
    name: str | None,
    as_list: bool,
    scale: str,
    data: str | None,
    tasks: tuple[str, ...],
    seeds: int | None,
    dry_run: bool,
    out: Path | None,
    objects: str | None,
    object_id: str | None,
    device: str,
) -> None:
    """Make a figure or table of the paper, from data to plot. The same command resumes what was stopped."""
    if as_list:
        from benchmark.figures.catalog import listed

        click.echo("\n".join(listed()))
        return
    if name in ("2", "7", "8"):
        refused = {"--task": tasks, "--dry-run": dry_run}
        refused |= {} if name == "7" else {"--data": data}
        refused |= {} if name == "2" else {"--seeds": seeds}
        if other := [option for option, given in refused.items() if given]:
            raise UserError(f"{other[0]}: not of figure {name}", exit_code=2)
        if name == "8":
            draw_sweep((out or RUNS / "figure8") / "figure8", objects, object_id)
        elif name == "7":
            click.echo("\n".join(make_figure7(scale, data, objects, out, device)))
        else:
            click.echo("\n".join(make_figure2(scale, objects, seeds, out, device)))
        return
    if other := [option for option, given in (("--objects", objects), ("--object", object_id)) if given]:
        raise UserError(f"{other[0]}: only with figures 2, 7 and 8; others take --data", exit_code=2)
    from benchmark.figures.catalog import find, folder_name
    from benchmark.figures.cost import cost_lines
    from benchmark.figures.scales import Setting
    from benchmark.figures.study import make

    wanted = find(name, scale)
    setting = Setting(scale, data, tasks, seeds, dry_run)
    study = wanted.study(setting)
    if dry_run:
        click.echo("\n".join(cost_lines(study, device)))
        return
    out = out or RUNS / folder_name(name, wanted, setting)
    click.echo("\n".join(make(name, wanted, study, out, renderer.render.main, device)))


def make_figure2(scale: str, objects: str | None, seeds: int | None, out: Path | None, device: str) -> list[str]:
    """Figure 2; returns the lines to print."""
    from dataclasses import replace

    from benchmark.figures.figure2 import SCALES, figure2

    if scale not in SCALES:
        raise UserError(f"--scale {scale}: figure 2 has {', '.join(SCALES)}", exit_code=2)
    chosen = replace(SCALES[scale], seeds=seeds or SCALES[scale].seeds)
    return figure2(out or RUNS / f"figure2-{scale}", chosen, objects, renderer.render.main, device)


def make_figure7(scale: str, data: str | None, objects: str | None, out: Path | None, device: str) -> list[str]:
    """Figure 7; returns the lines to print."""
    from benchmark.figures.figure7 import SCALES, figure7

    if scale not in SCALES:
        raise UserError(f"--scale {scale}: figure 7 has {', '.join(SCALES)}", exit_code=2)
    if data and objects:
        raise UserError("--objects: what to render; not with --data", exit_code=2)
    return figure7(out or RUNS / f"figure7-{scale}", SCALES[scale], data, objects, renderer.render.main, device)


@with_example("gr3d demo --out demo")
@cli.command()
@click.option("--out", type=Folder, default=Path("demo"), show_default=True, help="Folder for everything.")
@click.pass_context
def demo(context: click.Context, out: Path) -> None:
    """Figure 2 end to end on built-in objects, in minutes on two CPU cores."""
    context.invoke(figure, name="2", scale="demo", out=out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every error is one line, never a traceback (unless `gr3d --debug`)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    fail = functools.partial(click.echo, err=True)
    try:
        sys.exit(cli.main(arguments, prog_name="gr3d", standalone_mode=False) or 0)
    except click.ClickException as error:
        usage = error.ctx.command_path if getattr(error, "ctx", None) else "gr3d"
        fail(f"{usage}: {error.format_message()} (see {usage} --help)")
        sys.exit(2)
    except (UserError, assets.errors.UserError) as error:
        if "--debug" in arguments:
            raise
        fail(f"gr3d: {error}")
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        fail(f"gr3d: {stopped(arguments)}")
        sys.exit(1)
    except OSError as error:
        if "--debug" in arguments or error.filename is None:
            raise
        fail(f"gr3d: {error.filename}: {error.strerror}")
        sys.exit(1)


def stopped(arguments: Sequence[str]) -> str:
    """What is said of a command line that was interrupted."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    return "stopped; " + ("the same command resumes" if command in RESUMING else "nothing was written")


def run_rank() -> None:
    """``main`` for `python -m benchmark.cli`, which is what torchrun starts."""
    try:
        main()
    except SystemExit as end:
        if distributed := sys.modules.get("benchmark.distributed"):  # else nothing was distributed
            distributed.end_process(end.code)
        raise


if __name__ == "__main__":
    run_rank()
