"""The `gr3d` command, and those of its commands that need the renderer: the only module that knows both halves."""

from __future__ import annotations

import functools
import io
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

import assets.errors
import renderer.render
import renderer.run
from assets.catalog import Catalog, load_catalog
from benchmark.commands.common import DATA, RUNS, Folder, with_example
from benchmark.commands.pack import pack
from benchmark.commands.plot import plot
from benchmark.commands.probe import neighbours, probe, regress_latents
from benchmark.commands.rcdm import rcdm
from benchmark.commands.train import train
from benchmark.errors import UserError
from renderer.spec import DEFAULT_SPLITS

MOST_PIXELS = 4096  # along a side of an image from outside

#: Commands that go on where they were stopped.
RESUMING = ("render", "convert", "pack", "regress-latents", "probe", "figure", "demo")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="gr3d")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Where to cut a network: render, train, regress every latent from every layer, plot."""


for command in (pack, train, neighbours, regress_latents, probe, plot, rcdm):
    cli.add_command(command)


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
