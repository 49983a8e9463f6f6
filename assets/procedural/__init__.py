"""Built-in, licence-free objects: parametric families with an unlimited number of instances each."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from assets.catalog import ObjectRef
from assets.errors import BadObject, UserError
from assets.geometry import Part
from assets.procedural import animals, craft, furniture, household, rides, tools, vehicles
from assets.procedural.draws import Draws

LICENCE = "CC0-1.0 (generated)"

FAMILIES: dict[str, Callable[[Draws], list[Part]]] = {
    "chair": furniture.chair,
    "sofa": furniture.sofa,
    "table": furniture.table,
    "desk": furniture.desk,
    "bed": furniture.bed,
    "lamp": furniture.lamp,
    "car": vehicles.car,
    "truck": vehicles.truck,
    "train": vehicles.train,
    "tractor": vehicles.tractor,
    "excavator": vehicles.excavator,
    "aeroplane": craft.aeroplane,
    "helicopter": craft.helicopter,
    "boat": craft.boat,
    "bicycle": rides.bicycle,
    "scooter": rides.scooter,
    "skateboard": rides.skateboard,
    "hammer": tools.hammer,
    "axe": tools.axe,
    "drill": tools.drill,
    "watering_can": tools.watering_can,
    "guitar": household.guitar,
    "mug": household.mug,
    "teapot": household.teapot,
    "camera": household.camera,
    "shoe": household.shoe,
    "house": household.house,
    "dog": animals.dog,
    "duck": animals.duck,
    "chess_knight": animals.chess_knight,
}
"""Family name -> its generator. The name decides the instances: renaming a family makes other objects."""

_GRID = 2.0**-16


def procedural_objects(families: Sequence[str] | None, instances: int = 16) -> list[ObjectRef]:
    """The first `instances` objects of each family (None: of every family), with digests of their meshes and colours.

    Raises UserError (exit code 2) for an unknown family.
    """
    chosen = list(dict.fromkeys(FAMILIES if families is None else families))
    unknown = [family for family in chosen if family not in FAMILIES]
    if unknown:
        raise UserError(
            f"no procedural family {', '.join(map(repr, unknown))}; there are {', '.join(sorted(FAMILIES))}", 2
        )
    return [_reference(family, number) for family in chosen for number in range(instances)]


def load_procedural(ref: ObjectRef) -> list[Part]:
    """The parts of a reference from `procedural_objects`; BadObject when no generator makes it."""
    family, _, number = ref.id.rpartition("-")
    if family not in FAMILIES or not number.isdecimal():
        raise BadObject(f"no procedural object {ref.id!r}")
    return generate(family, int(number))


def generate(family: str, number: int) -> list[Part]:
    """Instance `number` (0, 1, 2, ... without end) of a family: a pure function of both.

    Centred on its bounding box, whose longest side is 1; z up, front towards -y.
    """
    parts = FAMILIES[family](Draws(family, number))
    points = np.concatenate([part.vertices for part in parts])
    low, high = points.min(axis=0), points.max(axis=0)
    centre, size = (low + high) / 2, (high - low).max()
    return [_placed(part, centre, size) for part in parts]


def _placed(part: Part, centre: np.ndarray, size: float) -> Part:
    # Snapping to a grid hides the last-bit differences between machines' sine and cosine, so that digests agree
    # everywhere; the odd offset keeps the round numbers of the generators away from the grid's rounding edge.
    snapped = np.floor((part.vertices - centre) / size / _GRID + 0.37) * _GRID
    return Part(part.name, snapped.astype(np.float32), part.faces, part.colour, part.smooth)


@cache
def _reference(family: str, number: int) -> ObjectRef:
    return ObjectRef(
        id=f"{family}-{number:05d}",
        source="procedural",
        category=family,
        family=family,
        name=f"{family.replace('_', ' ')} {number}",
        licence=LICENCE,
        author="gr3d",
        digest=_digest(generate(family, number)),
    )


def _digest(parts: Sequence[Part]) -> str:
    """sha256 over everything that decides the picture."""
    content = hashlib.sha256()
    for part in parts:
        content.update(part.vertices.astype("<f4").tobytes())
        corners = np.array([corner for face in part.faces for corner in (*face, -1)], dtype="<i4")
        content.update(corners.tobytes())
        content.update(repr((part.colour, part.smooth)).encode())
    return content.hexdigest()
