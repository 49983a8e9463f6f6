"""Cycles' and EEVEE's settings as named presets, and the one place where they and the device are given to Blender."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

import bpy

from assets.errors import UserError
from renderer import devices
from renderer.blender import compat
from renderer.spec import ENGINES, PRESETS

FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
#: Blender's JPEG halves the resolution of colours, which costs as much as the noise of `fast`; at 95 half a dB more.
JPEG_QUALITY = 98


@dataclass(frozen=True)
class Denoiser:
    """How OpenImageDenoise works, in Cycles' names: its quality, what it is shown, what of that is cleaned before."""

    quality: str
    passes: str
    prefilter: str


@dataclass(frozen=True)
class Preset:
    """What decides the quality of a picture. Bounces are 3DIEBench's: diffuse light only, three times."""

    spp: int
    denoiser: Denoiser | None = None
    detail: int = 1  # times as many samples for objects with fine detail (see booth.py)
    adaptive_threshold: float = 0.0  # Cycles' noise threshold; 0: every pixel gets all samples
    light_tree: bool = False  # for three lights its cost buys nothing
    bounces: int = 3
    transparent_bounces: int = 8


def presets(resolution: int) -> dict[str, Preset]:
    """The presets by name. What each setting of `fast` is worth, and what else was tried: docs/rendering-speed.md.

    Args:
        resolution: side of the images in pixels. The larger a pixel, the more edges it covers and the more samples
            it needs: inversely as the resolution, the error stays about the same.
    """
    return {
        "fast": Preset(spp=min(max(512 // resolution, 4), 16), detail=4, denoiser=Denoiser("FAST", "RGB", "NONE")),
        "reference": Preset(spp=2048),
        # The settings of the paper's authors' generator, which tests/performance/render_speed.py measures against.
        "3diebench": Preset(
            spp=100,
            adaptive_threshold=0.01,
            light_tree=True,
            denoiser=Denoiser("HIGH", "RGB_ALBEDO_NORMAL", "ACCURATE"),
        ),
    }


#: Samples, in place of each denoised one, that come as near to `reference` where Blender has no OpenImageDenoise.
SAMPLES_FOR_A_DENOISED_ONE = 4

#: EEVEE's samples smooth edges and soft shadows: no light path is traced.
EEVEE_SAMPLES = {"fast": 16, "reference": 256}


def choose_preset(name: str, resolution: int, has_denoiser: bool) -> Preset:
    """The preset of that name, with more samples instead of a denoiser where Blender has none."""
    known = presets(resolution)
    if name not in known:
        raise UserError(f"--preset {name}: choose {' or '.join(PRESETS)}", exit_code=2)
    preset = known[name]
    if preset.denoiser and not has_denoiser:
        return replace(preset, denoiser=None, spp=SAMPLES_FOR_A_DENOISED_ONE * preset.spp)
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
        preset: a name in `presets`.
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


def set_samples(scene: bpy.types.Scene, settings: dict, fine: bool) -> list[str]:
    """Give the object that comes next its samples.

    Args:
        scene: what is drawn.
        settings: from `configure`.
        fine: whether the object has fine detail (see booth.py).

    Returns a note if there are more samples than for others.
    """
    if settings["engine"] != "cycles":
        return []
    scene.cycles.samples = settings["spp_of_detail" if fine else "spp"]
    scene.update_tag()  # else Blender may overlook that nothing but this has changed
    more = scene.cycles.samples > settings["spp"]
    return [f"fine detail: {scene.cycles.samples} samples a pixel"] if more else []


def _configure_cycles(scene: bpy.types.Scene, preset: str, device: str, number: int) -> dict:
    settings = choose_preset(preset, scene.render.resolution_x, compat.has_denoiser())
    scene.render.engine = "CYCLES"
    device, name = _set_device(scene, device, number)
    _set_quality(scene.cycles, settings)
    compat.set_denoising_on_gpu(scene.cycles, settings.denoiser is not None and device != "cpu")
    record = {
        "spp": settings.spp,
        "spp_of_detail": settings.detail * settings.spp,
        "denoiser": "openimagedenoise" if settings.denoiser else None,
        "bounces": settings.bounces,
        "device": device,
        "device_names": [name],
    }
    if settings.denoiser is None and preset != "reference":
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
    # The picture must not be taken for an image of the first object.
    bpy.data.batch_remove([image for image in bpy.data.images if image.type == "RENDER_RESULT"])
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
    cycles.use_adaptive_sampling = preset.adaptive_threshold > 0
    cycles.adaptive_threshold = preset.adaptive_threshold
    cycles.seed = 0  # the same noise in every image: bytes depend on the latents alone
    cycles.use_animated_seed = False
    cycles.max_bounces = cycles.diffuse_bounces = preset.bounces
    cycles.glossy_bounces = cycles.transmission_bounces = cycles.volume_bounces = 0
    cycles.transparent_max_bounces = preset.transparent_bounces
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.use_auto_tile = False
    cycles.use_denoising = preset.denoiser is not None
    if preset.denoiser:
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.denoising_prefilter = preset.denoiser.prefilter
        cycles.denoising_input_passes = preset.denoiser.passes
        compat.set_denoising_quality(cycles, preset.denoiser.quality)
    compat.set_light_tree(cycles, preset.light_tree)


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
