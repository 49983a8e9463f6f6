"""Figure 7 of the paper and a number for it: what samples of a diffusion model show that each layer keeps.

OUT/data                 renders, or what --data names, packed
OUT/runs/NAME            SimCLR with pairs by augmentation and by class; on renders, the reader of latents
OUT/runs/NAME/rcdm/...   their diffusion models
OUT/regression           errors of linear regressors on the same layers (Figure 2's), on renders
OUT/samples/NAME.npz     what was drawn
OUT/figure7.png, .svg    the pictures; figure7-kept.png, .svg, .csv and figure7.md the numbers
OUT/steps.json           wall time of every step, over all the times it was resumed
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from torch import Tensor

from benchmark.data.selection import judging_split
from benchmark.data.table import ImageTable, PlainTable, count_images, load_table, splits
from benchmark.errors import UserError
from benchmark.figures.clock import Clock
from benchmark.figures.jobs import Job, gr3d_job, launcher, run_jobs, trainings_at_once
from benchmark.figures.kept import Compared, judge, kept_rows, plot_kept, table_of
from benchmark.figures.samples import plot_side_by_side
from benchmark.figures.study import Packed, Rendered, prepare
from benchmark.files import write_atomically
from benchmark.probes.parts import Parts
from benchmark.probes.regress import regress_latents
from benchmark.probes.results import Results
from benchmark.probes.subjects import trained
from benchmark.rcdm.conditioning import spread
from benchmark.rcdm.kept import Kept, check_measurable, measure
from benchmark.rcdm.quality import kernel_distance, trunk_features
from benchmark.rcdm.reader import Reader, load_reader
from benchmark.rcdm.sample import Samples, load_samples, sample
from benchmark.rcdm.trainer import as_seen
from benchmark.recipes import batch_for
from benchmark.training.device import resolve_device
from benchmark.training.run import CHECKPOINT

AUGMENTATION, CLASS, READER = "augmentation", "class", "reader"
LAYERS = ("trunk", "head1", "head2", "head3")  # the paper's rows, from below
MODEL = "figure7"  # folder of the diffusion model of all of them

_HELD = 4096  # real images, about, that samples' quality is judged by at most


@dataclass(frozen=True)
class Scale:
    """How large a run is.

    n, resolution, objects: of the renders, where --data names no dataset; None where it must. simclr, reader, rcdm:
    options of `gr3d train` and `gr3d rcdm train`. judged: images that the number is taken over; shown: of them, in the
    picture; samples: of each image and layer; steps: of DDIM. takes: in words, on two CPU cores.
    """

    n: int | None
    resolution: int
    objects: str
    takes: str
    simclr: Mapping[str, object]
    rcdm: Mapping[str, object]
    reader: Mapping[str, object] = field(default_factory=dict)
    judged: int = 128
    shown: int = 3
    samples: int = 4
    steps: int = 50


SCALES = {
    "demo": Scale(
        n=2000,
        resolution=64,
        objects="procedural",
        takes="under 10 minutes",
        simclr={"epochs": 5, "batch": 128},
        reader={"epochs": 12},
        rcdm={"side": 64, "patch": 4, "width": 32, "epochs": 24, "batch": 32, "lr": 1e-3},
        judged=32,
        steps=25,
    ),
    "small": Scale(
        n=12_000,
        resolution=64,
        objects="sweethome3d",
        takes="about 2 hours",
        simclr={"epochs": 15},
        reader={"epochs": 30},
        # A weak condition, as a hue that a layer half knows, takes many steps: four times as cheap as at 64 x 64.
        rcdm={"side": 32, "patch": 2, "width": 32, "epochs": 100, "batch": 32, "lr": 1e-3},
        judged=256,
        steps=25,
    ),
    "paper": Scale(
        n=None,
        resolution=224,
        objects="",
        takes="on GPUs, on ImageNet (its face-blurred release: --data imagenet:PATH)",
        simclr={"recipe": "paper"},
        reader={"recipe": "paper"},
        rcdm={"side": 128, "width": 256, "epochs": 100, "batch": 256, "lr": 1e-4},
    ),
}


def figure7(
    out: Path,
    scale: Scale,
    data: str | None,
    objects: str | None,
    render: Callable[[Sequence[str]], int],
    device: str = "auto",
) -> list[str]:
    """Make the figure and return lines that say where everything is and what it shows. What is there is used again.

    data: DATASET to take in place of renders; on one without latents only pictures come out. objects: SOURCE as in
    `gr3d render`; None for the scale's own. render: takes the arguments of `gr3d render`, returns its exit code.
    Raises UserError naming the step that failed.
    """
    clock = Clock(out / "steps.json")
    with clock.step("data"):
        prepare(_dataset(scale, data, objects), out / "data", render)
        split = _split(splits(out / "data"))
        table = load_table(out / "data", split)
    # The others are what samples' quality is judged by.
    count = max(min(scale.judged, len(table) // 2), min(scale.shown, len(table)))
    rows = spread(table, count)
    if table.has_latents:
        check_measurable(_part(table, rows))
    at_once = trainings_at_once(device)
    with clock.step("train"):
        images = count_images(out / "data", "train")
        run_jobs(list(_networks(out, scale, images, device, table.has_latents)), at_once, clock.note)
    with clock.step("diffusion models"):
        run_jobs(list(_models(out, scale, images, device)), at_once, clock.note)
    drawn = {}
    for name in (AUGMENTATION, CLASS):
        with clock.step(f"sample: {name}"):
            drawn[name] = _samples(out, name, table.images[rows], scale, device)
    shown = spread(_part(table, rows), min(scale.shown, count)).tolist()
    lines = [f"# Figure 7: what samples given a layer keep ({scale_words(scale, data, objects)})", ""]
    if not table.has_latents:
        written = plot_side_by_side(drawn, shown, LAYERS, out / "figure7", [{"layer": layer} for layer in LAYERS])
        with clock.step("measure"):
            network = trained(out / "runs" / AUGMENTATION).open().to(resolve_device(device)).eval()
            seen = partial(trunk_features, network, drawn_at=scale.rcdm["side"], side=table.images.shape[2])
            quality = _quality(seen, f"the trunk of {AUGMENTATION}", table, rows, drawn)
        lines += ["The images have no latents: what samples keep of them is not measured.", "", quality]
    else:
        with clock.step("regress"):
            regression = _regression(out, device)
        with clock.step("measure"):
            reader = load_reader(out / "runs" / READER, resolve_device(device))
            table = replace(table, images=_scaled(table.images, scale.rcdm["side"]))  # as the samples are
            part = _part(table, rows)
            found = _compared(reader, part, drawn, regression, split)
        written = plot_side_by_side(drawn, shown, LAYERS, out / "figure7", kept_rows(found))
        plot_kept(found, out / "figure7-kept")
        quality = _quality(lambda images: reader.read(images).features, "the reader's trunk", table, rows, drawn)
        lines += [table_of(found), "", quality, ""]
        lines += [verdict.line() for verdict in judge(found)]
    write_atomically(out / "figure7.md", ("\n".join(lines) + "\n").encode())
    seconds = sum(clock.seconds.values())
    return [*lines, "", f"figure: {written.png}", f"all of this: {out / 'figure7.md'}", f"wall time: {seconds:.0f} s"]


def scale_words(scale: Scale, data: str | None, objects: str | None) -> str:
    model = ", ".join(f"{name} {value}" for name, value in scale.rcdm.items())
    source = data or f"{scale.n:,} renders of {objects or scale.objects}"
    return f"{source}, {scale.resolution} x {scale.resolution}; diffusion: {model}, {scale.steps} steps of DDIM"


def _dataset(scale: Scale, data: str | None, objects: str | None) -> Packed | Rendered:
    if data is not None:
        return Packed(data, {"side": scale.resolution})
    if scale.n is None:
        raise UserError("--scale paper: give the data it is to run on, as --data imagenet:PATH", exit_code=2)
    return Rendered(scale.n, scale.resolution, objects or scale.objects)


def _networks(out: Path, scale: Scale, images: int | None, device: str, with_reader: bool) -> Iterator[Job]:
    wanted = {
        **({READER: {"objective": "latents", **scale.reader}} if with_reader else {}),
        AUGMENTATION: {"objective": "simclr", **scale.simclr},
        CLASS: {"objective": "simclr", "positives": "class", **scale.simclr},
    }
    for name, options in wanted.items():
        run = out / "runs" / name
        common = {"resume": True, "data": out / "data", "out": run, "device": device, "online_probes": False}
        batch = _batch(images, options)
        yield gr3d_job(name, out / "runs" / f"{name}.log", "train", {**common, **options, **batch}, launcher(device))


def _batch(images: int | None, options: Mapping[str, object]) -> dict[str, int]:
    """The batch that a scale asks for, smaller where the images are few; a recipe's own is made smaller by training."""
    return {"batch": batch_for(images, options["batch"])} if "batch" in options else {}


