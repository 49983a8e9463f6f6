"""3DIEBench's layout becomes a dataset of ours: right labels, other people's bytes, nothing lost, nothing trusted."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import mlcroissant
import numpy as np
import pytest
from huggingface_hub import DatasetCard
from PIL import Image

from benchmark.data.table import load_table
from renderer.files import flocked
from renderer.latents import LATENTS, quaternion
from tests.needs import needs_bpy
from tests.renderer.blender.helpers import hue, hue_distance
from tests.renderer.test_faults import enlarge, small_disk
from tests.renderer.threediebench.published import OBJECTS, SIDE, VIEWS, latents_of

pytestmark = needs_bpy
TOTAL = VIEWS * len(OBJECTS)


def gr3d(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmark.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def convert(source: Path, out: Path, *more: object) -> subprocess.CompletedProcess:
    return gr3d("convert", "3diebench", source, "--out", out, "--shard-size", 5, *more)


def samples(out: Path) -> dict[str, tuple[dict, bytes]]:
    """SYNSET/OBJECT/image_{i}.jpg -> labels and image bytes, of every sample in `out`."""
    found = {}
    for shard in sorted(out.glob("*.tar")):
        with tarfile.open(shard) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}
        for name, data in files.items():
            if name.endswith(".json"):
                labels = json.loads(data)
                assert shard.name.startswith(labels["split"] + "-")
                image = files[name.replace(".json", ".jpg")]
                found[f"{labels['object_id']}/image_{labels['view']}.jpg"] = labels, image
    return found


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.tar"))}


@pytest.fixture(scope="module")
def whole(published, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "data"
    done = convert(published, out)
    assert done.returncode == 0, done.stderr + done.stdout
    return out


def test_every_image_is_there_byte_for_byte_with_its_labels(published, whole):
    found = samples(whole)
    assert len(found) == TOTAL
    assert sorted(labels["index"] for labels, _ in found.values()) == list(range(TOTAL))
    for number, name in enumerate(OBJECTS):
        for view in range(VIEWS):
            labels, image = found[f"{name}/image_{view}.jpg"]
            drawn = latents_of(number, view)
            assert image == (published / name / f"image_{view}.jpg").read_bytes()
            assert labels["published"] == np.load(published / name / f"latent_{view}.npy").tolist()
            for latent in ("yaw", "pitch", "roll", "spot_theta", "spot_phi"):
                assert labels["latents"][latent] == drawn[latent]
            assert labels["quaternion"] == pytest.approx(quaternion(drawn))
            assert labels["category"] == ("car" if name.startswith("02958343") else "chair")


def test_corrected_floor_hue_is_the_one_that_the_pixels_show(whole):
    for labels, image in samples(whole).values():
        pixels = np.asarray(Image.open(io.BytesIO(image)), float) / 255
        # The upper corners show the floor far behind the object, out of any cone of light.
        shown = hue(np.concatenate([pixels[:3, :3], pixels[:3, -3:]]).mean((0, 1)))
        assert hue_distance(shown, labels["latents"]["floor_hue"]) < 0.02, labels


def test_splits_part_the_objects_and_the_views(whole):
    found = [labels for labels, _ in samples(whole).values()]
    objects = {split: {x["object_id"] for x in found if x["split"] == split} for split in ("train", "probe", "val")}
    assert len(objects["val"]) == 1 and not objects["val"] & (objects["train"] | objects["probe"])
    train = sum(x["split"] == "train" for x in found)
    assert pytest.approx(train, abs=3) == 3 * VIEWS * 0.6 / 0.85


def test_official_lists_decide_who_is_in_val(published, tmp_path):
    names = list(OBJECTS)
    np.save(tmp_path / "train_images.npy", np.array(["/" + name for name in names[1:3]]))
    np.save(tmp_path / "val_images.npy", np.array(["/" + names[0], "/02958343/gone"]))
    done = convert(published, tmp_path / "data", "--lists", tmp_path, "--json")
    assert done.returncode == 1, done.stderr
    problems = json.loads(done.stdout)["problems"]
    assert set(problems) == {"02958343/gone", names[3]}
    by_object = {}
    for labels, _ in samples(tmp_path / "data").values():
        by_object.setdefault(labels["object_id"], set()).add(labels["split"])
    assert by_object.pop(names[0]) == {"val"}
    assert set(by_object) == set(names[1:3]) and all("val" not in splits for splits in by_object.values())


def test_our_trainer_and_other_readers_read_it(whole, tmp_path):
    import datasets
    import webdataset

    table = load_table(whole, "train")
    assert table.images.shape[1:] == (3, SIDE, SIDE) and len(set(table.object_ids)) == 3
    urls = [str(path) for path in sorted(whole.glob("*.tar"))]
    assert len(list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil"))) == TOTAL
    loaded = datasets.load_dataset(str(whole), cache_dir=str(tmp_path))
    assert sum(len(part) for part in loaded.values()) == TOTAL
    assert not mlcroissant.Dataset(jsonld=str(whole / "croissant.json")).metadata.ctx.issues.errors
    assert DatasetCard((whole / "README.md").read_text()).data.license == "cc-by-nc-4.0"
    assert len((whole / "latents.csv").read_text().splitlines()) == TOTAL + 1


def test_verify_knows_its_labels(whole, tmp_path):
    assert gr3d("verify", whole).returncode == 0
    data = tmp_path / "data"
    shutil.copytree(whole, data)
    shard = data / "val-000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b'"floor_hue": 0.', b'"floor_hue": 1.', 1))
    faults = json.loads(gr3d("verify", data, "--json").stdout)["faults"]
    assert any("sha256" in fault["what"] for fault in faults)
    assert any(fault["file"].endswith(".json") and "must have" in fault["what"] for fault in faults)
    refused = gr3d("verify", data, "--repair")
    assert refused.returncode == 2 and "gr3d convert" in refused.stderr


def test_killed_and_stopped_conversions_go_on_to_the_same_bytes(published, whole, tmp_path):
    out = tmp_path / "data"
    command = [sys.executable, "-m", "benchmark.cli", "convert", "3diebench", str(published), "--out", str(out)]
    for how in (signal.SIGKILL, signal.SIGTERM):
        process = subprocess.Popen([*command, "--shard-size", "5"], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while process.poll() is None and not (out / "checksums.json").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(how)
        process.communicate()
    (out / ".train-000000.tar.999.tmp").write_bytes(b"half")
    victim = sorted(out.glob("*.tar"))[0]
    victim.write_bytes(victim.read_bytes()[:100])
    done = convert(published, out)
    assert done.returncode == 0, done.stderr
    assert shards(out) == shards(whole)
    assert not list(out.glob(".*.tmp"))
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert convert(published, out).returncode == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}  # nothing was left to do


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_full_disk_is_said_and_survived(published, whole, tmp_path):
    with small_disk(tmp_path / "disk", 64) as disk:
        done = convert(published, disk / "data")
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "No space left" in done.stderr and "the same command" in done.stderr
        enlarge(disk)
        assert convert(published, disk / "data").returncode == 0
        assert shards(disk / "data") == shards(whole)


def test_a_second_conversion_into_the_same_folder_is_refused(published, whole):
    with flocked(whole / ".lock"):
        done = convert(published, whole)
    assert done.returncode == 1 and "another gr3d is writing there" in done.stderr


class Hostile:
    """Written into a .npy as a pickled object; unpickling it would make a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def header(text: str) -> bytes:
    padded = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode()


