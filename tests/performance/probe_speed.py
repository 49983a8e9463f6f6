"""The exact probes beside scikit-learn and beside a probe trained by SGD, on the same stored features.

    python tests/performance/probe_speed.py --json probe_speed.json                                (the full size)
    python tests/performance/probe_speed.py --rows 6000 --width 256 --layers 4 --epochs 15         (about a minute)

Features of random ReLU layers over noisy latents and as many other variables are written to a scratch folder, one file
per layer. Then each contender runs in a process of its own, reads them from there, and says its time (from the first
read to the last prediction of the validation rows), its peak memory, and its validation error:

* gr3d: what gr3d regress-latents does after the network: all --layers in one pass, 29 penalties chosen per latent on
  held-out objects, refitted, judged with intervals;
* Ridge(solver="svd"), Ridge() and RidgeCV of scikit-learn, layer by layer, --peer-layers of them: the first two get the
  penalties that gr3d chose, RidgeCV chooses among the same ones by leave-one-out;
* SGD: a linear layer on standardised features, --epochs with momentum 0.9, batch 256 and a cosine, per learning rate;
  the grid's best is picked on the validation rows themselves, in its favour.

Every number printed was measured in this run; contenders that ran on fewer layers say so. A quiet machine is needed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.table import LATENT_NAMES, ImageTable
from benchmark.probes.regress import fit_layers, inner_objects, judge_layers
from benchmark.probes.ridge import RELATIVE_ALPHAS
from benchmark.probes.targets import target_columns
from benchmark.training.device import use_own_cores

BATCH = 256
HIDDEN = 256  # variables behind the features
VIEWS = 50  # images of an object
LEARNING_RATES = (0.1, 0.01, 1.0)  # the usual one, and the rest of a small grid
SPLITS = ("fit", "val")
CONTENDERS = ("gr3d", "ridge_svd", "ridge", "ridge_cv", "sgd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="images to fit on; a tenth as many validate")
    parser.add_argument("--width", type=int, default=2048, help="features of a layer")
    parser.add_argument("--layers", type=int, default=10, help="layers that gr3d reads in its one pass")
    parser.add_argument("--peer-layers", type=int, default=1, help="layers that each of the others reads")
    parser.add_argument("--epochs", type=int, default=90, help="of the probe trained by SGD")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=CONTENDERS, help="gr3d comes first")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(measured(options)))
        return
    with tempfile.TemporaryDirectory(prefix="gr3d-") as folder:
        options.scratch = Path(folder)
        write_features(options)
        report = compare(options)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def compare(options: argparse.Namespace) -> dict:
    """Run the contenders one after the other and print a line about each."""
    print(f"{options.rows:,} rows x {options.width} features, 17 target columns, {use_own_cores()} cores")
    report: dict = {
        "rows": options.rows,
        "width": options.width,
        "threads": use_own_cores(),
        "torch": torch.__version__,
    }
    shared = ("rows", "width", "layers", "peer_layers", "epochs", "scratch")
    words = [word for name in shared for word in (f"--{name.replace('_', '-')}", str(getattr(options, name)))]
    for name in options.only:
        command = [sys.executable, __file__, "--contender", name, *words]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        report[name] = own = json.loads(done.stdout)
        layers = f"{own['layers']} layer{'s' if own['layers'] > 1 else ''}"
        line = f"{name:10} {own['seconds']:8.1f} s for {layers}, peak memory {own['peak_mib']:,.0f} MiB"
        exact = report["gr3d"]["nmse"][: own["layers"]]
        line += f" (libraries alone {own['libraries_mib']:,.0f})"
        if name == "sgd":
            for rate, errors, seconds in zip(LEARNING_RATES, own["nmse_by_rate"], own["seconds_by_rate"], strict=True):
                line += f"\n{'':10} rate {rate:g}: {seconds:.1f} s, validation error {excess(errors, exact)}"
        elif name != "gr3d":
            line += f", validation error {excess(own['nmse'], exact)}, predictions differ by {own['difference']:.1e}"
        print(line, flush=True)
    return report


def excess(errors: list[float], exact: list[float]) -> str:
    """How far a contender's errors are from the exact ones, on average over its layers."""
    share = np.mean(np.array(errors) / np.array(exact)) - 1
    return f"{share:+.2%} of gr3d's" if np.isfinite(share) else "not finite: it diverged"


