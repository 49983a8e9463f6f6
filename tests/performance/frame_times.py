"""Where the time of a frame goes, in one thread of this process; used by render_speed.py. Prints one line of JSON.

    python tests/performance/frame_times.py SOURCE OBJECTS RESOLUTION

Cycles does not tell, so parts are switched off one after the other: medians over the objects, in milliseconds.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import bpy
import numpy as np

from assets.catalog import load_catalog, load_object
from renderer.blender import engine, importers, scene
from renderer.blender.worker import purged
from renderer.images import without_metadata
from renderer.latents import sample_latents

REPEATS = 5


def main(source: str, count: int, resolution: int) -> dict[str, float]:
    """Median milliseconds per frame, by part."""
    stage = scene.build_stage()
    engine.configure(stage.scene, resolution, "fast", "jpg", "cpu")
    objects = load_catalog(source, ROOT).objects
    rows = []
    for number in range(count):
        ref = objects[number * len(objects) // count]
        with purged([stage.scene]), tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            surface, materials, _ = importers.make_subject(load_object(ref, Path(folder)))
            scene.put_on_stage(stage, surface, materials)
            imported = time.perf_counter() - begun
            rows.append({"object import (once a visit)": 1000 * imported, **parts(stage, number, Path(folder))})
    return {name: round(float(np.median([row[name] for row in rows])), 2) for name in rows[0]}


def parts(stage: scene.Stage, number: int, folder: Path) -> dict[str, float]:
    """Milliseconds of the parts of one object's frame."""
    cycles = stage.scene.cycles
    spp, denoise = cycles.samples, cycles.use_denoising
    file = folder / "frame.jpg"
    stage.scene.render.filepath = str(file)

    def timed(what, *arguments, **named) -> float:
        best = np.inf
        stage.scene.update_tag()  # else Blender overlooks that only settings have changed
        for repeat in range(REPEATS + 1):  # the first one builds what the others keep
            scene.pose(stage, sample_latents(0, number * REPEATS + repeat))
            begun = time.perf_counter()
            what(*arguments, **named)
            best = min(best, time.perf_counter() - begun) if repeat else np.inf
        return 1000 * best

    whole = timed(bpy.ops.render.render, write_still=True)
    unwritten = timed(bpy.ops.render.render)
    cycles.use_denoising = False
    raw = timed(bpy.ops.render.render)
    cycles.samples = 2 * spp
    doubled = timed(bpy.ops.render.render)
    cycles.samples, cycles.use_denoising = spp, denoise

    def rewrite() -> None:
        file.write_bytes(without_metadata(file.read_bytes(), "jpg"))
        os.replace(file, folder / "done.jpg")
        os.replace(folder / "done.jpg", file)

    writing = timed(rewrite)
    tracing = doubled - raw
    return {
        "whole frame": whole + writing,
        "scene sync": raw - tracing,
        f"path tracing ({spp} samples)": tracing,
        "denoising": unwritten - raw,
        "encoding": whole - unwritten,
        "writing": writing,
    }


if __name__ == "__main__":
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Blender prints lines for every image
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))), file=answer, flush=True)
    os._exit(0)  # Blender's own shutdown is slow
