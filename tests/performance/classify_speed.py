"""Classification probes beside scikit-learn and beside linear probes trained by SGD, on the same stored features.

    python tests/performance/classify_speed.py --json classify_speed.json                                (the full size)
    python tests/performance/classify_speed.py --rows 4000 --width 128 --layers 3 --epochs 10           (about a minute)

Features of random ReLU layers over noisy classes are written to a scratch folder, one file per layer and split. Then
each contender runs in a process of its own, reads them from there, and says its time (from the first read to the last
prediction of the validation rows), its peak memory, its validation accuracy, and the objective that it reached:

* gr3d: what gr3d probe does after the network: all --layers, the penalty chosen on an inner part of the rows, refitted;
* sklearn: LogisticRegression, lbfgs as it comes, with max_iter 10,000, once, for the penalty that gr3d chose: this is a
  small part of gr3d's work;
* sklearn_path: the same work as gr3d's: warm-started down the same penalties on the outer rows, judged on the inner
  ones, refitted on all;
* gr3d_sgd: gr3d probe --solver sgd: its grid of rates, in --epochs passes;
* usual_sgd: the usual linear probe: standardised features, momentum 0.9, batch 256, a cosine, --epochs per learning
  rate; the grid's best is picked on the validation rows themselves, in its favour.

The objective is the one with gr3d's penalty, for all of them; what is trained by SGD has none, and is above it for that
reason, too.

All but gr3d run on --peer-layers. Every number printed was measured in this run. A quiet machine is needed.
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

from benchmark.probes import logistic, sgd
from benchmark.training.device import use_own_cores

BATCH = 256
HIDDEN = 256  # variables behind the features
LEARNING_RATES = (0.01, 0.1, 1.0)
INNER = 0.2
SPLITS = ("fit", "val")
CONTENDERS = ("gr3d", "sklearn", "sklearn_path", "gr3d_sgd", "usual_sgd")
SHARED = ("rows", "width", "classes", "layers", "peer_layers", "epochs", "scratch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="images to fit on; a quarter as many validate")
    parser.add_argument("--width", type=int, default=512, help="features of a layer")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--layers", type=int, default=9, help="layers that gr3d reads in its one pass")
    parser.add_argument("--peer-layers", type=int, default=1, help="layers that each of the others reads")
    parser.add_argument("--epochs", type=int, default=30, help="of the probes trained by SGD")
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
    report: dict = {name: getattr(options, name) for name in SHARED if name != "scratch"}
    report |= {"threads": use_own_cores(), "torch": torch.__version__}
    print(
        f"{options.rows:,} rows x {options.width} features, {options.classes} classes, {report['threads']} cores; "
        "time, peak memory (libraries alone), validation accuracy, objective above gr3d's in nats a row"
    )
    words = [word for name in SHARED for word in (f"--{name.replace('_', '-')}", str(getattr(options, name)))]
    for name in options.only:
        command = [sys.executable, __file__, "--contender", name, *words]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        report[name] = own = json.loads(done.stdout)
        print(line(name, own, report.get("gr3d", own)), flush=True)
    return report


def line(name: str, own: dict, exact: dict) -> str:
    layers = len(own["accuracy"])
    text = (
        f"{name:12} {own['seconds']:7.1f} s for {layers} layer{'s' if layers > 1 else ''}, {own['peak_mib']:,.0f} MiB "
        f"({own['libraries_mib']:,.0f}), accuracy {np.mean(own['accuracy']):.4f} (gr3d there "
        f"{np.mean(exact['accuracy'][:layers]):.4f}), objective "
        f"{np.mean(np.array(own['objective']) - np.array(exact['objective'][:layers])):+.1e}"
    )
    for key in ("seconds_by_layer", "difference", "accuracy_by_rate"):
        if key in own:
            text += f"\n{'':12} {key.replace('_', ' ')}: {own[key]}"
    return text


def measured(options: argparse.Namespace) -> dict:
    """One contender's numbers, in a process that does nothing else."""
    use_own_cores()
    run: Callable[[argparse.Namespace], dict] = globals()[options.contender]
    if options.contender.startswith("sklearn"):
        import sklearn.linear_model  # noqa: F401  (its import is not timed)
    libraries = peak_mib()
    started = time.perf_counter()
    found = run(options)
    seconds = time.perf_counter() - started - found.pop("not_counted", 0.0)
    return {"seconds": seconds, "peak_mib": peak_mib(), "libraries_mib": libraries, **found}