def measured(options: argparse.Namespace) -> dict:
    """One contender's numbers, in a process that does nothing else."""
    use_own_cores()
    run: Callable[[argparse.Namespace], dict] = globals()[options.contender]
    if options.contender.startswith("ridge"):
        import sklearn.linear_model  # noqa: F401  (its import is not timed)
    libraries = peak_mib()
    started = time.perf_counter()
    found = run(options)
    return {"seconds": time.perf_counter() - started, "peak_mib": peak_mib(), "libraries_mib": libraries, **found}


def peak_mib() -> float:
    """Of this process alone: ru_maxrss would count what its parent had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


# What is read: latents and objects of both splits, and a file of float32 features per layer and split.


def rows_of(split: str, options: argparse.Namespace) -> int:
    return options.rows if split == "fit" else max(options.rows // 10, 2 * VIEWS)


def table_of(split: str, options: argparse.Namespace) -> ImageTable:
    """Labels without images: the features stand for them."""
    rows = rows_of(split, options)
    generator = torch.Generator().manual_seed(SPLITS.index(split))
    quaternion = torch.randn(rows, 4, generator=generator, dtype=torch.float64)
    return ImageTable(
        images=torch.zeros(rows, 0, dtype=torch.uint8),
        index=torch.arange(rows),
        latents=torch.rand(rows, len(LATENT_NAMES), generator=generator, dtype=torch.float64),
        quaternion=quaternion / quaternion.norm(dim=1, keepdim=True),
        object_ids=[f"{split} {row // VIEWS}" for row in range(rows)],
        categories=["category"] * rows,
    )


def write_features(options: argparse.Namespace) -> None:
    for split in SPLITS:
        targets = target_columns(table_of(split, options)).float()
        seen = (targets - targets.mean(dim=0)) / targets.std(dim=0)
        for layer in range(options.layers):
            weights = torch.Generator().manual_seed(layer)
            noise = torch.Generator().manual_seed(1000 + 10 * layer + SPLITS.index(split))
            mix = torch.randn(HIDDEN, options.width, generator=weights) / HIDDEN**0.5
            with file_of(split, layer, options).open("wb") as file:
                for start in range(0, len(seen), 8192):
                    known = seen[start : start + 8192]
                    known = known + 0.5 * torch.randn(known.shape, generator=noise)
                    other = torch.randn(len(known), HIDDEN - known.shape[1], generator=noise)
                    (torch.cat([known, other], dim=1) @ mix + 0.2).relu().numpy().tofile(file)


def file_of(split: str, layer: int, options: argparse.Namespace) -> Path:
    return options.scratch / f"{split}-{layer}.f32"


def read_layer(split: str, layer: int, options: argparse.Namespace) -> np.ndarray:
    """float32 (rows, width)."""
    return np.fromfile(file_of(split, layer, options), np.float32).reshape(-1, options.width)


def read_all(split: str, options: argparse.Namespace) -> Iterator[tuple[slice, dict[str, Tensor]]]:
    """All layers, batch by batch, as a network would give them."""
    files = {str(layer): file_of(split, layer, options).open("rb") for layer in range(options.layers)}
    rows = rows_of(split, options)
    for start in range(0, rows, BATCH):
        part = slice(start, min(start + BATCH, rows))
        count = (part.stop - part.start) * options.width
        read = {name: np.fromfile(file, np.float32, count).reshape(-1, options.width) for name, file in files.items()}
        yield part, {name: torch.from_numpy(x) for name, x in read.items()}
    for file in files.values():
        file.close()


# The contenders.


def gr3d(options: argparse.Namespace) -> dict:
    fit, val = (table_of(split, options) for split in SPLITS)
    layers = fit_layers(read_all("fit", options), target_columns(fit), inner_objects(fit.object_ids))
    judge_layers("gr3d", "val", layers, read_all("val", options), val)
    nmse = []
    for layer in range(options.layers):  # for the others to be held against; costs a thousandth
        own = layers[str(layer)]
        predicted = read_layer("val", layer, options) @ own.weight.numpy() + own.intercept.numpy()
        nmse.append(nmse_of(predicted, options))
        if layer < options.peer_layers:
            np.savez(options.scratch / f"exact-{layer}.npz", predicted=predicted, alphas=own.alphas.numpy())
    return {"layers": options.layers, "nmse": nmse}


def ridge_svd(options: argparse.Namespace) -> dict:
    from sklearn.linear_model import Ridge

    return by_layer(options, lambda alphas, _: Ridge(alpha=alphas, solver="svd"))


def ridge(options: argparse.Namespace) -> dict:
    from sklearn.linear_model import Ridge

    return by_layer(options, lambda alphas, _: Ridge(alpha=alphas))


def ridge_cv(options: argparse.Namespace) -> dict:
    from sklearn.linear_model import RidgeCV

    return by_layer(options, lambda _, path: RidgeCV(path, alpha_per_target=True))


def by_layer(options: argparse.Namespace, model: Callable[[np.ndarray, np.ndarray], object]) -> dict:
    """model(gr3d's penalties (t,), the path it chose from) -> an estimator of scikit-learn's."""
    y = target_columns(table_of("fit", options)).numpy()
    nmse, differences = [], []
    for layer in range(options.peer_layers):
        exact = np.load(options.scratch / f"exact-{layer}.npz")
        x = read_layer("fit", layer, options).astype(np.float64)
        path = np.array(RELATIVE_ALPHAS) * x.var(axis=0).sum() * len(x) / options.width
        predicted = model(exact["alphas"], path).fit(x, y).predict(read_layer("val", layer, options).astype(np.float64))
        nmse.append(nmse_of(predicted, options))
        differences.append(np.abs(predicted - exact["predicted"]).max() / np.abs(exact["predicted"]).max())
    return {"layers": options.peer_layers, "nmse": nmse, "difference": max(differences)}


def sgd(options: argparse.Namespace) -> dict:
    y = target_columns(table_of("fit", options)).float()
    y_mean, y_scale = y.mean(dim=0), y.std(dim=0)
    errors: list[list[float]] = [[] for _ in LEARNING_RATES]
    seconds = [0.0] * len(LEARNING_RATES)
    for layer in range(options.peer_layers):
        x, new = (torch.from_numpy(read_layer(split, layer, options)) for split in SPLITS)
        mean, scale = x.mean(dim=0), x.std(dim=0).clamp_min(1e-6)
        x, new = x.sub_(mean).div_(scale), new.sub_(mean).div_(scale)
        for k, rate in enumerate(LEARNING_RATES):
            started = time.perf_counter()
            probe = trained_probe(x, (y - y_mean) / y_scale, rate, options.epochs)
            seconds[k] += time.perf_counter() - started
            errors[k].append(nmse_of((probe(new) * y_scale + y_mean).detach().double().numpy(), options))
    return {"layers": options.peer_layers, "nmse_by_rate": errors, "seconds_by_rate": seconds}


def trained_probe(x: Tensor, y: Tensor, rate: float, epochs: int) -> torch.nn.Linear:
    torch.manual_seed(0)
    probe = torch.nn.Linear(x.shape[1], y.shape[1])
    optimizer = torch.optim.SGD(probe.parameters(), lr=rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(x) // BATCH))
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            torch.nn.functional.mse_loss(probe(x[rows]), y[rows]).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
    return probe


def nmse_of(predicted: np.ndarray, options: argparse.Namespace) -> float:
    """Error over variance on the validation rows, mean over the target columns."""
    truth = target_columns(table_of("val", options)).numpy()
    return float((((predicted - truth) ** 2).mean(axis=0) / truth.var(axis=0)).mean())


if __name__ == "__main__":
    main()
