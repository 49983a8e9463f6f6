"""What a dataset says of itself: README.md (Hugging Face's card), objects.csv, latents.csv and croissant.json."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from assets.catalog import ObjectRef
from renderer import croissant, labels, licences
from renderer.files import read_json, write_atomically
from renderer.latents import LATENTS
from renderer.passes import ENDINGS
from renderer.passes import MEANINGS as MEANINGS_OF_PASSES
from renderer.plan import Plan
from renderer.spec import SPLITS

OBJECT_COLUMNS = ("id", "name", "category", "family", "licence", "author", "digest")
#: Quarantined objects that the card itself names; quarantine.json has all.
MOST_NAMED = 20

MEANINGS = {
    "yaw": "rotation about z, radians",
    "pitch": "rotation about y, radians",
    "roll": "rotation about x, radians",
    "floor_hue": "hue of the floor, as a share of a turn",
    "spot_theta": "the spot's angle from straight above, radians",
    "spot_phi": "the spot's direction from +x towards +y, radians",
    "spot_hue": "hue of the spot's light, as a share of a turn",
}

PASSES_NOTE = """
Masks, depths and normals are those of each pixel's centre (no anti-aliasing), and look through what is at most half
opaque. The camera is at (0, -1.768, 1.768), looks at the origin, and sees 0.691111 radians in both directions.
"""

CITATION = """@article{bordes2023guillotine,
  title = {Guillotine Regularization: Why removing layers is needed to improve generalization
           in Self-Supervised Learning},
  author = {Bordes, Florian and Balestriero, Randall and Garrido, Quentin and Bardes, Adrien and Vincent, Pascal},
  journal = {Transactions on Machine Learning Research},
  year = {2023}
}"""


@dataclass(frozen=True)
class About:
    """What the card and the Croissant file of a dataset say.

    Attributes:
        name: what it was made from, in a few characters.
        summary: paragraphs (Markdown) of what it shows and how it was made.
        licence_note: what the licences mean for whoever passes the dataset on.
        credits: (licence, author) -> number of objects.
        citation: BibTeX.
        resolution, format: of the images.
        sealed: as in checksums.json.
        quarantined: object -> reason.
        passes: further files of every sample (see renderer/passes.py).
    """

    name: str
    summary: str
    licence_note: str
    credits: Mapping[tuple[str, str], int]
    citation: str
    resolution: int
    format: str
    sealed: dict[str, dict]
    quarantined: Mapping[str, str]
    passes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Split -> images, of the splits that have any."""
        counts = Counter()
        for name, entry in self.sealed.items():
            counts[name.rpartition("-")[0]] += entry["samples"]
        return {split: counts[split] for split in SPLITS if counts[split]}

    @property
    def licences(self) -> list[str]:
        return sorted({licence for licence, _ in self.credits})


def write(folder: Path, plan: Plan, report: dict, sealed: dict[str, dict]) -> None:
    """Write README.md, objects.csv, latents.csv and croissant.json of a rendered dataset."""
    write_objects(folder, plan.catalog.objects, report["quarantined"])
    labels.write(folder / labels.FILE, labels.rows(folder, plan, sealed))
    write_about(folder, rendered(plan, report, sealed, read_json(folder / "dataset.json", {})))


def write_objects(folder: Path, objects: Iterable[ObjectRef], quarantined: Mapping[str, str]) -> None:
    """Write objects.csv: id, name, category, licence, author and digest of every object."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow((*OBJECT_COLUMNS, "quarantined"))
    for ref in objects:
        writer.writerow([getattr(ref, name) for name in OBJECT_COLUMNS] + [quarantined.get(ref.id, "")])
    write_atomically(folder / "objects.csv", table.getvalue().encode())


def write_about(folder: Path, about: About) -> None:
    """Write README.md and croissant.json; latents.csv must be there."""
    write_atomically(folder / "README.md", text(about).encode())
    write_atomically(folder / croissant.FILE, croissant.document(about, folder / labels.FILE).encode())


def rendered(plan: Plan, report: dict, sealed: dict[str, dict], record: dict) -> About:
    """What there is to say of a dataset that gr3d rendered. `record` is its dataset.json."""
    spec, objects = plan.spec, plan.catalog.objects
    engine = record.get("engine", {})
    settings = ", ".join(f"{name} {value}" for name, value in engine.items() if name != "device_names")
    shares = ", ".join(f"{name} {share}" for name, share in spec.splits)
    summary = f"""{report["in_shards"]} images of {spec.resolution} x {spec.resolution} pixels of the {len(objects)}
objects of `{spec.catalog_id}`, rendered by gr3d {report["gr3d"]} with seed {spec.seed}.
Drawn by Blender {record.get("blender")}: {settings or "nothing yet"}.