def _models(out: Path, scale: Scale, images: int | None, device: str) -> Iterator[Job]:
    for name in (AUGMENTATION, CLASS):
        run = out / "runs" / name
        options = {
            "resume": True,
            "data": out / "data",
            "out": run / "rcdm" / MODEL,
            "device": device,
            "layer": list(LAYERS),
        }
        log = out / "runs" / f"{name}-rcdm.log"
        made = {**options, **scale.rcdm, **_batch(images, scale.rcdm)}
        yield gr3d_job(f"{name}, rcdm", log, ("rcdm", "train", str(run)), made, launcher(device))


def _samples(out: Path, name: str, images: Tensor, scale: Scale, device: str) -> Samples:
    """Drawn, or read again where they are those of this model and these images."""
    run, path = out / "runs" / name, out / "samples" / f"{name}.npz"
    model = hashlib.sha256((run / "rcdm" / MODEL / CHECKPOINT).read_bytes())
    model.update(images.numpy().tobytes())
    request = f"{model.hexdigest()} {scale.samples} {scale.steps}"
    known = load_samples(path, request)
    if known is not None and set(known.of) == {*LAYERS, None}:
        return known
    how = {"samples": scale.samples, "steps": scale.steps, "unconditional": True, "device": device}
    drawn = sample(run, LAYERS, images, folders=[run / "rcdm" / MODEL], **how)
    drawn.save(path, request)
    return drawn


