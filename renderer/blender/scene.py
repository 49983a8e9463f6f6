"""The scene of the paper's appendix A.1, after 3DIEBench: an object over a coloured floor under a coloured spot.

Right-handed, z up; lengths are 3DIEBench's (the camera is 2.5 from the origin). The fixed camera is on the -y side, 45
degrees up; the object is normalised to a sphere that never leaves the frame and never touches the floor.
"""

import colorsys
import math
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix, Vector

from renderer.blender import compat
from renderer.blender import surface as surfaces
from renderer.blender.materials import COLOUR_LAYER, UV_LAYER, to_linear
from renderer.latents import rotation_matrix, spot_position

OBJECT_RADIUS = 0.82  # the largest sphere that the camera sees whole has radius 2.5 sin(fov / 2) = 0.847
FLOOR_Z = -0.84
FLOOR_HALF_SIDE = 30.0  # fills the frame: the camera's highest ray meets the floor 3.8 behind the origin

TWIN_Z = -10.0  # under the floor, where neither the camera nor any light sees it

CAMERA_DISTANCE = 2.5
CAMERA_THETA = math.pi / 4
FIELD_OF_VIEW = 0.691111

FLOOR_SATURATION, FLOOR_VALUE = 0.6, 0.6

# White light reaches every surface from the sun and the world; the spot adds its own colour. A white surface (which
# reflects materials.WHITEST of the light) stays below the display's maximum even at its nearest to the spot.
SPOT_DISTANCE = 4.0
SPOT_CONE = math.radians(25)  # full angle: the object's sphere, as seen from the spot, and a little of the floor around
SPOT_BLEND = 0.1
SPOT_RADIUS = 0.1
SPOT_POWER = 345.0
SPOT_SATURATION, SPOT_VALUE = 0.36, 0.86  # of a white surface in the middle of the spot's light (see spot_colour)

SUN_STRENGTH = 0.8
SUN_ANGLE = math.radians(60)  # soft: its shadows must not be taken for the spot's
SUN_DIRECTION = (0.25, 0.55, -1.0)
WORLD_STRENGTH = 0.2


@dataclass
class Stage:
    """The Blender objects that change from image to image."""

    scene: bpy.types.Scene
    floor: bpy.types.Object
    spot: bpy.types.Object
    subject: bpy.types.Object | None = None
    twin: bpy.types.Object | None = None  # see put_on_stage


def floor_colour(hue: float) -> np.ndarray:
    """Linear reflectance of the floor, (3,): HSV(hue, 0.6, 0.6) on the display."""
    return to_linear(colorsys.hsv_to_rgb(hue, FLOOR_SATURATION, FLOOR_VALUE))


def spot_colour(hue: float) -> np.ndarray:
    """Linear colour of the spot's light, (3,), from 0 in its smallest component to 1 in its largest.

    White light on top of a light of that hue would shift the hue that is seen (by up to 0.04): displays are not linear.
    So this is the light that, added to the white light, makes a white surface HSV(hue, SPOT_SATURATION, SPOT_VALUE).
    """
    linear = to_linear(colorsys.hsv_to_rgb(hue, SPOT_SATURATION, SPOT_VALUE))
    return (linear - linear.min()) / (linear.max() - linear.min())


def build_stage() -> Stage:
    """Empty Blender and set up the floor, the lights and the camera."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    _add_world(scene)
    _add_camera(scene)
    _add_sun(scene)
    return Stage(scene=scene, floor=_add_floor(scene), spot=_add_spot(scene))


def pose(stage: Stage, latents: dict[str, float]) -> None:
    """Set the stage to the seven latents; the subject turns about the origin."""
    stage.subject.matrix_world = Matrix(rotation_matrix(latents).tolist()).to_4x4()
    stage.floor.color = (*floor_colour(latents["floor_hue"]), 1.0)
    stage.spot.matrix_world = _looking_at_origin(spot_position(latents, SPOT_DISTANCE))
    stage.spot.data.color = spot_colour(latents["spot_hue"])


def put_on_stage(stage: Stage, surface: surfaces.Surface, materials: list[bpy.types.Material]) -> None:
    """Make the surface, normalised, the stage's subject. Face material indices point into `materials`."""
    mesh = _mesh(surfaces.normalise(surface, OBJECT_RADIUS), materials)
    stage.subject = _link(stage.scene, "subject", mesh)
    # A mesh with two users stays as it is while its objects move. With one, Cycles bakes each new rotation into the
    # vertices and builds the tree over all triangles again: +6 ms an image at 8,000 faces, +160 ms at 166,000.
    stage.twin = _link(stage.scene, "twin", mesh)
    stage.twin.matrix_world = Matrix.Translation((0, 0, TWIN_Z))