Shares of the splits: {shares}. The objects of `val` appear in no other split; `train`, `probe` and `val_views` show the
same objects, other views: `train` is for fitting networks, `probe` for fitting regressors on their features,
`val_views` and `val` for judging on new views and on new objects."""
    return About(
        name=spec.catalog_id,
        summary=summary,
        licence_note="The images are derived from the objects: their licences apply to whoever passes the images on.",
        credits=Counter((ref.licence, ref.author) for ref in objects),
        citation=CITATION,
        resolution=spec.resolution,
        format=spec.format,
        sealed=sealed,
        quarantined=report["quarantined"],
        passes=spec.passes,
    )


def text(about: About) -> str:
    """The card: YAML that Hugging Face reads, then Markdown for people."""
    latents = "\n".join(f"| {n} | {low:.4f} | {high:.4f} | {MEANINGS[n]} |" for n, (low, high) in LATENTS.items())
    rows = sorted(about.credits.items())
    owners = "\n".join(
        f"| {cell(lic) or 'unknown'} | {cell(who) or 'unknown'} | {count} |" for (lic, who), count in rows
    )
    passes = "".join(f"| `000000042.{ENDINGS[name]}` | {MEANINGS_OF_PASSES[name]} |\n" for name in about.passes)
    counts = "\n".join(f"| {split} | {count} |" for split, count in about.counts.items())
    return f"""---
{front_matter(about)}
---

# {about.name}: 3D objects under controlled latents

{about.summary}

| split | images |
|---|---|
{counts}

## Files

`train-000000.tar`, ...: plain tars in WebDataset convention. Each sample is

| file | content |
|---|---|
| `000000042.{about.format}` | the image; the number is the sample's `index` in the dataset |
{passes}| `000000042.json` | `index`, `object_id`, `category`, `family`, `split`, `latents`, `quaternion` |
{PASSES_NOTE if passes else ""}
`latents.csv` has the labels of all samples in one table, `objects.csv` the objects with their licences and authors,
`croissant.json` describes all of it to Croissant readers, and `checksums.json` holds the sha256 of every shard.

All latents are drawn uniformly. The object is turned by R = Rz(yaw) Ry(pitch) Rx(roll) (z up); `quaternion` is the same
rotation as a unit quaternion [w, x, y, z].

| latent | low | high | meaning |
|---|---|---|---|
{latents}

```python
from datasets import load_dataset

for sample in load_dataset("FOLDER OR REPOSITORY", split="train", streaming=True):
    sample["{about.format}"], sample["json"]["latents"]["yaw"]
```

## Licences and authors

{about.licence_note} Every object, with its licence and author, stands in `objects.csv`.

| licence | author | objects |
|---|---|---|
{owners}
{quarantine_section(about.quarantined)}
## How to cite

```bibtex
{about.citation}
```
"""


def front_matter(about: About) -> str:
    """The card's YAML. Splits without a shard are left out: a reader would fail on a pattern that matches nothing."""
    ids = sorted({licences.hugging_face(licence) for licence in about.licences})
    lines = [f"license: {ids[0]}" if len(ids) == 1 else "license:\n" + "\n".join(f"- {name}" for name in ids)]
    if "other" in ids:
        lines.append("license_name: see-objects-csv")
    lines += [
        f"pretty_name: {json.dumps(f'gr3d {about.name}', ensure_ascii=False)}",  # a JSON string is a YAML string
        "task_categories:\n- image-feature-extraction",
        f"size_categories:\n- {size_category(sum(about.counts.values()))}",
        "tags:\n- webdataset\n- croissant\n- synthetic\n- rendered\n- disentanglement",
        "configs:\n- config_name: default\n  data_files:",
    ]
    # Each split names its own files: by file names alone, `val_views` would be merged with `val` and `probe` dropped.
    lines += [f"  - split: {split}\n    path: {split}-*.tar" for split in about.counts]
    return "\n".join(lines)


def size_category(count: int) -> str:
    """Hugging Face's name for a dataset of `count` samples."""
    bounds = ("1K", "10K", "100K", "1M", "10M", "100M", "1B")
    if count < 1000:
        return "n<1K"
    place = min(len(str(count)) - 4, len(bounds) - 2)
    return f"{bounds[place]}<n<{bounds[place + 1]}"


def quarantine_section(quarantined: Mapping[str, str]) -> str:
    if not quarantined:
        return ""
    named = sorted(quarantined.items())[:MOST_NAMED]
    rows = "\n".join(f"| {cell(name)} | {cell(reason)} |" for name, reason in named)
    rest = len(quarantined) - len(named)
    return f"""
## Objects that could not be used

{len(quarantined)} objects, whose samples are missing{f"; {rest} more stand in `quarantine.json`" if rest else ""}:

| object | reason |
|---|---|
{rows}
"""


def cell(text: str) -> str:
    """Text from outside as one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
