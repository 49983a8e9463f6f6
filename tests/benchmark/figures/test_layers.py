"""The layers figure: its files, and that its csv holds the results."""

import csv
import struct
from itertools import product
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.figures.layers import PANELS, depth_of, plot_layers
from benchmark.figures.style import Written
from benchmark.probes.recommend import recommend
from benchmark.probes.results import PIXELS, TRAINED, UNTRAINED, Results, Row
from benchmark.probes.targets import OVERALL, TARGETS

LAYERS = ["stem", "block1", "block2", "trunk", "head1", "head2"]
SPLITS = ["probe", "val_views", "val"]


def fake_results(networks: dict[str, tuple[str, list[str]]], error=None) -> Results:
    """networks: name -> (role, layers). error(network, layer, target, split) -> nmse; some curve without
    it."""

    def curve(name: str, layer: str, target: str, split: str) -> float:
        depth, dip = networks[name][1].index(layer), len(target) % 5
        return min(0.98, 0.2 + 0.05 * (depth - dip) ** 2 + 0.1 * SPLITS.index(split))

    def row(name: str, layer: str, target: str, split: str) -> Row:
        nmse = (error or curve)(name, layer, target, split)
        ends = (None, None) if split == "probe" else (nmse - 0.02, nmse + 0.03)
        return Row(name, layer, target, split, 0.5, nmse, 0.5, 1.0, None, *ends)

    names = [*(target.name for target in TARGETS), OVERALL]
    rows = [
        row(name, layer, target, split)
        for name, (_, layers) in networks.items()
        for layer, target, split in product(layers, names, SPLITS)
    ]
    info = {
        "networks": {name: {"role": role, "layers": layers} for name, (role, layers) in networks.items()},
        "fit_on": "probe",
        "judged_on": ["val_views", "val"],
        "splits": {split: {"images": 1000, "objects": 10} for split in SPLITS},
    }
    return Results(tuple(rows), info)


@pytest.fixture(scope="module")
def results() -> Results:
    return fake_results(
        {
            "SimCLR": (TRAINED, LAYERS),
            "rotation-supervised": (TRAINED, LAYERS),
            "untrained network": (UNTRAINED, LAYERS),
            "pooled pixels 8 x 8": (PIXELS, ["pixels"]),
        }
    )


@pytest.fixture(scope="module")
def written(results, tmp_path_factory) -> Written:
    return plot_layers(results, tmp_path_factory.mktemp("plot") / "new" / "figure2")


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_files_and_their_kinds(written):
    assert sorted(path.name for path in written.png.parent.iterdir()) == ["figure2.csv", "figure2.png", "figure2.svg"]
    png = written.png.read_bytes()
    assert png.startswith(b"\x89PNG")
    assert struct.unpack(">II", png[16:24]) > (1500, 1000)
    assert written.svg.read_text().rstrip().endswith("</svg>")
    assert sum(path.stat().st_size for path in (written.png, written.svg, written.csv)) < 2_000_000


def test_same_results_give_the_same_bytes(results, written, tmp_path):
    again = plot_layers(results, tmp_path / "again")
    for ending in ("png", "svg", "csv"):
        assert getattr(written, ending).read_bytes() == getattr(again, ending).read_bytes()


@pytest.mark.parametrize("split", ["val", "val_views"])
def test_csv_holds_exactly_the_plotted_results(results, written, tmp_path, split):
    lines = read(written.csv if split == "val" else plot_layers(results, tmp_path / "figure", split).csv)
    panels = [target for target, _ in PANELS]
    expected = {
        (name, layer, target, shown)
        for name, target in product(results.networks, panels)
        for layer in results.layers(name)
        for shown in ((split, "probe") if results.role(name) == TRAINED else (split,))
    }
    assert len(lines) == len(expected)
    assert {(line["network"], line["layer"], line["target"], line["split"]) for line in lines} == expected
    for line in lines:
        key = (line["network"], line["layer"], line["target"], line["split"])
        row = results.row(*key)
        assert float(line["error"]) == row.nmse
        assert (line["low"], line["high"]) == (("", "") if row.low is None else (str(row.low), str(row.high)))
        found = recommend(results, line["network"], line["target"], split)
        marked = line["split"] == split and line["role"] == TRAINED
        assert line["best"] == str(int(marked and line["layer"] == found.best.layer))
        assert line["cut"] == str(int(marked and line["layer"] == found.cut.layer))
    assert sum(line["cut"] == "1" for line in lines) == 2 * len(panels)