def peak_mib() -> float:
    """Of this process alone: ru_maxrss would count what its parent had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


# What is read: labels of both splits, and a file of float32 features per layer and split.


def rows_of(split: str, options: argparse.Namespace) -> int:
    return options.rows if split == "fit" else options.rows // 4


def outer_of(options: argparse.Namespace) -> int:
    """The first so many rows are fitted for each penalty; rows have no order, so that any will do."""
    return options.rows - round(INNER * options.rows)


def labels_of(split: str, options: argparse.Namespace) -> Tensor:
    generator = torch.Generator().manual_seed(SPLITS.index(split))
    return torch.randint(options.classes, (rows_of(split, options),), generator=generator)


def write_features(options: argparse.Namespace) -> None:
    """The deeper the layer, the less noise beside the classes."""
    centres = torch.randn(options.classes, HIDDEN, generator=torch.Generator().manual_seed(7))
    for split in SPLITS:
        labels = labels_of(split, options)
        for layer in range(options.layers):
            weights = torch.Generator().manual_seed(layer)
            noise = torch.Generator().manual_seed(1000 + 10 * layer + SPLITS.index(split))
            mix = torch.randn(HIDDEN, options.width, generator=weights) / HIDDEN**0.5
            spread = torch.logspace(0.5, -1, HIDDEN)  # as in networks, few directions have most of the variance
            with file_of(split, layer, options).open("wb") as file:
                for rows in labels.split(8192):
                    hidden = (0.25 + 0.05 * layer) * centres[rows] + torch.randn(len(rows), HIDDEN, generator=noise)
                    (hidden * spread @ mix + 0.2).relu().numpy().tofile(file)


def file_of(split: str, layer: int, options: argparse.Namespace) -> Path:
    return options.scratch / f"{split}-{layer}.f32"


def read_layer(split: str, layer: int, options: argparse.Namespace) -> Tensor:
    """float32 (rows, width)."""
    return torch.from_numpy(np.fromfile(file_of(split, layer, options), np.float32).reshape(-1, options.width))


def judged(logits: list[Tensor], options: argparse.Namespace) -> dict:
    """Accuracy of every layer on the validation rows."""
    labels = labels_of("val", options)
    return {"accuracy": [(one.argmax(dim=1) == labels).double().mean().item() for one in logits]}


def objective(layer: int, weight: Tensor, intercept: Tensor, penalty: float, options: argparse.Namespace) -> float:
    """Nats a row, with the penalty that gr3d chose, for any contender's weights (d, K) on the features as they are."""
    labels, total = labels_of("fit", options), 0.0
    for x, truth in zip(read_layer("fit", layer, options).split(8192), labels.split(8192), strict=True):
        logits = x.double() @ weight + intercept
        total += torch.nn.functional.cross_entropy(logits, truth, reduction="sum").item()
    return (total + penalty / 2 * weight.square().sum().item()) / len(labels)


# The contenders.


def gr3d(options: argparse.Namespace) -> dict:
    labels, logits, readouts, seconds = labels_of("fit", options), [], [], []
    for layer in range(options.layers):
        started = time.perf_counter()
        x = read_layer("fit", layer, options)
        readouts.append(logistic.fit(x, labels, options.classes, outer_of(options))[0])
        logits.append(readouts[-1](read_layer("val", layer, options)))
        seconds.append(round(time.perf_counter() - started, 2))
    found = {**judged(logits, options), "seconds_by_layer": seconds}
    started = time.perf_counter()  # for the others to be held against
    found["objective"] = [objective(k, *one.plain, one.penalty, options) for k, one in enumerate(readouts)]
    found["fits"] = [{"penalty": one.penalty, **one.how} for one in readouts]
    (options.scratch / "gr3d.json").write_text(json.dumps(found["fits"]))
    for layer in range(options.peer_layers):
        np.save(options.scratch / f"probabilities-{layer}.npy", logits[layer].softmax(dim=1).numpy())
    return {**found, "not_counted": time.perf_counter() - started}


def sklearn(options: argparse.Namespace) -> dict:
    return by_layer(options, lambda x, y, fit: _sklearn(fit["penalty"]).fit(x, y))


def sklearn_path(options: argparse.Namespace) -> dict:
    outer = outer_of(options)

    def best(x: np.ndarray, y: np.ndarray, fit: dict) -> object:
        scores, model = {}, _sklearn(1.0, warm_start=True)
        for row in fit["path"]:
            model.set_params(C=1 / row["penalty"]).fit(x[:outer], y[:outer])
            scores[row["penalty"]] = model.score(x[outer:], y[outer:])
        return model.set_params(C=1 / max(scores, key=scores.get)).fit(x, y)

    return by_layer(options, best)


