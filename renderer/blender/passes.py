"""Drawing passes: mask, depth and normals of the stage as it stands, from a scene of their own.

Not with the image in one render: an image's samples are spread over each pixel and its neighbours, and Cycles takes
the value of a pass from one of them, up to a pixel off: 0.02 in the floor's depth at 128 x 128. A second scene that
shares the stage's objects draws one sample a pixel at its centre, without lights (what that costs: docs/passes.md);
and it leaves the image's scene alone: with passes or without, images have the same bytes.
"""

from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from renderer import exr
from renderer.blender import compat
from renderer.blender.materials import cut_out
from renderer.blender.scene import Stage

SUBJECT_INDEX = 1  # of the object, in the pass of object indices; the floor has 0

#: Cycles cannot sample the very centre; this is the narrowest filter it has, in pixels.
NARROWEST_FILTER = 0.01

#: See-through surfaces, one behind the other, behind which passes find nothing any more.
MOST_LAYERS = 64


@dataclass
class PassStage:
    """The scene in which passes are drawn, and its own view of the stage's subject."""

    scene: bpy.types.Scene
    subject: bpy.types.Object | None = None


def build_stage(stage: Stage) -> PassStage:
    """A scene with the camera and the floor of a configured stage, set up to draw passes."""
    scene = stage.scene.copy()
    scene.name = "passes"
    for lamp in [member for member in scene.collection.objects if member.type == "LIGHT"]:
        scene.collection.objects.unlink(lamp)
    scene.world = None
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_normal = layer.use_pass_object_index = True
    scene.render.engine = "CYCLES"  # whichever draws the image: EEVEE has no index of objects
    cycles = scene.cycles
    cycles.samples, cycles.max_bounces = 1, 0
    cycles.transparent_max_bounces = MOST_LAYERS
    cycles.use_adaptive_sampling = cycles.use_denoising = False
    cycles.pixel_filter_type, cycles.filter_width = "GAUSSIAN", NARROWEST_FILTER
    compat.set_exr_output(scene.render)
    return PassStage(scene)


def put_on_stage(passes: PassStage, stage: Stage) -> None:
    """Make the stage's subject that of the passes; it leaves Blender with everything else of its visit.

    With one sample, a surface that is partly see-through would be there in some pixels and not in their neighbours: the
    passes show it cut out.
    """
    passes.subject = bpy.data.objects.new("passes subject", stage.subject.data)
    passes.subject.pass_index = SUBJECT_INDEX
    for slot in passes.subject.material_slots:
        if slot.material and (cut := cut_out(slot.material)):
            slot.link, slot.material = "OBJECT", cut
    for member in (passes.subject, stage.twin):
        passes.scene.collection.objects.link(member)


def draw(passes: PassStage, stage: Stage, scratch: Path) -> dict[str, np.ndarray]:
    """Every pass of the stage as it is posed now, in the forms that `renderer.passes.encode` takes.

    `scratch` is a file that is written on the way.
    """
    passes.subject.matrix_world = stage.subject.matrix_world
    passes.scene.render.filepath = str(scratch)
    bpy.ops.render.render(write_still=True, scene=passes.scene.name)
    channels = exr.read(scratch.read_bytes())
    layer = passes.scene.view_layers[0].name
    normal = np.stack([channels[f"{layer}.Normal.{axis}"] for axis in "XYZ"], axis=-1)
    return {
        "mask": channels[f"{layer}.{compat.object_index_channel()}"] == SUBJECT_INDEX,
        "depth": channels[f"{layer}.Depth.Z"],
        "normal": normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6),
    }
