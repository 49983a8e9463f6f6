"""The figure of a run's online probes: its files, and that its csv holds every record."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmark.cli import cli
from benchmark.errors import UserError
from benchmark.figures.epochs import plot_epochs
from benchmark.probes.online import ONLINE
from benchmark.probes.targets import TARGETS

LAYERS = ["stem", *(f"block{i}" for i in range(1, 13)), "trunk", "head1", "head2", "head3"]


def write_run(folder: Path, epochs: int, layers: list[str], classes: bool = True) -> list[dict]:
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for epoch in range(1, epochs + 1):
        errors = {
            layer: {target.name: 0.9 - 0.3 * depth / len(layers) / epoch for target in TARGETS}
            for depth, layer in enumerate(layers)
        }
        errors[layers[0]]["yaw"] = 40.0 if epoch == 1 else None
        record = {"epoch": epoch, "step": 8 * epoch, "fitted_images": 1000, "judged_images": 500, "error": errors}
        if classes:
            record |= {"accuracy": dict.fromkeys(layers, epoch / 100), "commonest": 0.1}
        records.append(record)
    (folder / ONLINE).write_text("".join(json.dumps(record) + "\n" for record in records))
    return records


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("epochs", "layers"), [(1, ["trunk"]), (2, LAYERS[-6:]), (30, LAYERS)])
@pytest.mark.parametrize("classes", [True, False])
def test_csv_holds_every_record(tmp_path, epochs, layers, classes):
    records = write_run(tmp_path / "run", epochs, layers, classes)
    written = plot_epochs(tmp_path / "run", tmp_path / "new" / "figure")
    lines = read(written.csv)
    expected = {}
    for record in records:
        for layer, errors in record["error"].items():
            for target, value in errors.items():
                expected[record["epoch"], layer, target, "error / variance"] = value
            if classes:
                expected[record["epoch"], layer, "classes", "accuracy"] = record["accuracy"][layer]
    found = {
        (int(line["epoch"]), line["layer"], line["target"], line["measure"]): float(line["value"]) for line in lines
    }
    assert found == {key: value for key, value in expected.items() if value is not None}
    assert len(lines) == len(found)
    assert written.png.read_bytes().startswith(b"\x89PNG")
    svg = written.svg.read_text()
    assert svg.rstrip().endswith("</svg>")


def test_same_records_give_the_same_bytes(tmp_path):
    write_run(tmp_path / "run", 3, LAYERS[-6:])
    first, second = (plot_epochs(tmp_path / "run", tmp_path / name) for name in ("first", "second"))
    for ending in ("png", "svg", "csv"):
        assert getattr(first, ending).read_bytes() == getattr(second, ending).read_bytes()


def test_plot_of_a_run(tmp_path):
    write_run(tmp_path / "run", 3, LAYERS[-6:])
    (tmp_path / "run" / "config.json").write_text("{}")
    drawn = CliRunner().invoke(cli, ["plot", str(tmp_path / "run")], catch_exceptions=False)
    assert drawn.output.split() == [str(tmp_path / "run" / f"online.{ending}") for ending in ("png", "svg", "csv")]
    with pytest.raises(UserError, match="one run at a time"):
        CliRunner().invoke(cli, ["plot", str(tmp_path / "run"), str(tmp_path)], catch_exceptions=False)


def test_classes_alone(tmp_path):
    """A folder of photographs has no latents."""
    record = {"epoch": 1, "step": 8, "fitted_images": 9, "judged_images": 9, "error": {"stem": {}}}
    (tmp_path / ONLINE).write_text(json.dumps({**record, "accuracy": {"stem": 0.5}, "commonest": 0.1}) + "\n")
    assert [line["target"] for line in read(plot_epochs(tmp_path, tmp_path / "figure").csv)] == ["classes"]
    (tmp_path / ONLINE).write_text(json.dumps(record) + "\n")
    with pytest.raises(UserError, match="nothing that could be drawn"):
        plot_epochs(tmp_path, tmp_path / "figure")


def test_folder_without_records(tmp_path):
    with pytest.raises(UserError, match=r"has no online\.jsonl"):
        plot_epochs(tmp_path, tmp_path / "figure")
