"""Where to cut, and how it is said, on results made up so that the answer is known."""

import json
from dataclasses import replace

import pytest

from benchmark.probes.recommend import LATENTS, recommend, recommendations
from benchmark.probes.results import PIXELS, TRAINED, UNTRAINED, Gaps, Results, Row
from benchmark.probes.seeds import averaged
from benchmark.probes.summary import as_json, conclusions, format_recommendations, format_table, sentences
from benchmark.probes.targets import OVERALL, TARGETS

LAYERS = ("stem", "block1", "trunk", "head1")
NAMES = [*(target.name for target in TARGETS), OVERALL]
VALLEY = (0.6, 0.41, 0.4, 0.8)


def made(networks: dict[str, tuple], width: float | None = 0.05, **errors: tuple) -> Results:
    """networks: name -> (role, layers, config). errors: of a network (or of network_target) per layer."""
    rows, gaps = [], []
    for name, (_, layers, _) in networks.items():
        for target in NAMES:
            own = errors.get(f"{name}_{target}", errors.get(name, VALLEY))[: len(layers)]
            for split in ("probe", "val"):
                ends = [(None, None)] * 4 if split == "probe" or width is None else [(e - 0.03, e + 0.03) for e in own]
                degrees = 40.0 if target == "rotation" and split == "val" else None
                rows += [
                    Row(name, layer, target, split, e, e, 1 - e, 1.0, degrees, *end)
                    for layer, e, end in zip(layers, own, ends, strict=False)
                ]
            if width is not None:
                low = tuple(tuple(a - b - width * (a != b) for b in own) for a in own)
                gaps.append(Gaps(name, target, "val", low))
    described = {
        name: {"role": role, "layers": list(layers), "widths": [4] * len(layers), "config": config, "weights": name}
        for name, (role, layers, config) in networks.items()
    }
    sizes = {split: {"images": 1200, "objects": 30} for split in ("probe", "val")}
    info = {"networks": described, "fit_on": "probe", "judged_on": ["val"], "splits": sizes}
    return Results(tuple(rows), info, tuple(gaps))


ONE = {"net": (TRAINED, LAYERS, {})}


def test_the_earliest_of_layers_that_tie_is_the_cut():
    found = recommend(made(ONE), "net", "yaw", "val")
    assert (found.cut.layer, found.best.layer, found.ties) == ("block1", "trunk", ("block1", "trunk"))
    assert found.gap == pytest.approx((0.34, 0.44))
    sure = recommend(made(ONE, width=0.0), "net", "yaw", "val")
    assert sure.cut.layer == "trunk"  # the difference is small, but certain and above 2 %
    near = recommend(made(ONE, width=0.0, net=(0.6, 0.407, 0.4, 0.8)), "net", "yaw", "val")
    assert near.cut.layer == "block1"  # certain, but of no use
    without = recommend(made(ONE, width=None), "net", "yaw", "val")
    assert (without.cut.layer, without.gap) == ("trunk", None)


def test_what_no_layer_reads_has_no_cut():
    for errors in ((0.99, 0.98, 0.98, 1.1), (1.2, 0.975, 0.98, 0.99)):
        results = made(ONE, net_pitch=errors)
        assert not recommend(results, "net", "pitch", "val").readable
        assert "no layer reads it" in next(line for line in sentences(results) if "pitch" in line)
        line = next(line for line in format_recommendations(results).splitlines() if "pitch" in line)
        assert line.split()[1] == "-"
        assert as_json(recommend(results, "net", "pitch", "val"))["cut"] is None
    assert recommend(made(ONE), "net", "pitch", "val").readable


def test_every_network_asked_about_gets_every_latent_and_all_together():
    networks = {**ONE, "untrained": (UNTRAINED, LAYERS, {}), "pixels": (PIXELS, ("pixels",), {})}
    found = recommendations(made(networks), "val")
    assert [one.target for one in found] == [*LATENTS, OVERALL]
    assert {one.network for one in found} == {"net"}
    del networks["net"]
    assert {one.network for one in recommendations(made(networks), "val")} == {"untrained"}
    json.dumps([as_json(one) for one in found], allow_nan=False)


def test_table_shows_every_layer_and_fits_a_terminal():
    networks = {**ONE, "untrained": (UNTRAINED, LAYERS, {}), "pixels": (PIXELS, ("pixels",), {})}
    results = made(networks, net_pitch=(1.25, 12.5, 123.4, 12345.0))
    lines = format_table(results).splitlines()
    assert max(map(len, lines)) <= 110, max(lines, key=len)
    assert "30 objects, 1,200 images" in lines[0]
    block = lines[lines.index("net") :]
    assert block[1].split()[:3] == ["layer", "rotation", "yaw"]
    assert block[2].split()[:3] == ["stem", ".600±.030", ".600±.030"]
    assert block[3].split()[:3] == ["block1", ".410±.030*", ".410±.030*"]
    assert block[4].split()[:3] == ["trunk", ".400±.030=", ".400±.030="]
    assert [line.split()[3].partition("±")[0] for line in block[2:6]] == ["1.25", "12.5", "123", "1e+04"]
    assert lines[-1].startswith("pixels .600±.030*")
    lines = format_recommendations(results).splitlines()
    assert max(map(len, lines)) <= 110
    assert lines[0].split()[:3] == ["net", "cut", "at"]
    assert lines[2].split() == [
        "yaw",
        "block1",
        ".410",
        "[.380,",
        ".440]",
        "trunk",
        "head1",
        ".800",
        "+0.340",
        "to",
        "+0.440",
    ]


