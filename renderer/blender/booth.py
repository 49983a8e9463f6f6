"""A look at an object's own pixels before any image of it is made.

Is there something to see, is it painted, and is it finer than a pixel? The object alone is drawn in nine fixed poses on
one small picture, in a scene of its own: nothing of the stage is touched, and the verdict depends on the object only.
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

#: Share of an object's pixels in the colour of a texture that Cycles could not read.
MOST_MAGENTA = 0.05

#: Mean squared Laplacian above which an object is finer than a few samples a pixel can show: with 4 samples at
#: 128 x 128 it comes out at about 35 dB or worse. About one real object in twelve is: fir trees, grids, printed cloth.
FINE = 10**-2.15

#: What the object stands before when its detail is measured, in display values.
BACKGROUND = 0.3

SIDE, PIXELS = 3, 32  # poses a side, pixels a pose and side
POSES = tuple(rotation_matrix(sample_latents(0, number)) for number in range(SIDE * SIDE))

#: Half the side of the square that the stage's camera sees at the origin.
HALF = CAMERA_DISTANCE * math.tan(FIELD_OF_VIEW / 2)


def build_booth() -> bpy.types.Scene:
    """A scene in which `look_at` draws: a camera without perspective, and a light at it that throws no shadows.

    So nothing is left to chance but which point of a pixel its one sample meets.
    """
    booth = bpy.data.scenes.new("booth")
    booth.world = bpy.data.worlds.new("booth")
    background = next(node for node in compat.shader_tree(booth.world).nodes if node.type == "BACKGROUND")
    background.inputs["Strength"].default_value = 0
    camera = bpy.data.cameras.new("booth")
    camera.type, camera.ortho_scale = "ORTHO", 2 * HALF * SIDE
    booth.camera = _add(booth, "booth camera", camera)
    booth.camera.matrix_world = _view() @ Matrix.Translation((0, 0, 2 * CAMERA_DISTANCE))
    light = bpy.data.lights.new("booth", "SUN")
    light.energy, light.angle = math.pi, 0  # a white surface that faces it comes out white
    compat.throw_no_shadows(light)
    _add(booth, "booth light", light).matrix_world = _view()
    _set_render(booth)
    return booth


def look_at(booth: bpy.types.Scene, subject: bpy.types.Object, scratch: Path) -> bool:
    """Whether the subject, as put on the stage, is `FINE`.

    The objects that this adds to Blender stay there until the visit is over. Raises BadObject if there is nothing to
    be seen, or Blender's magenta.
    """
    for number, pose in enumerate(POSES):
        column, row = number % SIDE - (SIDE - 1) / 2, number // SIDE - (SIDE - 1) / 2
        cell = _view() @ Matrix.Translation((2 * HALF * column, 2 * HALF * row, 0))
        copy = _add(booth, "booth", subject.data)
        copy.matrix_world = Matrix.Translation(cell.to_translation()) @ Matrix(pose.tolist()).to_4x4()
    pixels = _draw(booth, scratch / "booth.tga")
    alpha = pixels[..., 3] / 255
    share = float(alpha.mean())
    if share < LEAST_SHARE:
        raise BadObject(f"it covers {share:.2%} of the image, less than {LEAST_SHARE:.1%}")
    magenta = float((_is_magenta(pixels) * alpha).sum() / alpha.sum())
    if _has_textures(subject) and magenta > MOST_MAGENTA:
        raise BadObject(f"{magenta:.1%} of it is magenta, Blender's colour of textures that cannot be read")
    before = alpha[..., None] * pixels[..., :3] / 255 + (1 - alpha[..., None]) * BACKGROUND
    return mean_squared_laplacian(before) > FINE


def mean_squared_laplacian(picture: np.ndarray) -> float:
    """Mean over pixels and channels of (pixel - mean of its four neighbours)^2.

    Args:
        picture: (H, W, C) display values in [0, 1], H and W at least 3.
    """
    neighbours = picture[:-2, 1:-1] + picture[2:, 1:-1] + picture[1:-1, :-2] + picture[1:-1, 2:]
    return float(((picture[1:-1, 1:-1] - neighbours / 4) ** 2).mean())


def _add(booth: bpy.types.Scene, name: str, data: bpy.types.ID) -> bpy.types.Object:
    made = bpy.data.objects.new(name, data)
    booth.collection.objects.link(made)
    return made


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
