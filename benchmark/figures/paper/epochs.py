"""Figure 11: Barlow Twins, every layer read by online probes while it trains."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev

from benchmark.errors import UserError
from benchmark.figures.claims import Verdict, is_positive
from benchmark.figures.correlation import between, spearman
from benchmark.figures.curves import Panel, curve, table
from benchmark.figures.epochs import plot_accuracies
from benchmark.figures.judging import compare, last_of
from benchmark.figures.scales import Setting
from benchmark.figures.study import Figure, Found, Probing, Shown, Study, Training
from benchmark.probes.online import read_records

NETWORK = "barlow-twins"
FINAL = "after training"  # exact classifiers, on the validation set, too

_ONLINE = (
    "By epoch, layers are judged on augmented training images that the probe, not the network, has never seen; the "
    "validation set is read when the training is over."
)


def study(setting: Setting) -> Study:
    return Study(
        datasets={"source": setting.packed()},
        trainings={NETWORK: Training("source", setting.training(NETWORK, online_probes=True))},
        probings={FINAL: Probing("source", (NETWORK,))},
        seeds=setting.seeds_or_own,
        note=f"{setting.note()} {_ONLINE}",
    )


def draw(found: Found, out: Path) -> Shown:
    records = [read_records(folder) for folder in found.run_folders(NETWORK)]
    if "accuracy" not in records[0][-1]:
        raise UserError(f"{found.run_folders(NETWORK)[0]}: its online probes have read no classes")
    layers = list(records[0][-1]["accuracy"])
    epochs = min(map(len, records))
    read = {layer: [[100 * run[k]["accuracy"][layer] for run in records] for k in range(epochs)] for layer in layers}
    values = {layer: [mean(seeds) for seeds in by_epoch] for layer, by_epoch in read.items()}
    spread = {layer: [stdev(s) if len(s) > 1 else 0.0 for s in by_epoch] for layer, by_epoch in read.items()}
    commonest = 100 * records[0][-1]["commonest"]
    images = records[0][-1]["judged_images"]
    title = f"Barlow Twins: accuracy of online probes by epoch ({images:,} images judged an epoch)"
    written = plot_accuracies(values, spread, commonest, title, out)
    final = found.mean[FINAL]
    held, evidence = compare(final, NETWORK, "trunk", last_of(final, NETWORK), final.judged[0])
    validated = Verdict("after training the trunk is read better on the validation set, too", held, evidence)
    panel = Panel(
        f"after {epochs} epochs, validation set", (curve(final, NETWORK, final.judged[0], "exact classifier"),)
    )
    return Shown(written, f"{_table(values)}\n\n{table([panel])}", [_verdict(values), validated])


def _table(values: dict[str, list[float]]) -> str:
    """A row a layer; of many epochs, about eight."""
    count = len(next(iter(values.values())))
    shown = sorted({round(k * (count - 1) / 7) for k in range(8)})
    lines = ["| layer | " + " | ".join(f"epoch {k + 1}" for k in shown) + " |", "|---" * (1 + len(shown)) + "|"]
    for layer, row in values.items():
        lines.append(f"| {layer} | " + " | ".join(f"{row[k]:.1f}" for k in shown) + " |")
    return "\n".join(lines)


def _verdict(values: dict[str, list[float]]) -> Verdict:
    """Appendix C: the gap between layers is small at first and grows, here of the trunk and the head's last layer.

    An epoch's gap is off by a point or so, as few images are judged: its rank correlation with the epoch counts.
    """
    last = list(values)[-1]
    gaps = [trunk - head for trunk, head in zip(values["trunk"], values[last], strict=True)]
    trend = spearman(range(len(gaps)), gaps)
    low, high = between(trend, len(gaps))
    grows = is_positive(low, high)
    return Verdict(
        "the gap between trunk and the head's last layer grows during training",
        None if grows and gaps[-1] <= 0 else grows,
        f"trunk less {last}: {gaps[0]:+.1f} points after epoch 1, {gaps[-1]:+.1f} after epoch {len(gaps)}; rank "
        f"correlation of gap and epoch {trend:+.2f} (95 % interval {low:+.2f} to {high:+.2f})",
    )


FIGURES = {"11": Figure("Barlow Twins: every layer by epoch, read online", "figure11", study, draw)}
