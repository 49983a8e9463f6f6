"""What `gr3d verify` finds, without rendering: shards sealed from images that PIL draws."""

import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from assets.catalog import Catalog, ObjectRef
from assets.errors import UserError
from renderer.files import read_json, write_atomically
from renderer.plan import Plan
from renderer.shards import is_whole, open_dataset, stamp_blender, tar_bytes
from renderer.spec import DEFAULT_SPLITS, make_spec
from renderer.verify import verify

N = 40


def decode(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture.size


@pytest.fixture
def plan() -> Plan:
    refs = tuple(ObjectRef(f"o{i}", "procedural", "chair", digest=str(i)) for i in range(8))
    catalog = Catalog("test", refs)
    options = {"seed": 1, "resolution": 16, "preset": "fast", "splits": DEFAULT_SPLITS}
    return Plan(make_spec(catalog, **options, shard_size=10, image_format="jpg"), catalog)


@pytest.fixture
def folder(plan, tmp_path) -> Path:
    """A sealed dataset of N grey images."""
    dataset = open_dataset(tmp_path, plan)
    for index in range(N):
        Image.new("RGB", (16, 16), (index, index, index)).save(dataset.spooled(index))
    for name, members in dataset.missing(plan.shards(N)).items():
        dataset.seal(name, members)
    assert not list(dataset.spool.glob("*.jpg"))
    return tmp_path


def test_sealed_dataset_is_right(folder, plan):
    assert list(verify(folder, decode)) == []
    assert open_dataset(folder, plan).missing(plan.shards(N)) == {}


def test_flipped_bit_is_found(folder):
    shard = folder / "train-000000.tar"
    data = bytearray(shard.read_bytes())
    data[600] ^= 1
    shard.write_bytes(data)
    assert any("train-000000.tar: damaged" in fault for fault in verify(folder, decode))


def test_truncated_and_missing_shards_are_named(folder):
    shard = folder / "train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    (folder / "val-000000.tar").unlink()
    faults = "\n".join(verify(folder, decode))
    assert "train-000000.tar" in faults and "val-000000.tar: missing" in faults


def test_image_that_does_not_decode_is_named_even_if_the_checksum_is_right(folder, plan):
    dataset = open_dataset(folder, plan)
    index = plan.shards(N)["val-000000.tar"][0]
    dataset.unseal("val-000000.tar")
    dataset.spooled(index).write_bytes(b"\xff\xd8 no picture \xff\xd9")
    dataset.seal("val-000000.tar", plan.shards(N)["val-000000.tar"])
    assert any(f"{index:09d}.jpg does not decode" in fault for fault in verify(folder, decode))


def test_wrong_latents_are_named(folder, plan):
    record = json.loads((folder / "dataset.json").read_text())
    record["spec"]["seed"] = 2
    (folder / "dataset.json").write_text(json.dumps(record))
    assert sum("is missing or not what sample" in fault for fault in verify(folder, decode)) == N


def test_half_written_images_are_rendered_again(folder, plan):
    dataset = open_dataset(folder, plan)
    shutil.rmtree(dataset.spool)
    dataset = open_dataset(folder, plan)
    dataset.spooled(50).write_bytes(b"\xff\xd8 cut off")
    assert not dataset.has_image(50)


def test_images_made_before_a_quarantine_are_not_counted_for_others(folder, plan):
    """An unfinished shard holds some of a quarantined object's images: the missing ones of others stay missing."""
    name = "probe-000000.tar"
    members = plan.shards(N)[name]
    victim = plan.sample(members[0]).object.id
    others = [i for i in members if plan.sample(i).object.id != victim]
    assert others and len(others) < len(members)
    dataset = open_dataset(folder, plan)
    dataset.unseal(name)
    dataset.seal(name, [i for i in members if i not in others[:1]])
    dataset.quarantine(victim, "test")
    assert others[0] in open_dataset(folder, plan).missing(plan.shards(N))[name]


def test_leftovers_of_a_kill_are_cleared_away(plan, tmp_path):
    (tmp_path / ".dataset.json.1.tmp").write_text("{")
    (tmp_path / ".spool").mkdir()
    (tmp_path / ".spool" / ".000000003.77.jpg").write_bytes(b"half")
    (tmp_path / ".spool" / "unfinished-77").mkdir()
    dataset = open_dataset(tmp_path, plan)
    dataset.sweep(plan.shards(N))
    assert list(dataset.spool.iterdir()) == [] and not list(tmp_path.glob(".*.tmp"))


def test_another_engine_is_refused(folder):
    engine = {"engine": "cycles", "device": "cpu", "device_names": ["CPU"], "spp": 8}
    stamp_blender(folder, "4.5", engine, "a CPU")
    stamp_blender(folder, "4.5", {**engine, "device_names": ["another CPU"]}, "another CPU")
    with pytest.raises(UserError, match="device 'cpu', not 'cuda'"):
        stamp_blender(folder, "4.5", {**engine, "device": "cuda"}, "a CPU")
    with pytest.raises(UserError, match=r"begun with Blender 4\.5"):
        stamp_blender(folder, "5.0", engine, "a CPU")


@pytest.mark.parametrize("image_format", ["jpg", "png", "webp"])
def test_shortened_images_are_not_whole(image_format):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[image_format])
    data = buffer.getvalue()
    assert is_whole(data, image_format)
    assert not is_whole(data[:-1], image_format)
    assert not is_whole(b"", image_format)


@pytest.mark.parametrize(
    ("name", "text"),
    [("dataset.json", '{"a": 1}'), ("checksums.json", '{"x.tar": 1}'), ("dataset.json", "[]"), ("checksums.json", "?")],
)
def test_damaged_records_are_one_line(folder, name, text):
    (folder / name).write_text(text)
    with pytest.raises(UserError, match=r"json"):
        list(verify(folder, decode))


def test_tars_are_reproducible(plan, tmp_path):
    image = tmp_path / "000000000.jpg"
    image.write_bytes(b"x")
    assert tar_bytes(iter([(plan.sample(0), image)])) == tar_bytes(iter([(plan.sample(0), image)]))


def test_not_a_dataset_is_said(tmp_path):
    with pytest.raises(UserError, match=r"no dataset\.json"):
        list(verify(tmp_path, decode))


@pytest.mark.parametrize("damage", ["{", "[1]", ""])
def test_damaged_records_are_named(tmp_path, damage):
    path = tmp_path / "checksums.json"
    path.write_text(damage)
    with pytest.raises(UserError, match=r"checksums\.json"):
        read_json(path, {})


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1