@pytest.fixture
def damaged(published, tmp_path) -> Path:
    root = tmp_path / "source"
    shutil.copytree(published, root)
    return root


def test_bad_files_are_named_left_out_and_taken_up_once_they_are_good(published, whole, damaged, tmp_path):
    car, chair = damaged / "02958343/1a0b", damaged / "03001627/4e5f"
    image = car / "image_0.jpg"
    image.write_bytes(image.read_bytes()[:400])
    (car / "latent_1.npy").unlink()
    np.save(car / "latent_2.npy", np.array([0, 0, np.nan, 0, 0, 0, 0]))
    np.save(car / "latent_3.npy", np.zeros(9))
    np.save(car / "latent_4.npy", np.array([Hostile(tmp_path / "was run")] * 7, dtype=object), allow_pickle=True)
    claims = "{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }"
    (chair / "latent_0.npy").write_bytes(header(claims) + bytes(56))
    (chair / "latent_1.npy").write_bytes(b"")
    np.save(chair / "latent_2.npy", np.array([0, 0, 0, 1.5, 0, 0, 0]))
    (chair / "image_3.jpg").unlink()
    os.mkfifo(chair / "image_3.jpg")
    Image.new("RGB", (40, 40)).save(chair / "image_4.jpg")
    os.rename(chair / "image_5.jpg", chair / "image_5.png")
    out = tmp_path / "data"
    done = convert(damaged, out, "--json")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    report = json.loads(done.stdout)
    expected = {
        "02958343/1a0b/image_0.jpg": "does not decode",
        "02958343/1a0b/image_1.jpg": "latent_1.npy is missing",
        "02958343/1a0b/image_2.jpg": "yaw is nan",
        "02958343/1a0b/image_3.jpg": "shape (9,)",
        "02958343/1a0b/image_4.jpg": "not a usable .npy",
        "03001627/4e5f/image_0.jpg": "not a usable .npy",
        "03001627/4e5f/image_1.jpg": "not a usable .npy",
        "03001627/4e5f/image_2.jpg": "floor_hue is 1.5",
        "03001627/4e5f/image_3.jpg": "not a regular file",
        "03001627/4e5f/image_4.jpg": "40 x 40",
        "03001627/4e5f/image_5.jpg": "is missing",
    }
    assert set(report["left_out"]) == set(expected)
    for name, reason in expected.items():
        assert reason in report["left_out"][name], name
    assert not (tmp_path / "was run").exists()
    assert report["in_shards"] == len(samples(out)) == TOTAL - len(expected)
    assert "image_0.jpg" in convert(damaged, out).stdout  # the same again, and still exit code 1
    shutil.rmtree(damaged)
    shutil.copytree(published, damaged)
    done = convert(damaged, out, "--json")
    assert done.returncode == 0, done.stdout
    assert shards(out) == shards(whole)