def _mesh(surface: surfaces.Surface, materials: list[bpy.types.Material]) -> bpy.types.Mesh:
    mesh = bpy.data.meshes.new("subject")
    mesh.vertices.add(len(surface.points))
    mesh.loops.add(len(surface.corners))
    mesh.polygons.add(len(surface.sizes))
    mesh.vertices.foreach_set("co", surface.points.astype(np.float32).ravel())
    mesh.loops.foreach_set("vertex_index", surface.corners.astype(np.int32))
    mesh.polygons.foreach_set("loop_start", surface.starts.astype(np.int32))
    compat.set_face_sizes(mesh, surface.sizes)
    mesh.polygons.foreach_set("use_smooth", surface.smooth)
    for material in materials:
        mesh.materials.append(material)
    mesh.polygons.foreach_set("material_index", surface.material.astype(np.int32))
    mesh.uv_layers.new(name=UV_LAYER).data.foreach_set("uv", surface.uv.ravel())
    colours = mesh.color_attributes.new(COLOUR_LAYER, "FLOAT_COLOR", "CORNER")
    colours.data.foreach_set("color", surface.colour.ravel())
    mesh.update(calc_edges=True)
    normals = surfaces.believable_normals(surface)
    if normals is not None:
        compat.set_corner_normals(mesh, normals)
    return mesh


def _looking_at_origin(position: np.ndarray) -> Matrix:
    direction = Vector(-np.asarray(position))
    return Matrix.Translation(Vector(position)) @ direction.to_track_quat("-Z", "Y").to_matrix().to_4x4()


def _link(scene: bpy.types.Scene, name: str, data: bpy.types.ID) -> bpy.types.Object:
    made = bpy.data.objects.new(name, data)
    scene.collection.objects.link(made)
    return made


def _add_world(scene: bpy.types.Scene) -> None:
    scene.world = bpy.data.worlds.new("world")
    background = next(node for node in compat.shader_tree(scene.world).nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (1, 1, 1, 1)
    background.inputs["Strength"].default_value = WORLD_STRENGTH
    scene.world.cycles.sampling_method = "NONE"  # uniform: rays that escape find it, no sampling needed


def _add_camera(scene: bpy.types.Scene) -> None:
    data = bpy.data.cameras.new("camera")
    data.angle = FIELD_OF_VIEW
    scene.camera = _link(scene, "camera", data)
    away = np.array([0, -math.sin(CAMERA_THETA), math.cos(CAMERA_THETA)])
    scene.camera.matrix_world = _looking_at_origin(CAMERA_DISTANCE * away)


def _add_sun(scene: bpy.types.Scene) -> None:
    data = bpy.data.lights.new("sun", "SUN")
    data.energy, data.angle = SUN_STRENGTH, SUN_ANGLE
    _link(scene, "sun", data).matrix_world = _looking_at_origin(-np.array(SUN_DIRECTION))


def _add_spot(scene: bpy.types.Scene) -> bpy.types.Object:
    data = bpy.data.lights.new("spot", "SPOT")
    data.energy, data.spot_size, data.spot_blend = SPOT_POWER, SPOT_CONE, SPOT_BLEND
    data.shadow_soft_size = SPOT_RADIUS
    return _link(scene, "spot", data)


def _add_floor(scene: bpy.types.Scene) -> bpy.types.Object:
    mesh = bpy.data.meshes.new("floor")
    side = FLOOR_HALF_SIDE
    mesh.from_pydata([(-side, -side, 0), (side, -side, 0), (side, side, 0), (-side, side, 0)], [], [(0, 1, 2, 3)])
    material = bpy.data.materials.new("floor")
    tree = compat.shader_tree(material)
    tree.nodes.clear()
    # The colour comes from the object, so that a new hue leaves the shader as it is compiled.
    info = tree.nodes.new("ShaderNodeObjectInfo")
    diffuse = tree.nodes.new("ShaderNodeBsdfDiffuse")
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(info.outputs["Color"], diffuse.inputs["Color"])
    tree.links.new(diffuse.outputs["BSDF"], output.inputs["Surface"])
    mesh.materials.append(material)
    floor = _link(scene, "floor", mesh)
    floor.location.z = FLOOR_Z
    return floor
