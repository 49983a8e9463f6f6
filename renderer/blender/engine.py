"""Cycles' settings as named presets, the choice of a device, and the one place where they are given to Blender."""

import contextlib
from collections.abc import Collection
from dataclasses import dataclass, replace

import bpy

from assets.errors import UserError
from renderer.blender import compat

#: Cycles' device types in the order in which `auto` takes them. Their names are Blender's, in lower case.
DEVICES = ("optix", "cuda", "hip", "oneapi", "metal", "cpu")

FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Preset:
    """What decides the quality of a picture. Bounces are 3DIEBench's: diffuse light only, three times."""

    spp: int
    denoise: bool
    bounces: int = 3
    transparent_bounces: int = 8


#: `fast`: 8 spp and OpenImageDenoise cost as much as 10 spp and come 37 dB near to `reference` (at 128 x 128).
PRESETS = {
    "fast": Preset(spp=8, denoise=True),
    "reference": Preset(spp=2048, denoise=False),
}

#: Samples that reach about the quality of 8 denoised ones where Blender was built without OpenImageDenoise.
SPP_WITHOUT_DENOISER = 32


def choose_device(requested: str, available: Collection[str]) -> str:
    """The device type to render on.

    Args:
        requested: "auto" (the first of DEVICES that is there) or one of DEVICES.
        available: the types that have at least one device.

    Raises UserError (exit code 2) for an unknown name and for a device that was asked for and is not there.
    """
    if requested == "auto":
        return next(device for device in DEVICES if device in available or device == "cpu")
    if requested not in DEVICES:
        raise UserError(f"--device {requested}: choose auto, {', '.join(DEVICES)}", exit_code=2)
    if requested != "cpu" and requested not in available:
        found = ", ".join(device for device in DEVICES if device in available)
        raise UserError(f"--device {requested}: Blender finds none here (it finds {found}; or use auto)", exit_code=2)
    return requested


def choose_preset(name: str, has_denoiser: bool) -> Preset:
    """The preset of that name, with more samples instead of a denoiser where Blender has none."""
    if name not in PRESETS:
        raise UserError(f"--preset {name}: choose {' or '.join(PRESETS)}", exit_code=2)
    preset = PRESETS[name]
    if preset.denoise and not has_denoiser:
        return replace(preset, denoise=False, spp=SPP_WITHOUT_DENOISER)
    return preset


def configure(scene: bpy.types.Scene, resolution: int, preset: str, image_format: str, device: str) -> dict:
    """Set the scene up for Cycles and return the resolved settings, as reported in a dataset.

    Raises UserError for an unknown preset, format or device.
    """
    if image_format not in FORMATS:
        raise UserError(f"--format {image_format}: choose {', '.join(FORMATS)}", exit_code=2)
    settings = choose_preset(preset, compat.has_denoiser())
    scene.render.engine = "CYCLES"
    device, names = _set_device(scene, device)
    _set_quality(scene.cycles, settings)
    _set_output(scene, resolution, image_format)
    return {
        "engine": "cycles",
        "preset": preset,
        "spp": settings.spp,
        "denoiser": "openimagedenoise" if settings.denoise else None,
        "bounces": settings.bounces,
        "device": device,
        "device_names": names,
        "threads": scene.render.threads,
    }


def _set_device(scene: bpy.types.Scene, requested: str) -> tuple[str, list[str]]:
    preferences = bpy.context.preferences.addons["cycles"].preferences
    found = {"cpu": ["CPU"]}
    for device in DEVICES[:-1]:
        with contextlib.suppress(Exception):  # a type that this build does not know, or whose driver is absent
            names = [d.name for d in preferences.get_devices_for_type(device.upper()) if d.type == device.upper()]
            if names:
                found[device] = names
    device = choose_device(requested, found)
    if device == "cpu":
        scene.cycles.device = "CPU"
        return device, found[device]
    # Without these three steps Cycles renders on the CPU and says nothing.
    preferences.compute_device_type = device.upper()
    for entry in preferences.devices:
        entry.use = entry.type == device.upper()
    scene.cycles.device = "GPU"
    return device, found[device]


def _set_quality(cycles: bpy.types.PropertyGroup, preset: Preset) -> None:
    cycles.samples = preset.spp
    cycles.use_adaptive_sampling = False
    cycles.seed = 0  # the same noise in every image: bytes depend on the latents alone
    cycles.use_animated_seed = False
    cycles.max_bounces = cycles.diffuse_bounces = preset.bounces
    cycles.glossy_bounces = cycles.transmission_bounces = cycles.volume_bounces = 0
    cycles.transparent_max_bounces = preset.transparent_bounces
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.use_auto_tile = False
    cycles.use_denoising = preset.denoise
    if preset.denoise:
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.denoising_prefilter = "NONE"
        cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
        compat.set_denoising_quality(cycles, "FAST")
    compat.set_light_tree(cycles, False)  # for three lights its cost buys nothing


def _set_output(scene: bpy.types.Scene, resolution: int, image_format: str) -> None:
    render = scene.render
    render.resolution_x = render.resolution_y = resolution
    render.resolution_percentage = 100
    # One worker is one core: the supervisor starts as many as there are cores and pins them.
    render.threads_mode, render.threads = "FIXED", 1
    render.use_persistent_data = True
    render.use_compositing = render.use_sequencer = False
    render.use_file_extension = False
    image = render.image_settings
    image.file_format = FORMATS[image_format]
    image.color_mode = "RGB"
    image.quality = JPEG_QUALITY
    if image_format == "png":
        image.color_depth, image.compression = "8", 15
    for stamp in (name for name in dir(render) if name.startswith("use_stamp")):
        setattr(render, stamp, False)  # dates, hosts and render times would make equal images differ
    render.dither_intensity = 0
    # Hues must come out as they were put in: AgX and Filmic wash them out.
    scene.display_settings.display_device = "sRGB"
    scene.view_settings.view_transform, scene.view_settings.look = "Standard", "None"
    scene.view_settings.exposure, scene.view_settings.gamma = 0, 1
