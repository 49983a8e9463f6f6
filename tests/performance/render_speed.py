"""How fast gr3d renders, against 3DIEBench's settings, and what fidelity that costs.

    python tests/performance/render_speed.py --json render_speed.json

For each resolution, on the same objects, latents, machine and in the same run:

* `gr3d render --preset fast` as users run it, with a worker on each core: everything after Blender's start counts,
  imports, encoding and sealing included; at 128 x 128 also in turns with one worker, for how the rate grows;
* 3DIEBench's settings (100 samples, adaptive threshold 0.01, accurate OpenImageDenoise over albedo and normal, bounces
  3/3/0) in this same scene, one process with a thread per core, as its generator runs: frames alone count, imports do
  not, so the ratio that is printed is the smallest that can be meant;
* PSNR of the stored images (and of the same without JPEG) against references of 2048 samples with the same bounces,
  one image per object. References are slow, so they are cached in --cache;
* at 128 x 128, where a frame's time goes (needs the bpy wheel).
"""

import argparse
import hashlib
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from assets.cache import cache_folder
from assets.catalog import ObjectRef, load_catalog
from renderer import render
from renderer.pool import usable_cores
from renderer.spec import __version__
from tests.renderer.blender.helpers import Worker

VIEWS = 20  # per object: what one visit shows
TURNS = 2  # of one worker and of all, for how the rate grows


@dataclass(frozen=True)
class Picture:
    """One stored image of the fast run."""

    index: int
    object: ObjectRef
    latents: dict[str, float]
    jpg: bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", default="sweethome3d", help="source, as in gr3d render")
    parser.add_argument("--object-count", type=int, default=16, help="about as many objects are shown, 20 views each")
    parser.add_argument("--images", type=int, default=64, help="images that 3DIEBench's settings render")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--cache", type=Path, default=cache_folder() / "references", help="folder of references")
    parser.add_argument("--only-references", action="store_true", help="fill the cache, and stop")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()

    numbers = {"objects": options.objects, "cores": len(usable_cores())}
    for resolution in options.resolutions:
        numbers[str(resolution)] = at_resolution(options, resolution)
        if resolution == 128:
            numbers[str(resolution)] |= alone(options, resolution, numbers[str(resolution)]["fast"])
        print(json.dumps({resolution: numbers[str(resolution)]}, indent=2), flush=True)
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=2) + "\n")
    return 0


def at_resolution(options: argparse.Namespace, resolution: int) -> dict:
    cores = len(usable_cores())
    with tempfile.TemporaryDirectory() as folder:
        all_ = whole_run(options, resolution, cores, Path(folder) / "all")
        images = stored(Path(folder) / "all", options.objects)
        judged = evenly(images, options.object_count)
        truth = references(judged, resolution, options.cache)
        if options.only_references:
            return {"references": len(truth)}
        peer, seconds = drawn(evenly(images, options.images), resolution, "3diebench", cores, Path(folder) / "peer")
        plain, _ = drawn(judged, resolution, "fast", 1, Path(folder) / "plain")
        peer_rate = len(peer) / sum(seconds)
        return {
            "fast": all_,
            "3diebench_settings": {"images_per_s": round(peer_rate, 3), "images": len(peer), "threads": cores},
            "ratio": round(all_["images_per_s"] / peer_rate, 2),
            "ratio_of_frames_alone": round(all_["frames_alone_per_s"] / peer_rate, 2),
            "psnr_stored": spread({i.index: decoded(i.jpg) for i in judged}, truth),
            "psnr_before_jpeg": spread(plain, truth),
            "psnr_3diebench": spread({i: peer[i] for i in peer if i in truth}, truth),
        }


def alone(options: argparse.Namespace, resolution: int, all_: dict) -> dict:
    """What one worker does alone: its rate, how the rate grows with workers, and where a frame's time goes.

    The rate's growth is taken over turns of one worker and of all, so that a machine that changes its pace meets both.
    """
    ones, alls = [], [all_]
    for turn in range(TURNS):
        for runs, workers in ((ones, 1), (alls, all_["workers"])):
            with tempfile.TemporaryDirectory() as folder:
                runs.append(whole_run(options, resolution, workers, Path(folder) / f"{workers}-{turn}"))
    one, together = (statistics.median(run["images_per_s"] for run in runs) for runs in (ones, alls))
    return {
        "fast_one_worker": ones,
        "fast_again": alls[1:],
        "scaling": round(together / one / all_["workers"], 3),
        "frame_ms": frame_times(options, resolution),
    }


