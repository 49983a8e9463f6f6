"""`gr3d rcdm`: train diffusion models that show what a layer keeps, and draw from them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from benchmark.commands.common import Folder, with_example
from benchmark.errors import UserError


@with_example(
    "gr3d rcdm train runs/simclr --layer all --data data/gr3d\n"
    "  gr3d rcdm sample runs/simclr --layers all --images 6 --data data/gr3d"
)
@click.group()
def rcdm() -> None:
    """See what a layer keeps: samples of a diffusion model that is told the layer alone (Figure 7)."""


@with_example(
    "gr3d rcdm train runs/simclr --layer trunk --data data/gr3d\n"
    "  gr3d rcdm train runs/simclr --layer trunk --layer head3 --data data/gr3d --side 32 --epochs 100"
)
@rcdm.command()
@click.argument("run", type=Folder)
@click.option(
    "--layer",
    "layers",
    multiple=True,
    default=("trunk",),
    show_default=True,
    help="Layer of RUN's network, or all. Several give one model, which is told one of them at a time.",
)
@click.option("--data", metavar="DATASET", required=True, help="Images to learn to draw: folder, or KIND:PATH.")
@click.option("--split", default="train", show_default=True, help="Of the images.")
@click.option("--out", type=Folder, help="Folder of the model [RUN/rcdm/LAYER].")
@click.option("--side", type=int, help="Of what it draws, in pixels: 32, 64 or 128 [64].")
@click.option("--patch", type=int, help="Fold squares of 1, 2 or 4 pixels into channels: coarser, but faster [1].")
@click.option("--width", type=int, help="Channels of the U-Net's first level, a multiple of 32 [64].")
@click.option("--epochs", type=int, help="Passes over the images [40].")
@click.option("--batch", type=int, help="Images per step, over all ranks [64].")
@click.option("--lr", type=float, help="Peak learning rate [3e-4].")
@click.option("--seed", type=int, help="Of weights, order and noise [0].")
@click.option("--precision", help="auto, bf16 or fp32.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--table", default="auto", show_default=True, help="Where decoded images are: ram, mmap, device or auto, by size."
)
@click.option("--deterministic", is_flag=True, help="The same bits every time, also on CUDA; slower there.")
@click.option("--checkpoint-minutes", type=float, default=2, show_default=True, help="Between checkpoints.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint, if there is one.")
def train(
    run: Path,
    layers: Sequence[str],
    data: str,
    split: str,
    out: Path | None,
    device: str,
    table: str,
    deterministic: bool,
    checkpoint_minutes: float,
    resume: bool,
    **options: object,
) -> None:
    """Train a diffusion model that is told what one layer of RUN's network makes of an image.

    Any images do, the network's own or others, as ImageNet's face-blurred release (imagenet:PATH). On several GPUs:
    torchrun --nproc-per-node N -m benchmark.cli rcdm train ...
    """
    from benchmark import distributed
    from benchmark.rcdm.config import DiffusionConfig, DiffusionTraining
    from benchmark.rcdm.sample import FOLDER
    from benchmark.rcdm.train import train as run_training

    given = {name: value for name, value in options.items() if value is not None}
    model = replace(DiffusionConfig(layers=tuple(layers)), **given)
    out = out or run / FOLDER / "+".join(dict.fromkeys(layers))
    if distributed.is_main():
        click.echo(
            f"{', '.join(layers)} of {run} into {out}: {model.side} x {model.side} pixels, width {model.width}, patch "
            f"{model.patch}, {model.epochs} epochs, batch {model.batch}, lr {model.lr:g}",
            err=True,
        )
    how = {"device": device, "table": table, "deterministic": deterministic}
    config = DiffusionTraining(
        run=model, network=run, data=data, split=split, out=out, checkpoint_seconds=60 * checkpoint_minutes, **how
    )
    run_training(config, resume=resume)


@with_example(
    "gr3d rcdm sample runs/simclr --layers all --data data/gr3d --images 8\n"
    "  gr3d rcdm sample runs/simclr --layers trunk,head3 --data data/gr3d --images mine.png --out mine"
)
@rcdm.command()
@click.argument("run", type=Folder)
@click.option("--layers", default="all", show_default=True, help="Of those that have a model: names, or all.")
@click.option("--data", metavar="DATASET", required=True, help="Dataset that the network knows: its images' size.")
@click.option("--split", default="val", show_default=True, help="That --images COUNT is of.")
@click.option(
    "--images",
    multiple=True,
    default=("8",),
    show_default=True,
    metavar="COUNT|FILE",
    help="Images to condition on: so many of the split, of as many objects as there are, or files; may be repeated.",
)
@click.option("--samples", type=click.IntRange(min=1), default=6, show_default=True, help="For each image and layer.")
@click.option("--steps", type=int, help="Of DDIM, a divisor of 1000 [50].")
@click.option(
    "--rcdm", "folders", type=Folder, multiple=True, help="Folder of a model; may be repeated [all in RUN/rcdm]."
)
@click.option("--unconditional", is_flag=True, help="Draw samples that are told nothing, too.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of the noise.")
@click.option("--out", type=Folder, help="Folder for samples.png and samples.npz [RUN/rcdm].")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
def sample(
    run: Path,
    layers: str,
    data: str,
    split: str,
    images: Sequence[str],
    steps: int | None,
    out: Path | None,
    **options: object,
) -> None:
    """Draw images that a layer of RUN's network does not tell from the given ones.

    samples.png has a row a layer, from the last one to the first: the conditioning image, then samples; each column
    begins with the same noise. samples.npz has all of them as uint8 arrays (images, samples, 3, side, side).
    """
    from benchmark.figures.samples import plot_samples
    from benchmark.rcdm.conditioning import conditioning_images
    from benchmark.rcdm.sample import FOLDER, STEPS, ready_models
    from benchmark.rcdm.sample import sample as draw_samples

    named = tuple(name for name in layers.split(",") if name)
    if not named:
        raise UserError("--layers: name layers, separated by commas, or say all", exit_code=2)
    steps = STEPS if steps is None else steps
    ready_models(run, options["folders"], named, steps)  # before a large split is decoded
    shown = conditioning_images(data, split, images)
    out = out or run / FOLDER
    _check_writable(out)
    drawn = draw_samples(run, named, shown, steps=steps, **options)
    drawn.save(out / "samples.npz")
    picture = plot_samples(drawn, out / "samples.png")
    click.echo(f"{picture}\n{out / 'samples.npz'}")


def _check_writable(out: Path) -> None:
    """UserError, before hours of drawing, for a folder that nothing can be written into."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); choose another --out") from error
