"""Spool, seal, resume, without rendering: shards sealed from images that PIL draws."""

import io
import shutil
from dataclasses import replace

import pytest
from PIL import Image

from assets.errors import UserError
from renderer.files import read_json, write_atomically, write_json
from renderer.plan import Plan
from renderer.run import Run
from renderer.shards import is_whole, open_dataset, stamp_blender, tar_bytes
from tests.renderer.conftest import GREY_N as N


def test_sealed_dataset_is_complete(grey, grey_plan):
    assert open_dataset(grey, grey_plan).missing(grey_plan.shards(N)) == {}


def test_half_written_images_are_rendered_again(grey, grey_plan):
    dataset = open_dataset(grey, grey_plan)
    shutil.rmtree(dataset.spool)
    dataset = open_dataset(grey, grey_plan)
    dataset.spooled(50).write_bytes(b"\xff\xd8 cut off")
    assert not dataset.has_image(50)


def test_images_made_before_a_quarantine_are_not_counted_for_others(grey, grey_plan):
    """An unfinished shard holds some of a quarantined object's images: the missing ones of others stay missing."""
    name = "probe-000000.tar"
    members = grey_plan.shards(N)[name]
    victim = grey_plan.sample(members[0]).object.id
    others = [i for i in members if grey_plan.sample(i).object.id != victim]
    assert others and len(others) < len(members)
    dataset = open_dataset(grey, grey_plan)
    dataset.unseal(name)
    dataset.seal(name, [i for i in members if i not in others[:1]])
    dataset.quarantine(victim, "test")
    assert others[0] in open_dataset(grey, grey_plan).missing(grey_plan.shards(N))[name]


def test_leftovers_of_a_kill_are_cleared_away(grey_plan, tmp_path):
    (tmp_path / ".dataset.json.1.tmp").write_text("{")
    (tmp_path / ".spool").mkdir()
    (tmp_path / ".spool" / ".000000003.77.jpg").write_bytes(b"half")
    (tmp_path / ".spool" / "unfinished-77").mkdir()
    dataset = open_dataset(tmp_path, grey_plan)
    dataset.sweep(grey_plan.shards(N))
    assert list(dataset.spool.iterdir()) == [] and not list(tmp_path.glob(".*.tmp"))


def test_images_of_sealed_shards_are_dropped_and_no_others(grey, grey_plan):
    dataset = open_dataset(grey, grey_plan)
    sealed, other = grey_plan.shards(N)["train-000000.tar"][0], N + 1
    for index in (sealed, other):
        dataset.spooled(index).write_bytes(b"x")
    Run(dataset, grey_plan.shards(N))
    assert not dataset.spooled(sealed).exists() and dataset.spooled(other).exists()


def test_another_engine_is_refused(grey):
    engine = {"engine": "cycles", "device": "cpu", "device_names": ["CPU"], "spp": 8}
    stamp_blender(grey, "4.5", engine, "a CPU")
    stamp_blender(grey, "4.5", {**engine, "device_names": ["another CPU"]}, "another CPU")
    with pytest.raises(UserError, match="device 'cpu', not 'cuda'"):
        stamp_blender(grey, "4.5", {**engine, "device": "cuda"}, "a CPU")
    with pytest.raises(UserError, match=r"begun with Blender 4\.5"):
        stamp_blender(grey, "5.0", engine, "a CPU")


def test_a_dataset_from_before_there_were_engines_is_cycles(grey, grey_plan):
    record = read_json(grey / "dataset.json", {})
    assert record["spec"].pop("engine") == "cycles"
    write_json(grey / "dataset.json", record)
    open_dataset(grey, grey_plan)
    with pytest.raises(UserError, match="engine 'cycles', not 'eevee'"):
        open_dataset(grey, Plan(replace(grey_plan.spec, engine="eevee"), grey_plan.catalog))


@pytest.mark.parametrize("image_format", ["jpg", "png", "webp"])
def test_shortened_images_are_not_whole(image_format):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[image_format])
    data = buffer.getvalue()
    assert is_whole(data, image_format)
    assert not is_whole(data[:-1], image_format)
    assert not is_whole(b"", image_format)


def test_tars_are_reproducible(grey_plan, tmp_path):
    image = tmp_path / "000000000.jpg"
    image.write_bytes(b"x")
    sample = grey_plan.sample(0)
    assert tar_bytes(iter([(sample, [image])])) == tar_bytes(iter([(sample, [image])]))


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
