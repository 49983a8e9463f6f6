"""Reading shards: what comes out is sorted and whole, and every fault names the shard and the sample."""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.data import LATENT_NAMES, load_table
from benchmark.data.table import count_images, splits
from benchmark.errors import UserError


@pytest.fixture
def data(tmp_path, write_dataset) -> Path:
    return write_dataset(tmp_path / "data", count=9)


def test_table_is_sorted_by_index_and_holds_every_label(data, make_sample):
    table = load_table(data, "train")
    assert len(table) == 9
    assert table.images.shape == (9, 3, 32, 32)
    assert table.images.dtype == torch.uint8
    assert table.images.is_contiguous()
    assert table.index.tolist() == list(range(9))
    for row in range(9):
        stored = make_sample(row)
        labels = json.loads(stored["json"])
        pixels = np.asarray(Image.open(io.BytesIO(stored["png"])))
        assert np.array_equal(table.images[row].permute(1, 2, 0).numpy(), pixels)
        assert table.latents[row].tolist() == [labels["latents"][name] for name in LATENT_NAMES]
        assert table.quaternion[row].tolist() == labels["quaternion"]
        assert (table.object_ids[row], table.categories[row]) == (labels["object_id"], labels["category"])
    assert table.latents.dtype == table.quaternion.dtype == torch.float64


@pytest.mark.parametrize("format", ["jpg", "png", "webp"])
def test_image_formats(tmp_path, write_dataset, make_sample, put_shard, format):
    data = write_dataset(tmp_path / "data", count=2)
    put_shard(data / "val-000000.tar", [make_sample(7, "val", format=format)])
    assert load_table(data, "val").images.shape == (1, 3, 32, 32)


def test_splits_with_a_common_prefix_stay_apart(data, make_sample, put_shard):
    put_shard(data / "val-000000.tar", [make_sample(20, "val")])
    put_shard(data / "val_views-000000.tar", [make_sample(21, "val_views"), make_sample(22, "val_views")])
    assert load_table(data, "val").index.tolist() == [20]
    assert load_table(data, "val_views").index.tolist() == [21, 22]


def test_unknown_split_lists_the_others(data):
    with pytest.raises(UserError, match=r"no shards of split 'probe' \(splits there: train\)"):
        load_table(data, "probe")


def _list_shards(data: Path, *names: str) -> None:
    (data / "checksums.json").write_text(json.dumps({name: {"sha256": "", "bytes": 1, "samples": 5} for name in names}))


def test_listed_shard_that_is_missing(data):
    _list_shards(data, "train-000000.tar", "train-000001.tar", "val-000000.tar")
    assert len(load_table(data, "train"))
    assert splits(data) == ["train", "val"]
    (data / "train-000001.tar").unlink()
    with pytest.raises(UserError, match=r"train-000001\.tar: missing, .* run the same gr3d command again"):
        load_table(data, "train")
    with pytest.raises(UserError, match=r"val-000000\.tar: missing"):
        load_table(data, "val")


def test_images_are_counted_as_listed(data):
    assert count_images(data, "train") is None
    _list_shards(data, "train-000000.tar", "train-000001.tar", "val-000000.tar")
    assert count_images(data, "train") == 10
    (data / "checksums.json").write_text("[1]")
    with pytest.raises(UserError, match=r"checksums\.json: damaged"):
        load_table(data, "train")


def test_incomplete_dataset_is_said_once(data, capsys):
    (data / "report.json").write_text('{"still_to_render": 7}')
    for _ in range(2):
        load_table(data, "train")
    assert capsys.readouterr().err.count("dataset is incomplete: 7 images still to render") == 1
    for text in ('{"still_to_render": 0}', "{", "[]"):
        (data / "report.json").write_text(text)
        load_table(data, "train")
    assert capsys.readouterr().err == ""


def test_folder_that_is_no_dataset(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        load_table(tmp_path / "absent", "train")
    with pytest.raises(UserError, match=r"no dataset\.json"):
        load_table(tmp_path, "train")
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        load_table(tmp_path, "train")


@pytest.mark.parametrize("keep", [0, 100, 700, 1024 * 6])
def test_truncated_shard(data, keep):
    shard = data / "train-000001.tar"
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"train-000001\.tar: truncated shard; run gr3d verify"):
        load_table(data, "train")