def test_every_target_has_a_panel():
    panels = [target for target, _ in PANELS]
    assert sorted(panels) == sorted([*(target.name for target in TARGETS), OVERALL])


def test_networks_of_different_depth_share_one_axis(tmp_path):
    results = fake_results(
        {
            "without head": (TRAINED, ["stem", "block1", "block2", "extra", "trunk"]),
            "with head": (TRAINED, LAYERS),
            "pixels": (PIXELS, ["pixels"]),
        }
    )
    depth = depth_of(results)
    order = depth.names
    assert sorted(order) == sorted([*LAYERS, "extra"])
    for name in ("without head", "with head"):
        assert [layer for layer in order if layer in results.layers(name)] == list(results.layers(name))
        assert [order[place] for place in depth.positions[name]] == list(results.layers(name))
    assert plot_layers(results, tmp_path / "figure").png.exists()


def test_networks_of_unlike_layers_stand_on_relative_depth(tmp_path):
    vit = [f"block{k}" for k in range(12)]
    networks = {f"net {k}": (TRAINED, vit if k % 2 else ["stem", "layer1", "layer2"]) for k in range(9)}
    results = fake_results({**networks, "pixels": (PIXELS, ["pixels"])})
    depth = depth_of(results)
    assert depth.names == ()
    assert depth.positions["net 0"] == (0, 0.5, 1)
    assert depth.positions["net 1"][-1] == 1 and len(depth.positions["net 1"]) == 12
    lines = read(plot_layers(results, tmp_path / "figure").csv)
    assert {line["split"] for line in lines} == {"val"}  # of many networks, what was fitted is not drawn
    assert {line["layer"] for line in lines if line["position"] == "1.0"} == {"layer2", "block11"}


def test_layers_in_another_order_are_not_shared():
    assert depth_of(fake_results({"a": (TRAINED, ["x", "y"]), "b": (TRAINED, ["y", "x"])})).names == ()


def test_untrained_networks_alone_are_what_is_asked_about(tmp_path):
    results = fake_results({"a": (UNTRAINED, LAYERS), "b": (UNTRAINED, LAYERS), "pixels": (PIXELS, ["pixels"])})
    lines = read(plot_layers(results, tmp_path / "figure").csv)
    assert {line["network"] for line in lines if line["cut"] == "1"} == {"a", "b"}


def test_errors_far_above_one_stay_in_the_csv(tmp_path):
    results = fake_results({"net": (TRAINED, LAYERS)}, lambda *_: 40.0)
    assert {float(line["error"]) for line in read(plot_layers(results, tmp_path / "figure").csv)} == {40.0}


def test_bad_input_is_a_clear_line(results, tmp_path):
    with pytest.raises(UserError, match=r"'train'.*val_views, val"):
        plot_layers(results, tmp_path / "figure", split="train")
    for nameless in (Path("."), Path("..")):
        with pytest.raises(UserError, match=r"--out .*names no figure") as error:
            plot_layers(results, nameless)
        assert error.value.exit_code == 2
    with pytest.raises(UserError, match="no network"):
        plot_layers(fake_results({"pixels": (PIXELS, ["pixels"])}), tmp_path / "figure")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out"):
        plot_layers(results, tmp_path / "file" / "figure")


def test_without_val_the_new_views_are_plotted(results, tmp_path):
    only = Results(results.rows, {**results.info, "judged_on": ["val_views"]})
    assert {line["split"] for line in read(plot_layers(only, tmp_path / "figure").csv)} == {"val_views", "probe"}