def whole_run(options: argparse.Namespace, resolution: int, workers: int, out: Path) -> dict:
    """A run of the renderer into `out`, and its rates."""
    n = options.object_count * VIEWS
    arguments = ["--n", str(n), "--out", str(out), "--objects", options.objects, "--preset", "fast"]
    arguments += ["--resolution", str(resolution), "--workers", str(workers)]
    if code := render.main(arguments):
        sys.exit(code)
    report = json.loads((out / "report.json").read_text())
    seconds = report["wall_seconds"] - report["start_seconds"]
    rendered = report["rendered_in_this_run"]
    return {
        "workers": workers,
        "images": rendered,
        "images_per_s": round(rendered / seconds, 2),
        "frames_alone_per_s": round(workers * rendered / report["frame_seconds"], 2),
        "start_seconds": report["start_seconds"],
        "share_of_imports": round(report["import_seconds"] / (workers * seconds), 3),
    }


def stored(dataset: Path, source: str) -> list[Picture]:
    """Every image of a dataset's shards, ordered by object and index."""
    objects = {ref.id: ref for ref in load_catalog(source, ROOT).objects}
    found = []
    for shard in dataset.glob("*.tar"):
        with tarfile.open(shard) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}
        for name in files:
            if name.endswith(".jpg"):
                labels = json.loads(files[name.replace(".jpg", ".json")])
                found.append(Picture(labels["index"], objects[labels["object_id"]], labels["latents"], files[name]))
    return sorted(found, key=lambda image: (image.object.id, image.index))


def evenly(images: list[Picture], count: int) -> list[Picture]:
    """`count` of the images, spread evenly over them, hence over the objects."""
    return [images[i * len(images) // count] for i in range(min(count, len(images)))]


def drawn(
    images: list[Picture], resolution: int, preset: str, threads: int, folder: Path
) -> tuple[dict[int, np.ndarray], list[float]]:
    """The images drawn again by one process, as float arrays by index, and the seconds of each frame."""
    pictures, seconds = {}, []
    with Worker("bpy", folder, resolution=resolution, preset=preset, threads=threads) as worker:
        for number, image in enumerate(images):
            begun = time.perf_counter()
            events = worker.visit(image.object, {image.index: image.latents})
            (event,) = [event for event in events if event["event"] == "rendered"]
            seconds.append(event["seconds"])
            pictures[image.index] = decoded((folder / "spool" / f"{image.index:09d}.png").read_bytes())
            if preset == "reference":
                took = time.perf_counter() - begun
                print(f"reference {number + 1}/{len(images)}, {took:.0f} s each", file=sys.stderr, flush=True)
    return pictures, seconds


def references(images: list[Picture], resolution: int, cache: Path) -> dict[int, np.ndarray]:
    """The images with 2048 samples, from the cache or drawn by one pinned process per core."""
    cache.mkdir(parents=True, exist_ok=True)

    def file(image: Picture) -> Path:
        # After a change of the scene the old references show by a PSNR near 20 dB: then delete the folder.
        key = json.dumps([__version__, image.object.digest, image.latents, resolution], sort_keys=True)
        return cache / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"

    absent = [image for image in images if not file(image).exists()]

    def draw(core: int, mine: list[Picture]) -> None:
        os.sched_setaffinity(0, {core})  # of this thread, and of the worker that it starts
        for image in mine:
            with tempfile.TemporaryDirectory() as folder:
                pictures, _ = drawn([image], resolution, "reference", 1, Path(folder))
            aside = file(image).with_suffix(".tmp")
            with aside.open("wb") as opened:
                np.save(opened, pictures[image.index])
            aside.replace(file(image))

    cores = usable_cores()
    with ThreadPoolExecutor(len(cores)) as pool:
        list(pool.map(draw, cores, [absent[k :: len(cores)] for k in range(len(cores))]))
    return {image.index: np.load(file(image)) for image in images}


def decoded(data: bytes) -> np.ndarray:
    """(H, W, 3) float64 in [0, 1]."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float64) / 255


def spread(pictures: dict[int, np.ndarray], truth: dict[int, np.ndarray]) -> dict:
    """Mean and worst PSNR in dB, of display values in [0, 1]."""
    values = [-10 * np.log10(((pictures[i] - truth[i]) ** 2).mean()) for i in pictures]
    return {"mean": round(float(np.mean(values)), 2), "worst": round(min(values), 2), "images": len(values)}


def frame_times(options: argparse.Namespace, resolution: int) -> dict | None:
    """Milliseconds of a frame by what they are spent on, from a process of its own; None without the bpy wheel."""
    script = Path(__file__).with_name("frame_times.py")
    command = [sys.executable, str(script), options.objects, str(options.object_count), str(resolution)]
    core = str(usable_cores()[-1])
    done = subprocess.run(["taskset", "-c", core, *command], capture_output=True, text=True)
    if "No module named 'bpy'" in done.stderr:
        return None
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
