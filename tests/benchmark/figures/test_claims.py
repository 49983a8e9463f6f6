"""The paper's claims judged on results made up so that they hold, and then spoilt one by one."""

import pytest

from benchmark.figures.claims import control_lines, judge
from benchmark.probes.results import PIXELS, TRAINED, UNTRAINED, Gaps, Results, Row
from benchmark.probes.targets import FACTORS

LAYERS = ("stem", "block1", "trunk", "head1", "head2", "head3")
FALLING = (0.9, 0.8, 0.6, 0.5, 0.45, 0.4)
RISING = (0.1, 0.05, 0.3, 0.5, 0.6, 0.7)
VALLEY = (0.6, 0.5, 0.3, 0.4, 0.6, 0.8)


def results(rotation: dict, simclr: dict) -> Results:
    curves = {"rot": rotation, "ssl": simclr}
    rows = [
        Row(network, layer, factor, "val", error, error, 1 - error, 1.0)
        for network, factors in curves.items()
        for factor, errors in factors.items()
        for layer, error in zip(LAYERS, errors, strict=True)
    ]
    rows += [Row("untrained", "stem", f, "val", 0.7, 0.7, 0.3, 1.0) for f in FACTORS]
    rows += [Row("pixels", "pixels", f, "val", 0.2, 0.2, 0.8, 1.0) for f in FACTORS]
    networks = {
        "rot": {"role": TRAINED, "layers": LAYERS, "config": {"objective": "rotation"}},
        "ssl": {"role": TRAINED, "layers": LAYERS, "config": {"objective": "simclr"}},
        "untrained": {"role": UNTRAINED, "layers": ("stem",), "config": {}},
        "pixels": {"role": PIXELS, "layers": ("pixels",), "config": {}},
    }
    return Results(tuple(rows), {"networks": networks})


def as_in_the_paper() -> tuple[dict, dict]:
    rotation = {factor: FALLING if factor == "rotation" else RISING for factor in FACTORS}
    simclr = {factor: VALLEY if factor == "rotation" else RISING for factor in FACTORS}
    return rotation, simclr


def held(rotation: dict, simclr: dict) -> list[bool]:
    return [verdict.held for verdict in judge(results(rotation, simclr), "val")]


def test_all_claims_hold_on_curves_like_the_papers():
    assert held(*as_in_the_paper()) == [True] * 5


@pytest.mark.parametrize(
    ("spoil", "verdict"),
    [
        (lambda rotation, simclr: rotation.update(rotation=RISING), 0),
        (lambda rotation, simclr: rotation.update(spot_theta=FALLING), 1),
        (lambda rotation, simclr: simclr.update(spot_theta=FALLING), 2),
        (lambda rotation, simclr: rotation.update(dict.fromkeys(FACTORS, FALLING)), 3),
        (lambda rotation, simclr: simclr.update(dict.fromkeys(FACTORS, RISING)), 4),
    ],
)
def test_each_claim_can_fail(spoil, verdict):
    curves = as_in_the_paper()
    spoil(*curves)
    assert held(*curves)[verdict] is False


def test_evidence_and_controls_quote_the_numbers():
    made = results(*as_in_the_paper())
    assert "spot theta 0.050 at block1, 0.700 at the end" in judge(made, "val")[2].evidence
    assert "untrained 0.700 (stem), pixels 0.200 (pixels)" in control_lines(made, "val")[0]


def test_a_difference_within_its_interval_is_too_close_to_tell():
    """The last layer's error is the larger one, and its interval reaches zero: claim (b) is neither borne out nor
    refuted."""
    rotation, simclr = as_in_the_paper()
    plain = results(rotation, simclr)

    def gaps(width: float) -> list[Gaps]:
        return [
            Gaps("ssl", factor, "val", tuple(tuple(a - b - width for b in errors) for a in errors))
            for factor, errors in simclr.items()
        ]

    for width, expected in ((0.1, True), (0.7, None)):
        verdict = judge(Results(plain.rows, plain.info, tuple(gaps(width))), "val")[2]
        assert verdict.held is expected
        assert "difference" in verdict.evidence
    # Where every layer is as good as the best for every factor, nothing says whether the best layers differ.
    assert judge(Results(plain.rows, plain.info, tuple(gaps(0.7))), "val")[4].held is None
