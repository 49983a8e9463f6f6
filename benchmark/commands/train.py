"""`gr3d train`: a network on a dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from benchmark.commands.common import DATA, RUNS, Folder, with_example
from benchmark.errors import UserError


@with_example("gr3d train --objective rotation --data data/gr3d --out runs/rotation --epochs 20")
@click.command()
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
