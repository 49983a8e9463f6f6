"""The dataset's card (README.md with the YAML that Hugging Face `datasets` reads) and its list of objects."""

import csv
import io
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from assets.catalog import Catalog
from renderer.latents import LATENTS
from renderer.shards import write_atomically
from renderer.spec import DatasetSpec


def write(folder: Path, spec: DatasetSpec, catalog: Catalog, report: dict, shards: Iterable[str]) -> None:
    """Write README.md and objects.csv (id, name, category, licence, author, digest of every object used).

    Splits without one of `shards` are left out of the card: a reader would fail on a pattern that matches nothing.
    """
    columns = ("id", "name", "category", "family", "licence", "author", "digest")
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow((*columns, "quarantined"))
    for ref in catalog.objects:
        writer.writerow([getattr(ref, name) for name in columns] + [report["quarantined"].get(ref.id, "")])
    write_atomically(folder / "objects.csv", table.getvalue().encode())
    card = text(spec, catalog, report, {name.rpartition("-")[0] for name in shards})
    write_atomically(folder / "README.md", card.encode())


def text(spec: DatasetSpec, catalog: Catalog, report: dict, present: set[str]) -> str:
    # Each split names its own files: by file names alone, `val_views` would be merged with `val` and `probe` dropped.
    files = "\n".join(f"  - split: {name}\n    path: {name}-*.tar" for name, _ in spec.splits if name in present)
    latents = "\n".join(f"| {name} | {low:.4f} | {high:.4f} |" for name, (low, high) in LATENTS.items())
    credits_ = Counter((ref.licence or "unknown", ref.author or "unknown") for ref in catalog.objects)
    owners = "\n".join(f"| {licence} | {author} | {count} |" for (licence, author), count in sorted(credits_.items()))
    shares = ", ".join(f"{name} {share}" for name, share in spec.splits)
    return f"""---
configs:
- config_name: default
  data_files:
{files}
tags:
- webdataset
---

# {spec.catalog_id}: renders under controlled latents

{report["in_shards"]} images of {spec.resolution} x {spec.resolution} pixels, drawn by gr3d from the
{len(catalog.objects)} objects of `{spec.catalog_id}` with seed {spec.seed}, preset `{spec.preset}`. Splits: {shares}.
The objects of `val` appear in no other split; `train`, `probe` and `val_views` show the same objects, other views.

Each sample is an image and a JSON file with its object, split, latents and the rotation as a unit quaternion
[w, x, y, z] of R = Rz(yaw) Ry(pitch) Rx(roll). All latents are uniform:

| latent | low | high |
|---|---|---|
{latents}

## Credits

Every object, with its licence and author, stands in `objects.csv`.

| licence | author | objects |
|---|---|---|
{owners}
"""
