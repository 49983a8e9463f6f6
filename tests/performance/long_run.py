"""Whether a long run stays as it began: memory of the workers and images per second, over tens of thousands of images.

    python tests/performance/long_run.py --json long_run.json

Renders small images, so that objects are switched often, and prints the workers' resident memory against the images
that they have drawn, the rate over the first and the last tenth of the run, how often an object was switched and how
many workers were recycled. `--recycle-after 1000000` shows the memory of processes that are never replaced.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from renderer import render, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--objects", default="procedural@64")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--workers", default="auto")
    parser.add_argument("--recycle-after", type=int, default=run.RECYCLING.frames, metavar="FRAMES")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()

    run.RECYCLING = replace(run.RECYCLING, frames=options.recycle_after)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "data"
        arguments = ["--n", str(options.frames), "--out", str(out), "--objects", options.objects]
        arguments += ["--resolution", str(options.resolution), "--workers", options.workers]
        if code := render.main(arguments):
            return code
        report = json.loads((out / "report.json").read_text())
    numbers = {"objects": options.objects, "resolution": options.resolution, **measured(report)}
    print(json.dumps(numbers))
    for worker, memory in numbers["rss_mb"].items():
        print(f"\n{worker}: at most {memory['max']:.0f} MB\n{'images':>8} {'MB':>8} {'seconds':>8}")
        for frames, mb, seconds in memory["series"]:
            print(f"{frames:8d} {mb:8.1f} {seconds:8.1f}")
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=2) + "\n")
    return 0


def measured(report: dict) -> dict:
    """The numbers of a report that tell whether the run stayed as it began."""
    series = [memory["series"] for memory in report["rss_mb"].values()]
    first = sum(rate(points, 0.0, 0.1) for points in series)
    last = sum(rate(points, 0.9, 1.0) for points in series)
    return {
        "images": report["rendered_in_this_run"],
        "object_switches": report["visits"],
        "workers": report["workers"],
        "workers_recycled": report["workers_recycled"],
        "worker_restarts": report["worker_restarts"],
        "images_per_s": report["images_per_second"],
        "images_per_s_first_tenth": round(first, 2),
        "images_per_s_last_tenth": round(last, 2),
        "last_to_first": round(last / first, 3) if first else None,
        "rss_mb": report["rss_mb"],
    }


def rate(points: list[tuple[int, float, float]], start: float, end: float) -> float:
    """Images per second of one worker between two shares of its images; points are (images, MB, seconds)."""
    total = points[-1][0]
    inside = [point for point in points if start * total <= point[0] <= end * total]
    if len(inside) < 2:
        return 0.0
    return (inside[-1][0] - inside[0][0]) / (inside[-1][2] - inside[0][2])


if __name__ == "__main__":
    sys.exit(main())