def _split(there: Sequence[str]) -> str:
    """Of renders the new views of known objects: as the paper's photographs are new ones of known classes, and as a
    reader tells the category of objects that it has not met far less often."""
    return "val_views" if "val_views" in there else judging_split(there)


def _part(table: ImageTable, rows: Tensor) -> ImageTable:
    """Some images of a table of renders, or of photographs with what `spread` needs."""
    places = rows.tolist()
    names = {
        "object_ids": [table.object_ids[k] for k in places],
        "categories": [table.categories[k] for k in places],
    }
    if not table.has_latents:
        return PlainTable(table.dataset, table.images[rows], table.index[rows], *names.values())
    picked = {name: getattr(table, name)[rows] for name in ("images", "index", "latents", "quaternion")}
    return replace(table, **picked, **names)


def _regression(out: Path, device: str) -> Results:
    subjects = {name: trained(out / "runs" / name) for name in (AUGMENTATION, CLASS)}
    with Parts(out / "regression") as parts:
        found = regress_latents(subjects, out / "data", device=device, parts=parts)
        found.save(out / "regression")
    return found


def _compared(
    reader: Reader, part: ImageTable, drawn: Mapping[str, Samples], regression: Results, split: str
) -> dict[str, list[Compared]]:
    """Beside every number of a layer and factor, the error of a linear regressor on the same split."""
    found = {}
    for name, samples in drawn.items():
        given = {layer: samples.of[layer] for layer in LAYERS}
        found[name] = [
            Compared(kept, _error(regression, name, kept, split))
            for kept in measure(reader.read, part, given, samples.of[None])
        ]
    return found


def _scaled(images: Tensor, side: int) -> Tensor:
    """uint8 (N, 3, H, W) -> uint8 (N, 3, side, side)."""
    if images.shape[2:] == (side, side):
        return images
    return torch.cat([((as_seen(x, side) + 1) * 127.5).round().to(torch.uint8) for x in images.split(256)])


def _error(regression: Results, network: str, kept: Kept, split: str) -> float | None:
    """Of the linear regressor; None for the category, which is no latent."""
    if kept.factor not in regression.info["targets"]:
        return None
    return regression.row(network, kept.layer, kept.factor, split).nmse


def _quality(
    features: Callable[[Tensor], Tensor], whose: str, table: ImageTable, rows: Tensor, drawn: Mapping[str, Samples]
) -> str:
    """How far samples are from held-out images in ``features``."""
    held = np.setdiff1d(np.arange(len(table)), rows.numpy())
    real = features(table.images[torch.from_numpy(held[:: max(1, len(held) // _HELD)])])
    found = [f"other real images {_distance(real, features(table.images[rows]))}"]
    for name, samples in drawn.items():
        for layer in (None, *LAYERS):
            # Column by column: samples of one image are alike, and the estimate wants independent ones.
            columns = [features(images) for images in samples.of[layer].unbind(dim=1)]
            found.append(f"{name}, given {layer or 'nothing'} {_distance(real, *columns)}")
    return (
        f"Kernel distance (KID, torchmetrics) to held-out images in the features of {whose}, our own network's, so "
        f"that it compares within this run alone: {'; '.join(found)}."
    )


def _distance(real: Tensor, *columns: Tensor) -> str:
    distance = mean(kernel_distance(real, features) for features in columns)
    return "too few images" if math.isnan(distance) else f"{distance:.3f}"
