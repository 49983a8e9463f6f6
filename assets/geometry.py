"""The two forms in which a source hands an object to the renderer."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

Rows3 = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

IDENTITY: Rows3 = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True, eq=False)
class Part:
    """One closed, one-coloured mesh of an object.

    The frame is right-handed, z up, with the object's front towards -y. Units are free: the renderer normalises.
    """

    name: str
    vertices: np.ndarray
    """(n, 3) float32."""
    faces: tuple[tuple[int, ...], ...]
    """Vertex indices of every polygon, counter-clockwise seen from outside."""
    colour: tuple[float, float, float]
    """sRGB display values in [0, 1] (not linear light)."""
    smooth: bool = False
    """Shade with interpolated normals (round parts)."""


@dataclass(frozen=True)
class ModelFile:
    """A model on disk that one of Blender's importers reads."""

    path: Path
    rotation: Rows3 = IDENTITY
    """Rows of a rotation applied in the model's own coordinates, before the importer's axis conversion."""
