"""croissant.json as MLCommons' own library reads it."""

import hashlib
import io
import json
import logging
import shutil

import mlcroissant
import numpy as np
import pytest
from mlcroissant._src.operation_graph.operations import extract

from benchmark.data.table import load_table
from renderer.latents import sample_latents
from tests.needs import needs_bpy
from tests.renderer.conftest import render

pytestmark = needs_bpy


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """mlcroissant unpacks tars into a cache that it looks up by file name: every dataset needs its own."""
    monkeypatch.setattr(extract, "EXTRACT_PATH", type(extract.EXTRACT_PATH)(tmp_path / "extract"))


def test_valid_without_an_error_or_a_warning_but_for_the_address(rendered, caplog):
    with caplog.at_level(logging.WARNING):
        dataset = mlcroissant.Dataset(jsonld=str(rendered / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert [w for w in issues.warnings if "url" not in w] == []  # where it will be published, nobody knows yet
    assert "not standard" not in caplog.text


def test_checksums_are_those_of_the_files(rendered):
    files = json.loads((rendered / "croissant.json").read_text())["distribution"]
    sums = {file["contentUrl"]: file["sha256"] for file in files if file["@type"] == "cr:FileObject"}
    assert set(sums) == {"latents.csv", *(path.name for path in rendered.glob("*.tar"))}
    for name, digest in sums.items():
        assert hashlib.sha256((rendered / name).read_bytes()).hexdigest() == digest, name


@pytest.mark.parametrize("split", ["train", "val_views"])
def test_records_are_the_images_with_their_latents(rendered, cache, split):
    dataset = mlcroissant.Dataset(jsonld=str(rendered / "croissant.json"))
    records = {record[f"{split}/index"]: record for record in dataset.records(split)}
    table = load_table(rendered, split)
    assert sorted(records) == table.index.tolist()
    for row, index in enumerate(table.index.tolist()):
        record = records[index]
        pixels = np.asarray(record[f"{split}/image"].convert("RGB"))
        assert np.array_equal(pixels, table.images[row].permute(1, 2, 0).numpy())
        assert record[f"{split}/object_id"].decode() == table.object_ids[row]
        for name, value in sample_latents(5, index).items():
            assert record[f"{split}/{name}"] == pytest.approx(value, rel=1e-12)


def test_larger_n_and_a_lost_file_write_it_again(rendered, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(rendered, data)
    before = json.loads((data / "croissant.json").read_text())
    assert render(data, 60).returncode == 0
    after = json.loads((data / "croissant.json").read_text())
    assert len(after["distribution"]) > len(before["distribution"])
    test_checksums_are_those_of_the_files(data)
    (data / "croissant.json").unlink()
    done = render(data, 60)
    assert done.returncode == 0, done.stderr
    assert json.loads((data / "croissant.json").read_text()) == after


def test_passes_are_record_sets_of_their_own(tmp_path, cache):
    data = tmp_path / "data"
    done = render(data, 20, "--passes", "mask,depth", "--format", "png")
    assert done.returncode == 0, done.stderr
    dataset = mlcroissant.Dataset(jsonld=str(data / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    table = load_table(data, "val")
    assert len(list(dataset.records("val"))) == len(table)  # images, and no masks among them
    for record in dataset.records("val-mask"):
        assert set(np.unique(np.asarray(record["val-mask/mask"]))) == {0, 255}
        assert record["val-mask/file"].endswith(b".mask.png")
    depths = [np.load(io.BytesIO(record["val-depth/depth"])) for record in dataset.records("val-depth")]
    assert [depth.shape for depth in depths] == [(32, 32)] * len(table)
