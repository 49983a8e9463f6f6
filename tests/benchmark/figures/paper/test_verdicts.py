"""Claims of Figures 3b, 3c, 4, 10 and 11: held, not held, and too close to tell, by the intervals of what was read."""

from pathlib import Path

import pytest

from benchmark.figures.paper import classes, epochs, methods, tasks
from benchmark.figures.study import Found
from benchmark.probes.accuracy import Accuracy, Classification, Margins

LAYERS = ("block4", "trunk", "head1", "head3")
RISING, FALLING, VALLEY = (0.5, 0.6, 0.7, 0.8), (0.8, 0.7, 0.6, 0.5), (0.7, 0.8, 0.6, 0.5)


def read(networks: dict[str, tuple[float, ...]], width: float, split: str = "val") -> Classification:
    """Accuracies of each layer of each network; differences are known to +-width."""
    shown = {"images": 100, "objects": 100, "commonest": 0.1}
    rows = [
        Accuracy(name, layer, "data", split, top1, 1.0, top1 - width, top1 + width, 1.0, 10, 100)
        for name, values in networks.items()
        for layer, top1 in zip(LAYERS, values, strict=True)
    ]
    margins = [
        Margins(name, "data", split, tuple(tuple(b - a - (a != b) * width for b in values) for a in values))
        for name, values in networks.items()
    ]
    info = {
        "networks": {name: {"role": "trained", "layers": list(LAYERS), "config": {}} for name in networks},
        "dataset": "data",
        "judged_on": [["data", split]],
        "splits": {"data": {split: shown}},
    }
    return Classification(tuple(rows), info, tuple(margins))


def found_of(monkeypatch, mean: dict[str, Classification]) -> Found:
    monkeypatch.setattr(Found, "mean", mean)
    return Found(None, Path("nowhere"), mean)


def held(verdicts) -> list[bool | None]:
    return [verdict.held for verdict in verdicts]


@pytest.mark.parametrize(
    ("network", "source", "other", "width", "expected"),
    [
        ("supervised", RISING, FALLING, 0.01, [True, True]),
        ("supervised", FALLING, FALLING, 0.01, [False, False]),
        ("simclr", VALLEY, FALLING, 0.01, [True, True]),
        ("simclr", RISING, RISING, 0.01, [False, False]),
        ("simclr", VALLEY, FALLING, 0.9, [None, None]),
        ("supervised", RISING, RISING, 0.9, [None, None]),
    ],
)
def test_tasks(monkeypatch, network, source, other, width, expected):
    found = found_of(
        monkeypatch, {tasks.SOURCE: read({network: source}, width), "digits": read({network: other}, width)}
    )
    assert held(tasks._verdicts(found, network)) == expected


@pytest.mark.parametrize(
    ("inside", "others", "width", "expected"),
    [
        (RISING, VALLEY, 0.01, [True, True, True]),
        (FALLING, RISING, 0.01, [False, False, False]),
        (RISING, VALLEY, 0.9, [None, None, None]),
        (RISING, RISING, 0.01, [True, False, False]),
        (RISING, RISING, 0.9, [None, None, None]),
        # A ResNet's last block, averaged, is the trunk.
        (RISING, (0.8, 0.8, 0.7, 0.6), 0.01, [True, True, True]),
    ],
)
def test_classes(monkeypatch, inside, others, width, expected):
    mean = {classes.TRAINED: read({"supervised": inside}, width)}
    for number, name in enumerate(classes.OTHERS, start=1):
        mean[name] = read({"supervised": others}, width, f"ood{number}")
    assert held(classes._verdicts(found_of(monkeypatch, mean))) == expected


@pytest.mark.parametrize(
    ("simclr", "width", "expected"),
    [((0.5, 0.6, 0.8, 0.7), 0.01, True), (VALLEY, 0.01, False), (FALLING, 0.01, False), (VALLEY, 0.9, None)],
)
def test_transformer(simclr, width, expected):
    mean = read(dict.fromkeys(methods.OBJECTIVES, simclr), width)
    assert methods._transformer_claim(mean).held is expected


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([0.1, 0.5, 0.4, 1.0, 1.5, 2.0, 2.1, 3.0], True),
        ([3.0, 2.1, 2.0, 1.5, 1.0, 0.4, 0.5, 0.1], False),
        ([1.0, 2.9, 0.4, 2.0, 0.5, 2.7, 0.8, 1.2], None),
        ([-8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0], None),  # grows, and the head is still ahead
        ([-1.0, 1.0], None),
    ],
)
def test_the_gap_by_epoch(gaps, expected):
    verdict = epochs._verdict(
        {"trunk": [50 + gap for gap in gaps], "head1": [0.0] * len(gaps), "head3": [50.0] * len(gaps)}
    )
    assert verdict.held is expected
    assert f"{gaps[0]:+.1f} points after epoch 1" in verdict.evidence
