"""Figure 8 of the paper: one object, one latent changed per row of images, the others held."""

import contextlib
import difflib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from assets.catalog import Catalog, load_catalog
from assets.errors import UserError
from renderer import render
from renderer.files import read_json
from renderer.latents import LATENTS
from renderer.plan import Plan, Sample
from renderer.spec import DatasetSpec

#: What the latents are where they are not swept: a view from which most objects show their shape.
HELD = {
    "yaw": 0.5,
    "pitch": 0.0,
    "roll": 0.0,
    "floor_hue": 0.58,
    "spot_theta": 0.5,
    "spot_phi": 4.0,
    "spot_hue": 0.5,
}
#: Latents whose two ends look the same: the last column stops short of the end.
CIRCULAR = {"floor_hue", "spot_phi", "spot_hue"}
COLUMNS = range(2, 33)


def sweep(columns: int) -> list[dict[str, float]]:
    """The latents of all images, row by row in the order of LATENTS: `columns` values over each one's range."""
    return [
        {**HELD, name: float(value)}
        for name, (low, high) in LATENTS.items()
        for value in np.linspace(low, high, columns, endpoint=name not in CIRCULAR)
    ]


@dataclass(frozen=True)
class SweepPlan(Plan):
    """A plan whose sample i has the i-th latents of a sweep."""

    latents: list[dict[str, float]] = field(default_factory=list)

    def sample(self, index: int) -> Sample:
        return replace(super().sample(index), latents=self.latents[index])


def choose(source: str | None, object_id: str | None) -> Catalog:
    """The source with one object alone: `object_id`, by default its first.

    Raises UserError (exit code 2) if there is none of that name, with those that come near.
    """
    catalog = load_catalog(source, render.models_root())
    chosen = [ref for ref in catalog.objects if object_id in (None, ref.id)][:1]
    if not chosen:
        near = difflib.get_close_matches(object_id, [ref.id for ref in catalog.objects], cutoff=0.4) or ["none like it"]
        raise UserError(f"--object {object_id}: {catalog.source} has {', '.join(near)}; see gr3d objects", exit_code=2)
    return Catalog(catalog.source, tuple(chosen))


def draw(catalog: Catalog, columns: int, resolution: int, folder: Path) -> None:
    """Render the sweep of the catalog's only object into a dataset in `folder`, all in split `train`.

    Raises UserError (exit code 2) for options out of range, UserError if the object cannot be used or the disk is full.
    """
    if columns not in COLUMNS:
        raise UserError(f"--columns {columns}: must be from {COLUMNS[0]} to {COLUMNS[-1]}", exit_code=2)
    latents = sweep(columns)
    arguments = {"n": len(latents), "out": folder, "resolution": resolution, "splits": "train=1", "format": "png"}
    options = render.parser().parse_args(
        [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
    )
    options.objects = catalog.source
    try:
        with contextlib.redirect_stdout(sys.stderr):
            status = render.render(options, make_plan(catalog, latents))
    except OSError as error:
        raise UserError(f"{error.filename or folder}: {error.strerror}; make room, or set TMPDIR elsewhere") from error
    if status:
        raise UserError("stopped; nothing was written", exit_code=status)
    for name, reason in read_json(folder / "quarantine.json", {}).items():
        raise UserError(f"{name} cannot be used ({reason}); choose another with --object ID")


def make_plan(catalog: Catalog, latents: list[dict[str, float]]) -> Callable[[DatasetSpec, Catalog], Plan]:
    return lambda spec, _: SweepPlan(spec, catalog, latents=latents)
