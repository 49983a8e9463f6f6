"""What a render costs on a cluster: the table of docs/cluster.md, for any rate.

    hours = images / (rate x cores x nodes x 3600) + start / 3600
    core-hours = hours x cores x nodes

Measure on one node of the cluster, with a worker on each of its cores, and hand the numbers over:

    gr3d render --n 500000 ... --workers 16 --dry-run --json > measured.json
    python scripts/cluster_cost.py --measured measured.json --cores 16
"""

import argparse
import json
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measured", type=Path, help="what `gr3d render --dry-run --json` printed; or give these:")
    parser.add_argument("--images", type=int, default=500_000)
    parser.add_argument("--rate", type=float, help="images per second and core")
    parser.add_argument("--bytes", type=float, help="of one image with its labels in a shard")
    parser.add_argument("--start", type=float, default=30, help="seconds from a task's start to its first image (30)")
    parser.add_argument("--cores", type=int, default=16, help="per node (16)")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 4, 16, 64])
    options = parser.parse_args()
    if options.measured:
        told = json.loads(options.measured.read_text())
        options.images, options.bytes, options.start = told["images"], told["bytes_per_image"], told["start_seconds"]
        options.rate = told["images_per_second"] / told["workers"]
    if not options.rate or not options.bytes:
        parser.error("give --measured FILE, or --rate and --bytes")
    print("| nodes | hours | core-hours | images/s | disk |\n|---|---|---|---|---|")
    for nodes in options.nodes:
        cores = nodes * options.cores
        hours = options.images / (options.rate * cores * 3600) + options.start / 3600
        print(
            f"| {nodes} x {options.cores} cores | {hours:.2f} | {hours * cores:.1f} | {options.rate * cores:.0f} "
            f"| {options.images * options.bytes / 1e9:.1f} GB |"
        )


if __name__ == "__main__":
    main()