def test_object_folders_with_problems_are_named(damaged, tmp_path):
    (damaged / "03001627" / "empty").mkdir()
    (damaged / "03001627" / "naïve name").mkdir()
    (damaged / "03001627/4e5f/image_5.jpg").unlink()
    (damaged / "03001627/4e5f/latent_5.npy").unlink()
    done = convert(damaged, tmp_path / "data", "--json")
    problems = json.loads(done.stdout)["problems"]
    assert done.returncode == 1 and len(problems) == 3
    assert "5 views, most objects have 6" in problems["03001627/4e5f"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere", "--out", "data"), "no such folder"),
        (("{source}/03001627", "--out", "data"), "holds no SYNSET/OBJECT"),
        (("{source}", "--out", "{source}/data"), "within the source"),
        (("{source}", "--out", "full"), "not empty"),
        (("{source}", "--out", "data", "--lists", "full"), "train_images.npy is missing"),
        (("{source}", "--out", "data", "--splits", "train=2"), "--splits"),
        (("{source}", "--out", "data", "--splits", "val=1"), "--splits val=1"),
        (("{source}", "--out", "data", "--shard-size", "0"), "--shard-size 0"),
    ],
)
def test_wrong_usage_is_one_clear_line(published, tmp_path, monkeypatch, arguments, says):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    done = gr3d("convert", "3diebench", *(text.format(source=published) for text in arguments))
    assert done.returncode == 2
    assert says in done.stderr and len(done.stderr.splitlines()) <= 3
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data").glob("*.tar"))


def test_other_options_or_another_dataset_in_out_are_refused(published, whole, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(whole, out)
    done = convert(published, out, "--seed", 1)
    assert done.returncode == 2 and "seed" in done.stderr
    record = json.loads((out / "dataset.json").read_text())
    del record["source"]
    (out / "dataset.json").write_text(json.dumps(record))
    done = convert(published, out)
    assert done.returncode == 2 and "no converted 3DIEBench" in done.stderr
    done = gr3d("render", "--n", 10, "--out", whole, "--objects", "procedural:chair")
    assert done.returncode == 2 and "another dataset" in done.stderr


def test_latents_cover_table_2(whole):
    assert all(set(labels["latents"]) == set(LATENTS) for labels, _ in samples(whole).values())
