"""How fast whole runs of the renderer are, objects' import included, and how that grows with workers.

    python tests/performance/render_speed.py --json speed.json

Renders the same images with one worker and with one per core, each into a fresh folder, and prints images per second
(from the first image's request to the last shard's sealing, Blender's start left out and stated apart), their ratio,
and where the time of a worker goes.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from renderer import render
from renderer.pool import usable_cores


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=800)
    parser.add_argument("--objects", default="sweethome3d:chair,sofa")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()

    workers = len(usable_cores())
    with tempfile.TemporaryDirectory() as folder:
        one = measure(options, 1, Path(folder) / "one")
        all_ = measure(options, workers, Path(folder) / "all")
    numbers = {
        "objects": options.objects,
        "images": options.n,
        "resolution": options.resolution,
        "one_worker": one,
        "all_workers": all_,
        "scaling": round(all_["images_per_s"] / one["images_per_s"] / workers, 3),
    }
    print(json.dumps(numbers, indent=2))
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=2) + "\n")
    return 0


def measure(options: argparse.Namespace, workers: int, out: Path) -> dict:
    arguments = ["--n", str(options.n), "--out", str(out), "--objects", options.objects]
    arguments += ["--resolution", str(options.resolution), "--workers", str(workers)]
    if code := render.main(arguments):
        sys.exit(code)
    report = json.loads((out / "report.json").read_text())
    seconds = report["wall_seconds"] - report["start_seconds"]
    busy = workers * seconds
    return {
        "workers": workers,
        "images_per_s": round(options.n / seconds, 2),
        "start_seconds": report["start_seconds"],
        "share_of_frames": round(report["frame_seconds"] / busy, 3),
        "share_of_imports": round(report["import_seconds"] / busy, 3),
        "ms_per_frame": round(1000 * report["frame_seconds"] / options.n, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
