"""Cycles' and EEVEE's settings as named presets, and the one place where they and the device are given to Blender."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

import bpy

from assets.errors import UserError
from renderer import devices
from renderer.blender import compat
from renderer.spec import ENGINES

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

#: EEVEE's samples smooth edges and soft shadows: no light path is traced.
EEVEE_SAMPLES = {"fast": 16, "reference": 256}

#: Samples that reach about the quality of 8 denoised ones where Blender was built without OpenImageDenoise.
SPP_WITHOUT_DENOISER = 32


def choose_preset(name: str, has_denoiser: bool) -> Preset:
    """The preset of that name, with more samples instead of a denoiser where Blender has none."""
    if name not in PRESETS:
        raise UserError(f"--preset {name}: choose {' or '.join(PRESETS)}", exit_code=2)
    preset = PRESETS[name]
    if preset.denoise and not has_denoiser:
        return replace(preset, denoise=False, spp=SPP_WITHOUT_DENOISER)
    return preset


def configure(
    scene: bpy.types.Scene,
    resolution: int,
    preset: str,
    image_format: str,
    device: str,
    *,
    engine: str = "cycles",
    number: int = 0,
    threads: int = 1,
) -> dict:
    """Set the scene up and return the resolved settings, as reported in a dataset.

    Args:
        scene: what is drawn.
        resolution: side of the images in pixels.
        preset: a name in PRESETS.
        image_format: a name in FORMATS.
        device: Cycles' device type, or "auto"; see renderer/devices.py.
        engine: "cycles" or "eevee".
        number: which device of that type, of those that this process sees.
        threads: how many Blender may use.

    Raises UserError for an unknown preset, format, device or engine.
    """
    if image_format not in FORMATS:
        raise UserError(f"--format {image_format}: choose {', '.join(FORMATS)}", exit_code=2)
    if engine not in ENGINES:
        raise UserError(f"--engine {engine}: choose {' or '.join(ENGINES)}", exit_code=2)
    _set_output(scene, resolution, image_format, threads)
    configured = _configure_cycles if engine == "cycles" else _configure_eevee
    return {"engine": engine, "preset": preset, **configured(scene, preset, device, number), "threads": threads}


def _configure_cycles(scene: bpy.types.Scene, preset: str, device: str, number: int) -> dict:
    settings = choose_preset(preset, compat.has_denoiser())
    scene.render.engine = "CYCLES"
    device, name = _set_device(scene, device, number)
    _set_quality(scene.cycles, settings)
    compat.set_denoising_on_gpu(scene.cycles, settings.denoise and device != "cpu")
    record = {
        "spp": settings.spp,
        "denoiser": "openimagedenoise" if settings.denoise else None,
        "bounces": settings.bounces,
        "device": device,
        "device_names": [name],
    }
    if settings.denoise != PRESETS[preset].denoise:
        record["instead"] = f"this Blender has no OpenImageDenoise: {settings.spp} samples and no denoiser"
    return record


def _configure_eevee(scene: bpy.types.Scene, preset: str, _device: str, _number: int) -> dict:
    if preset not in EEVEE_SAMPLES:
        raise UserError(f"--preset {preset}: choose {' or '.join(EEVEE_SAMPLES)}", exit_code=2)
    scene.render.engine = compat.eevee()
    scene.eevee.taa_render_samples = EEVEE_SAMPLES[preset]
    name = _opengl(scene)
    return {"samples": EEVEE_SAMPLES[preset], "device": devices.OPENGL, "device_names": [name]}


def _opengl(scene: bpy.types.Scene) -> str:
    """What OpenGL draws on. Only a render makes Blender open it; where there is none, that ends the process."""
    import gpu

    side = scene.render.resolution_x
    scene.render.resolution_x = scene.render.resolution_y = 8
    bpy.ops.render.render()
    scene.render.resolution_x = scene.render.resolution_y = side
    return gpu.platform.renderer_get()


def available_devices(types: Iterable[str] = devices.GPUS) -> dict[str, list[str]]:
    """GPU type -> names of all its devices that this process sees, for those of `types` that have any."""
    found = {gpu: [entry.name for entry in _devices_of(gpu)] for gpu in types}
    return {gpu: names for gpu, names in found.items() if names}


def _devices_of(gpu: str) -> list[bpy.types.PropertyGroup]:
    preferences = bpy.context.preferences.addons["cycles"].preferences
    with contextlib.suppress(Exception):  # a type that this build does not know, or whose driver is absent
        return [entry for entry in preferences.get_devices_for_type(gpu.upper()) if entry.type == gpu.upper()]
    return []


def _set_device(scene: bpy.types.Scene, requested: str, number: int) -> tuple[str, str]:
    """Let Cycles draw on one device; returns its type and name. A CPU run touches no GPU's driver."""
    found = available_devices(devices.GPUS if requested == "auto" else {requested} & set(devices.GPUS))
    device = devices.choose(requested, found).device
    if device == "cpu":
        scene.cycles.device = "CPU"
        return device, "CPU"
    # Without these three steps Cycles renders on the CPU and says nothing.
    preferences = bpy.context.preferences.addons["cycles"].preferences
    preferences.compute_device_type = device.upper()
    chosen = _devices_of(device)[number].id
    for entry in preferences.devices:
        entry.use = entry.type == device.upper() and entry.id == chosen
    scene.cycles.device = "GPU"
    return device, found[device][number]


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


def _set_output(scene: bpy.types.Scene, resolution: int, image_format: str, threads: int) -> None:
    render = scene.render
    render.resolution_x = render.resolution_y = resolution
    render.resolution_percentage = 100
    render.threads_mode, render.threads = "FIXED", threads
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