def test_damaged_shard(data):
    shard = data / "train-000000.tar"
    content = bytearray(shard.read_bytes())
    content[:512] = b"\xff" * 512
    shard.write_bytes(content)
    with pytest.raises(UserError, match=r"train-000000\.tar: damaged shard"):
        load_table(data, "train")


def _labels(entry: dict, **changes: object) -> dict:
    return {**entry, "json": json.dumps({**json.loads(entry["json"]), **changes}).encode()}


def _latent(entry: dict, value: object) -> dict:
    latents = {**json.loads(entry["json"])["latents"], "spot_phi": value}
    return _labels(entry, latents={name: v for name, v in latents.items() if v is not None})


def _png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return file.getvalue()


def _png_that_claims(width: int, height: int) -> bytes:
    """A PNG of one pixel whose header says otherwise."""
    content = bytearray(_png(1, 1))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


BAD_SAMPLES = {
    "cut image": (lambda s: {**s, "png": s["png"][:200]}, "image cannot be decoded"),
    "no image": (lambda s: {**s, "png": b"not an image"}, "image cannot be decoded"),
    "other format": (lambda s: {**{k: v for k, v in s.items() if k != "png"}, "jpg": s["png"]}, "cannot be decoded"),
    "other size": (lambda s: {**s, "png": _png(16, 32)}, "16 x 32 pixels among images of 32 x 32"),
    "huge": (lambda s: {**s, "png": _png_that_claims(9000, 9000)}, "the limit is 67108864"),
    "bomb": (lambda s: {**s, "png": _png_that_claims(60000, 60000)}, "image cannot be decoded"),
    "two images": (lambda s: {**s, "jpg": s["png"]}, "exactly one image"),
    "no labels": (lambda s: {k: v for k, v in s.items() if k != "json"}, r"no \.json"),
    "broken labels": (lambda s: {**s, "json": b"{"}, r"\.json cannot be read"),
    "labels not an object": (lambda s: {**s, "json": b"[]"}, "holds no labels"),
    "no latents": (lambda s: _labels(s, latents=None), "no 'latents'"),
    "latent missing": (lambda s: _latent(s, None), "latent 'spot_phi' is missing"),
    "latent NaN": (lambda s: _latent(s, float("nan")), "latent 'spot_phi' is missing or not a finite number"),
    "latent too large": (lambda s: _latent(s, 10**400), "latent 'spot_phi'"),
    "latent text": (lambda s: _latent(s, "0.5"), "latent 'spot_phi'"),
    "quaternion short": (lambda s: _labels(s, quaternion=[1, 0, 0]), "'quaternion' of four numbers"),
    "no object": (lambda s: _labels(s, object_id=None), "no 'object_id'"),
    "index text": (lambda s: _labels(s, index="3"), "no valid 'index'"),
    "index huge": (lambda s: _labels(s, index=2**70), "no valid 'index'"),
}


@pytest.mark.parametrize("name", BAD_SAMPLES)
def test_bad_sample_is_named(data, make_sample, put_shard, name):
    change, message = BAD_SAMPLES[name]
    put_shard(data / "train-000002.tar", [make_sample(50), change(make_sample(51))])
    with pytest.raises(UserError, match=rf"train-000002\.tar, sample 000000051: .*{message}") as caught:
        load_table(data, "train")
    assert "\n" not in str(caught.value)


def test_index_that_occurs_twice(data, make_sample, put_shard):
    put_shard(data / "train-000002.tar", [make_sample(3)])
    with pytest.raises(UserError, match=r"index 3 occurs twice"):
        load_table(data, "train")


def test_split_without_samples(data, put_shard):
    put_shard(data / "val-000000.tar", [])
    with pytest.raises(UserError, match="split 'val' holds no samples"):
        load_table(data, "val")


def test_most_reads_no_more_shards_than_it_needs(write_dataset, tmp_path):
    data = write_dataset(tmp_path, count=32)  # two shards of 16
    (data / "train-000001.tar").write_bytes(b"not read")
    assert len(load_table(data, "train", most=10)) == 16
    with pytest.raises(UserError, match="train-000001"):
        load_table(data, "train", most=17)
