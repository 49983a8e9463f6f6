"""What objects there are, whatever they come from: the catalog, its split by object, and loading one object.

A source is `procedural[:family,...][@instances]` (built in), `sweethome3d[:family,...]` (Debian's furniture package)
or a folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assets.errors import BadObject, UserError

if TYPE_CHECKING:
    from assets.geometry import ModelFile, Part

DEFAULT_FOLDER = Path("assets", "models")  # below the checkout: where a user drops downloads
PROCEDURAL_INSTANCES = 16  # of each family, when nothing else is asked for
MOST_INSTANCES = 100_000  # a catalog is held in memory, and each instance is generated once for its digest


@dataclass(frozen=True)
class ObjectRef:
    """One object: enough to name it, credit it and find it again. JSON-able with `dataclasses.asdict`."""

    id: str  # unique in the catalog, stable, made of [A-Za-z0-9_.-] and '/'
    source: str  # "procedural" | "sweethome3d" | "directory"
    category: str  # as the source names it: "chair", "Living room", a folder's name
    family: str = ""  # objects of one family share a pose ("chair", "sofa"); "" when unknown
    path: str = ""  # where the source finds it; "" for procedural, "FILE.sh3f!inner/path.obj" for sweethome3d
    name: str = ""
    licence: str = ""
    author: str = ""
    digest: str = ""  # sha256 (hex) of the content that decides the picture


@dataclass(frozen=True)
class Catalog:
    """The objects of one source, sorted by id, and what the source's rules left out."""

    source: str
    objects: tuple[ObjectRef, ...]
    left_out: tuple[tuple[str, str], ...] = ()  # (id, reason)

    @property
    def content_hash(self) -> str:
        """sha256 (hex) over id, category and digest of every object: part of a dataset's identity."""
        lines = (f"{ref.id}\0{ref.category}\0{ref.digest}\n" for ref in self.objects)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def load_catalog(source: str | None, root: Path, categories: Path | None = None) -> Catalog:
    """The catalog of `source`; None means `root/assets/models` when that holds any model, else `procedural`.

    `categories` names a csv file with categories for the objects of a folder (assets/categories.py).
    Raises UserError (exit code 2) for a source that is unknown, missing or empty, naming what would work, and for a csv
    file that cannot be used.
    """
    from assets import directory, sweethome3d
    from assets.categories import categorised
    from assets.procedural import procedural_objects

    if source is None:
        dropped = root / DEFAULT_FOLDER
        source = str(dropped) if directory.holds_models(dropped) else "procedural"
    name, colon, wanted = source.partition(":")
    is_folder = False
    if source.partition("@")[0].partition(":")[0] == "procedural":
        asked, at, count = source.partition("@")
        _, colon, wanted = asked.partition(":")
        objects = procedural_objects(_families(wanted, colon), _instances(count, at))
        left_out: list[tuple[str, str]] = []
    elif name == "sweethome3d":
        objects, left_out = sweethome3d.sweethome3d_objects(_families(wanted, colon))
    else:
        objects, left_out = directory.directory_objects(Path(source))
        is_folder = True
    if categories is not None:
        if not is_folder:
            raise UserError(f"--categories {categories}: {source} has categories of its own; give a folder", 2)
        objects = categorised(objects, Path(source), categories)
    catalog = _catalog(source, objects, left_out)
    if not catalog.objects:
        example = f" ({catalog.left_out[0][0]}: {catalog.left_out[0][1]})" if catalog.left_out else ""
        raise UserError(f"{source} holds no usable object{example}; choose another source", exit_code=2)
    return catalog


def split_objects(catalog: Catalog, seed: int, val_share: float) -> tuple[tuple[ObjectRef, ...], tuple[ObjectRef, ...]]:
    """Fitting and validation objects, each sorted by id; disjoint, together the whole catalog.

    The objects with the smallest sha256(seed, id) are for validation: the order of the catalog plays no part.
    Their number is round(val_share * N), but at least 1 on both sides when val_share > 0.
    Raises UserError for a share outside [0, 1), or too few objects to split.
    """
    if not 0 <= val_share < 1:
        raise UserError(f"validation share {val_share} of the objects: it must be in [0, 1)", exit_code=2)
    if val_share == 0:
        return catalog.objects, ()
    n = len(catalog.objects)
    if n < 2:
        raise UserError(
            f"{catalog.source} holds too few usable objects ({n}): at least 2 are needed to keep one for "
            "validation; add objects, or set the validation share to 0",
            exit_code=2,
        )
    n_val = min(max(round(val_share * n), 1), n - 1)
    by_hash = sorted(catalog.objects, key=lambda ref: hashlib.sha256(f"{seed}:{ref.id}".encode()).digest())
    val_ids = {ref.id for ref in by_hash[:n_val]}
    fit = tuple(ref for ref in catalog.objects if ref.id not in val_ids)
    val = tuple(ref for ref in catalog.objects if ref.id in val_ids)
    return fit, val


def load_object(ref: ObjectRef, scratch: Path) -> list[Part] | ModelFile:
    """The object as parts (procedural) or as a model file, unpacked into a new folder of `scratch`.

    Raises BadObject with the reason when this object cannot be used.
    """
    from assets import directory, sweethome3d
    from assets.procedural import load_procedural

    loaders: dict[str, Callable[[], list[Part] | ModelFile]] = {
        "procedural": lambda: load_procedural(ref),
        "sweethome3d": lambda: sweethome3d.load_sweethome3d(ref, scratch),
        "directory": lambda: directory.load_directory(ref, scratch),
    }
    if ref.source not in loaders:
        raise BadObject(f"unknown source {ref.source!r}")
    return loaders[ref.source]()


def _instances(count: str, at: str) -> int:
    """The number after the @; PROCEDURAL_INSTANCES when there is no @."""
    if not at:
        return PROCEDURAL_INSTANCES
    if not count.isdecimal() or not 1 <= int(count) <= MOST_INSTANCES:
        raise UserError(f"procedural@{count}: after the @ stands how many of each family, 1 to {MOST_INSTANCES}", 2)
    return int(count)


def _families(wanted: str, colon: str) -> tuple[str, ...] | None:
    """Names after the colon; None (all families) when there is no colon."""
    if not colon:
        return None
    names = tuple(name.strip() for name in wanted.split(",") if name.strip())
    if not names:
        raise UserError("the object source names no family after its ':': name some, or drop the ':'", exit_code=2)
    return names


def _catalog(source: str, objects: Iterable[ObjectRef], left_out: Iterable[tuple[str, str]]) -> Catalog:
    """Sorted by id. Of objects with the same content only the first is kept: a split could part the twins."""
    kept: list[ObjectRef] = []
    twins: list[tuple[str, str]] = []
    first_with: dict[str, str] = {}
    for ref in sorted(objects, key=lambda ref: ref.id):
        first = first_with.setdefault(ref.digest, ref.id) if ref.digest else ref.id
        if first == ref.id:
            kept.append(ref)
        else:
            twins.append((ref.id, f"the same content as {first}"))
    return Catalog(source, tuple(kept), tuple(sorted([*left_out, *twins])))
