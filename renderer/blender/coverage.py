"""A look at an object's own pixels before any image of it is made: is there something to see, and is it painted?

The object alone is drawn in nine fixed poses on one small picture, in a scene of its own: nothing of the stage is
touched, and the verdict depends on the object only.
"""

import math
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from assets.errors import BadObject
from renderer.blender import compat
from renderer.blender.scene import CAMERA_DISTANCE, CAMERA_THETA, FIELD_OF_VIEW
from renderer.latents import rotation_matrix, sample_latents

#: Mean share of the image that an object must cover. A sphere covers 0.74; at 128 x 128 this is 82 pixels, a rod of the
#: object's largest length and 1/75 of that in width. Below it, a network would be shown little but floor.
LEAST_SHARE = 0.005

#: Share of an object's pixels in the colour of a texture that Cycles could not read. Flowers have up to 0.006 of it.
MOST_MAGENTA = 0.05

SIDE, PIXELS = 3, 32  # poses a side, pixels a pose and side
POSES = tuple(rotation_matrix(sample_latents(0, number)) for number in range(SIDE * SIDE))

#: Half the side of the square that the stage's camera sees at the origin.
HALF = CAMERA_DISTANCE * math.tan(FIELD_OF_VIEW / 2)


def build_booth() -> bpy.types.Scene:
    """A scene in which `check_coverage` draws: white light from everywhere, a camera without perspective."""
    booth = bpy.data.scenes.new("booth")
    booth.world = bpy.data.worlds.new("booth")
    background = next(node for node in compat.shader_tree(booth.world).nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (1, 1, 1, 1)
    camera = bpy.data.cameras.new("booth")
    camera.type, camera.ortho_scale = "ORTHO", 2 * HALF * SIDE
    booth.camera = bpy.data.objects.new("booth camera", camera)
    booth.camera.matrix_world = _view() @ Matrix.Translation((0, 0, 2 * CAMERA_DISTANCE))
    booth.collection.objects.link(booth.camera)
    _set_render(booth)
    return booth


def check_coverage(booth: bpy.types.Scene, subject: bpy.types.Object, scratch: Path) -> None:
    """Raise BadObject if the subject, as put on the stage, cannot be seen or shows Blender's magenta.

    The objects that it adds to Blender stay there until the visit is over.
    """
    for number, pose in enumerate(POSES):
        copy = bpy.data.objects.new("booth", subject.data)
        column, row = number % SIDE - (SIDE - 1) / 2, number // SIDE - (SIDE - 1) / 2
        cell = _view() @ Matrix.Translation((2 * HALF * column, 2 * HALF * row, 0))
        copy.matrix_world = Matrix.Translation(cell.to_translation()) @ Matrix(pose.tolist()).to_4x4()
        booth.collection.objects.link(copy)
    pixels = _draw(booth, scratch / "booth.tga")
    alpha = pixels[..., 3] / 255
    share = float(alpha.mean())
    if share < LEAST_SHARE:
        raise BadObject(f"it covers {share:.2%} of the image, less than {LEAST_SHARE:.1%}")
    magenta = float((_is_magenta(pixels) * alpha).sum() / alpha.sum())
    if _has_textures(subject) and magenta > MOST_MAGENTA:
        raise BadObject(f"{magenta:.1%} of it is magenta, Blender's colour of textures that cannot be read")


def _view() -> Matrix:
    """The stage's camera turned to, but at the origin: x right, y up, z towards the camera."""
    return Matrix.Rotation(CAMERA_THETA, 4, "X")


def _set_render(booth: bpy.types.Scene) -> None:
    render, cycles = booth.render, booth.cycles
    render.engine = "CYCLES"
    cycles.device = "CPU"
    cycles.samples, cycles.seed = 1, 0
    cycles.use_adaptive_sampling = cycles.use_denoising = False
    cycles.max_bounces = 0
    render.resolution_x = render.resolution_y = SIDE * PIXELS
    render.resolution_percentage = 100
    render.threads_mode, render.threads = "FIXED", 1
    render.film_transparent = True
    render.use_persistent_data = False
    render.use_compositing = render.use_sequencer = False
    render.use_file_extension = False
    render.dither_intensity = 0
    render.image_settings.file_format, render.image_settings.color_mode = "TARGA_RAW", "RGBA"
    booth.display_settings.display_device = "sRGB"
    booth.view_settings.view_transform = "Standard"


def _draw(booth: bpy.types.Scene, path: Path) -> np.ndarray:
    """The booth's picture, (PIXELS * SIDE, PIXELS * SIDE, 4) uint8 RGBA display values."""
    booth.render.filepath = str(path)
    bpy.ops.render.render(scene=booth.name, write_still=True)
    data = path.read_bytes()  # an uncompressed TARGA: a header of 18 bytes, then blue, green, red, alpha
    side = SIDE * PIXELS
    pixels = np.frombuffer(data, np.uint8, side * side * 4, 18 + data[0]).reshape(side, side, 4)
    return pixels[..., [2, 1, 0, 3]]


def _is_magenta(pixels: np.ndarray) -> np.ndarray:
    """Red and blue alike, no green at all: what no paint and hardly a picture has."""
    red, green, blue = (pixels[..., channel].astype(int) for channel in range(3))
    return (abs(red - blue) <= 2) & (green <= 2) & (red >= 64)


def _has_textures(subject: bpy.types.Object) -> bool:
    """Whether any of its materials reads an image. A plain colour may be magenta; it is meant."""
    trees = (compat.shader_tree(material) for material in subject.data.materials)
    return any(node.type.startswith("TEX_") for tree in trees for node in tree.nodes)