def test_sentences_say_what_the_last_layer_costs():
    def said(width: float | None = 0.05, net: tuple = VALLEY) -> str:
        return next(line for line in sentences(made(ONE, width, net=net)) if line.startswith("net, spot hue"))

    start = "net, spot hue (cos, sin): cut at block1 (error 0.41 [0.38, 0.44] on new objects; trunk as good);"
    assert said() == f"{start} the last layer head1 is 2.0 x worse (0.80; difference +0.34 to +0.44)."
    assert said(net=(0.6, 0.5, 0.4, 0.41)).endswith("the last layer head1 is as good (0.41).")
    assert said(net=(0.9, 0.8, 0.6, 0.3)).endswith("that is the last layer.")
    assert said(None, (0.6, 0.4, 0.3, 0.4)).endswith(
        "cut at trunk (error 0.30 on new objects); the last layer head1 is 33 % worse (0.40)."
    )
    assert "40 degrees" in sentences(made(ONE))[0]


def test_one_cut_for_all_names_the_latent_that_pays_for_it():
    (line,) = conclusions(made(ONE, net_spot_theta=(0.2, 0.7, 0.7, 0.9)))
    assert line.startswith("net, overall: cut at block1 (error 0.41")
    assert line.endswith("One cut for all costs spot theta most: 0.70 there, 0.20 at stem.")
    assert "read better elsewhere" in conclusions(made(ONE))[0]


def seeds(**errors: tuple) -> Results:
    networks = {f"net-{k}": (TRAINED, LAYERS, {"seed": k, "lr": 1}) for k in range(3)}
    networks["other"] = (TRAINED, LAYERS, {"seed": 0, "lr": 2})
    networks["net-0 again"] = (TRAINED, LAYERS, {"seed": 0, "lr": 1})
    networks["untrained"] = (UNTRAINED, LAYERS, {"seed": 0, "lr": 1})
    networks["untrained 2"] = (UNTRAINED, LAYERS, {"seed": 1, "lr": 1})
    networks["pixels"] = (PIXELS, ("pixels",), {})
    return made(networks, **errors)


def test_seeds_are_taken_together_as_mean_and_deviation():
    results = seeds(**{"net-0": (0.6, 0.4, 0.5, 0.8), "net-1": (0.6, 0.5, 0.5, 0.8), "net-2": (0.6, 0.6, 0.5, 0.8)})
    shown = averaged(results)
    assert shown.networks == ("net", "other", "net-0 again", "untrained", "pixels")
    row = shown.row("net", "block1", "yaw", "val")
    assert (row.nmse, row.low, row.high) == pytest.approx((0.5, 0.4, 0.6))
    assert (row.alpha, row.degrees, row.r2) == (None, None, pytest.approx(0.5))
    assert shown.row("net", "stem", "rotation", "val").degrees == pytest.approx(40)
    assert shown.info["networks"]["net"]["seeds"] == [0, 1, 2]
    assert (shown.seeds("net"), shown.seeds("other"), shown.seeds("untrained")) == (3, 1, 2)
    assert shown.row("other", "stem", "yaw", "val") == results.row("other", "stem", "yaw", "val")
    assert "net: mean of 3 seeds ± their standard deviation" in format_table(shown)
    assert "bootstrap over objects; of several seeds, their standard deviation." in format_table(shown)
    assert "several seeds" not in format_table(results)
    assert "Of several seeds: " in format_recommendations(shown)
    assert "Of several seeds: " not in format_recommendations(results)
    assert averaged(made(ONE)) == made(ONE)


def test_a_layer_is_worse_over_seeds_only_if_it_is_in_every_run():
    agree = {f"net-{k}": (0.6, 0.5, 0.3, 0.8) for k in range(3)}
    assert recommend(averaged(seeds(**agree)), "net", "yaw", "val").cut.layer == "trunk"
    differ = {**agree, "net-2": (0.6, 0.3, 0.3, 0.8)}
    assert recommend(averaged(seeds(**differ)), "net", "yaw", "val").cut.layer == "block1"


def test_a_seed_that_was_not_trained_to_its_end_stands_alone():
    results = seeds()
    results.info["networks"]["net-1"]["finished"] = False
    shown = averaged(replace(results))
    assert shown.networks[:2] == ("net", "net-1")