def _sklearn(penalty: float, **options: object) -> object:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1 / penalty, max_iter=10_000, **options)


def by_layer(options: argparse.Namespace, fitted: Callable[[np.ndarray, np.ndarray, dict], object]) -> dict:
    """fitted(features, labels, what gr3d found) -> an estimator of scikit-learn's."""
    fits, y = json.loads((options.scratch / "gr3d.json").read_text()), labels_of("fit", options).numpy()
    models, logits, differences = [], [], []
    for layer in range(options.peer_layers):
        models.append(fitted(read_layer("fit", layer, options).numpy(), y, fits[layer]))
        probabilities = models[-1].predict_proba(read_layer("val", layer, options).numpy())
        logits.append(torch.from_numpy(probabilities))
        differences.append(float(np.abs(probabilities - np.load(options.scratch / f"probabilities-{layer}.npy")).max()))
    started = time.perf_counter()
    reached = []
    for layer, model in enumerate(models):
        weights = torch.from_numpy(model.coef_.T).double(), torch.from_numpy(model.intercept_).double()
        reached.append(objective(layer, *weights, fits[layer]["penalty"], options))
    found = {**judged(logits, options), "objective": reached, "difference": max(differences)}
    return {**found, "not_counted": time.perf_counter() - started}


def gr3d_sgd(options: argparse.Namespace) -> dict:
    labels, outer = labels_of("fit", options), outer_of(options)
    fits = json.loads((options.scratch / "gr3d.json").read_text())
    layers = {str(k): read_layer("fit", k, options) for k in range(options.peer_layers)}
    generator = torch.Generator().manual_seed(0)
    sample = torch.randperm(outer, generator=generator)[: sgd.SAMPLE]
    steps = options.epochs * -(-outer // BATCH)
    grid = sgd.Grid({layer: x[sample] for layer, x in layers.items()}, options.classes, steps)
    for _ in range(options.epochs):
        for rows in torch.randperm(outer, generator=generator).split(BATCH):
            grid.learn({layer: x[rows] for layer, x in layers.items()}, labels[rows])
    for rows in torch.arange(outer, len(labels)).split(BATCH):
        grid.judge({layer: x[rows] for layer, x in layers.items()}, labels[rows])
    readouts = list(grid.readouts().values())
    logits = [one(read_layer("val", layer, options)) for layer, one in enumerate(readouts)]
    started = time.perf_counter()
    reached = [objective(k, *one.plain, fits[k]["penalty"], options) for k, one in enumerate(readouts)]
    grids = [one.how["path"] for one in readouts]
    found = {**judged(logits, options), "objective": reached, "grids": grids}
    return {**found, "not_counted": time.perf_counter() - started}


def sgd_batches(x: Tensor, y: Tensor, epochs: int) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            yield x[rows], y[rows]


def sgd_probe(x: Tensor, y: Tensor, rate: float, options: argparse.Namespace) -> torch.nn.Linear:
    torch.manual_seed(0)
    probe = torch.nn.Linear(x.shape[1], options.classes)
    optimizer = torch.optim.SGD(probe.parameters(), lr=rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * -(-len(x) // BATCH))
    for rows, truth in sgd_batches(x, y, options.epochs):
        torch.nn.functional.cross_entropy(probe(rows), truth).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
    return probe


def usual_sgd(options: argparse.Namespace) -> dict:
    labels, fits = labels_of("fit", options), json.loads((options.scratch / "gr3d.json").read_text())
    accuracy, reached, by_rate, not_counted = [], [], [], 0.0
    for layer in range(options.peer_layers):
        x, new = (read_layer(split, layer, options) for split in SPLITS)
        mean, scale = x.mean(dim=0), x.std(dim=0).clamp_min(1e-6)
        x, new = x.sub_(mean).div_(scale), new.sub_(mean).div_(scale)
        probes = [sgd_probe(x, labels, rate, options) for rate in LEARNING_RATES]
        scores = [judged([probe(new).detach()], options)["accuracy"][0] for probe in probes]
        best = probes[int(np.argmax(scores))]
        accuracy.append(max(scores))
        by_rate.append(dict(zip(map(str, LEARNING_RATES), scores, strict=True)))
        started = time.perf_counter()
        weight = (best.weight.detach() / scale).T.double()
        plain = weight, best.bias.detach().double() - mean.double() @ weight
        reached.append(objective(layer, *plain, fits[layer]["penalty"], options))
        not_counted += time.perf_counter() - started
    found = {"accuracy": accuracy, "objective": reached, "accuracy_by_rate": by_rate}
    return {**found, "not_counted": not_counted}


if __name__ == "__main__":
    main()
